"""The host's side of a training step on a GPU: windows, forward, backward and update, whose launches are recorded."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import torch

from bench import cases
from bench.counted import Counted
from bench.effort import Effort
from bench.row import OURS, OURS_FP16, Row
from bench.timing import median_and_spread
from dcnn_fast.data import DataSet, Example
from dcnn_fast.nets import MultiColumn
from dcnn_fast.ops.launch import launched_by
from dcnn_fast.ops.recording import Recorder
from dcnn_fast.ops.recording import Step as Recordable
from dcnn_fast.ops.recording import run as run_step
from dcnn_fast.runtime.ring import Ring
from dcnn_fast.training.device_windows import DeviceWindows
from dcnn_fast.training.distributed import World
from dcnn_fast.training.learning_layers import computed_in
from dcnn_fast.training.mini_batches import Request
from dcnn_fast.training.run_examples import Lesson, lesson_of
from dcnn_fast.training.run_place import Place
from dcnn_fast.training.session import LOSSES_AT_A_TIME
from dcnn_fast.training.settings import Settings, TrainingPrecision
from dcnn_fast.training.step import At, Losses, Step

STEP_SCNN, STEP_DCNN = "a training step on a GPU, SCNN", "a training step on a GPU, DCNN"
STEPS = {STEP_SCNN: cases.SCNN, STEP_DCNN: cases.DCNN}
BY: dict[TrainingPrecision, str] = {"fp32": OURS, "fp16": OURS_FP16}
_PHOTOGRAPH = (480, 640)
_DIFFERENT = 4  # photographs
_UNITS = 1 / 16  # of the fully-connected layers: torch computes them once, and what is issued is the same
_CPU = torch.device("cpu")


class _Run(Counted):
    """Records steps by running them, with launches left out: where gradients lie follows from that."""

    def record(self, steps: Sequence[Recordable]) -> _Run:
        """Itself, as the graph of the steps."""
        for step in steps:
            run_step(step)
        return self


def rows(effort: Effort) -> Iterator[Row]:
    """A row for each network and precision; what is issued a step is its ratio."""
    for case, preset in STEPS.items():
        net = cases.network(preset, unit_share=min(_UNITS, effort.unit_share))
        for precision in BY:
            yield _row(case, net, precision, effort)


def _row(case: str, net: MultiColumn, precision: TrainingPrecision, effort: Effort) -> Row:
    settings = Settings(precision=precision, batch=effort.batch)
    counted = _Run()
    net.train()
    with launched_by(counted.launch, 90, copy=counted.copy), computed_in(net, precision, _CPU):
        run = _Steps(net, _lesson(net, settings), settings, counted)
        run.some(2)  # one by one, and recorded
        counted.issued = 0
        times = [_of_processor(run) for _ in range(max(3, effort.rounds))]
        issued = counted.issued / (LOSSES_AT_A_TIME * len(times))
    middle, spread = median_and_spread(times)
    return Row("host", case, 1, BY[precision], precision, middle, spread, ratio=issued)


def _lesson(net: MultiColumn, settings: Settings) -> Lesson:
    photos = [cases.photograph(*_PHOTOGRAPH, seed=seed) for seed in range(_DIFFERENT)]
    labels = len(net.spec.labels)
    examples = tuple(Example(photos[i % _DIFFERENT], f"photograph {i}", i % labels) for i in range(settings.batch))
    return lesson_of(net, DataSet(net.spec.labels, examples, examples[:labels]), settings, decoded=True)


class _Steps:
    """A run whose photographs are decoded, drawn and in pinned memory; losses are read as a session reads them."""

    def __init__(self, net: MultiColumn, lesson: Lesson, settings: Settings, counted: Counted) -> None:
        record = partial(Recorder, counted.record)
        draws = lesson.draws
        drawn = [draws[Request(epoch, tuple(range(settings.batch)))] for epoch in range(2)]
        ring = Ring(pinned=False)
        self._cases = [replace(each, photos=ring.held(each.photos)) for each in drawn if each.photos is not None]
        self._windows = DeviceWindows(draws.pictures.inputs, settings.batch, _CPU, record())
        self._step = Step(net, lesson, settings, Place(World(), _CPU), record())
        self._losses = Losses(LOSSES_AT_A_TIME)
        self._loss, self._done = torch.zeros(()), 0

    def some(self, count: int) -> None:
        """So many steps; their losses are read."""
        for _ in range(count):
            found, at = self._cases[self._done % len(self._cases)], At(0, self._done, 10**6)
            launched = self._step.launch(found, self._windows.of(found), at, stopping=False)
            self._losses.add(replace(launched, loss=self._loss), at)  # nobody has computed its own
            self._done += 1
        self._losses.read()


def _of_processor(run: _Steps) -> float:
    """Seconds of the processor for a step."""
    start = time.thread_time()
    run.some(LOSSES_AT_A_TIME)
    return (time.thread_time() - start) / LOSSES_AT_A_TIME
