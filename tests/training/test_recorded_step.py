"""A training step that is recorded, against the same step launched one by one: bit for bit, in the PTX simulator."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from dcnn_fast.ops.launch import launched_by
from dcnn_fast.ops.recording import Recorder
from dcnn_fast.training.distributed import World
from dcnn_fast.training.learning import computed_in
from dcnn_fast.training.lesson import lesson_of
from dcnn_fast.training.loading import Request
from dcnn_fast.training.place import Place
from dcnn_fast.training.settings import Settings
from dcnn_fast.training.step import At, Step
from devtools.taped import Taped
from tests.ops.on_cpu import kernels_on_cpu
from tests.training.sets import data_set, net, weights

CPU = torch.device("cpu")
BATCHES = [(0, 1, 2, 3), (4, 5), (6, 7, 8, 9), (1, 2), (3, 9, 0, 5), (7, 4)]  # the last one of each epoch is part-filled


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def learnt(record, **changes):
    """The losses, weights and increments of three epochs of two steps."""
    settings = Settings(
        **{"epochs": 3, "batch": 4, "schedule": "linear[tgtFactor=10]", "rate": 0.01, "momentum": 0.5, "decay": 0.01, **changes}
    )
    made = net(views=("warp",))
    made.train()
    lesson = lesson_of(made, data_set(10, 2), settings, decoded=True)
    with computed_in(made, settings.precision, CPU):
        step = Step(made, lesson, settings, Place(World(), CPU), record)
        losses = []
        for number, numbers in enumerate(BATCHES):
            cases = lesson.draws[Request(number // 2, numbers)]
            windows = cases.on(CPU, lesson.draws.pictures.inputs)
            losses.append(step.launch(cases, windows, At(number // 2, number % 2, 2), stopping=False).loss)
    rule = step.update.state
    increments = {name: rule[parameter]["increment"] for name, parameter in made.named_parameters()}
    return [loss.item() for loss in losses], weights(made), increments, step.scaler.state_dict()


class Tapes:
    """Recordings as they are made."""

    def __init__(self):
        self.made = []

    def __call__(self, steps):
        self.made.append(Taped(steps))
        return self.made[-1]


@pytest.mark.parametrize("changes", [{"precision": p} for p in ("fp32", "tf32", "bf16", "fp16")], ids=lambda c: c["precision"])
def test_a_step_that_is_recorded_has_the_bits_of_the_step_launched_one_by_one(changes):
    tapes = Tapes()
    with kernels_on_cpu():
        expected = learnt(None, **changes)
        found = learnt(Recorder(tapes), **changes)
    assert [tape.played for tape in tapes.made] == [2, 2]
    assert found[0] == expected[0] and len(set(found[0])) == len(BATCHES)
    for ours, theirs in zip(found[1:3], expected[1:3], strict=True):
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert found[3] == expected[3]
