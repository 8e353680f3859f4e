"""The host's side: times of planning and laying out tables before a GPU could begin, and of a call of a small block.

GPU launches and copies are collected instead of executed, so this needs no GPU. For photographs with plans, the head is
omitted; a fixed evaluation is measured up to the probabilities, and the host's launches per batch are counted. Beside each time
is that at the commit where the C++ core began (c820935, two AMD cores).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch

from bench import cases
from bench.counted import Counted
from bench.effort import Effort
from bench.row import OURS, OURS_BF16, OURS_FP16, Row
from bench.suites import host_step
from bench.timing import median_and_spread, seconds
from dcnn_fast import ops
from dcnn_fast.data.reduction import reduced
from dcnn_fast.nets import MultiColumn, load_model
from dcnn_fast.networks import Pool, View
from dcnn_fast.ops.launch import Launch, launched_by
from dcnn_fast.ops.recording import Recorder
from dcnn_fast.plan import share
from dcnn_fast.runtime import Executor, executor_of
from dcnn_fast.runtime.gpu import LOOKS, MOST_PICTURES, GpuNetwork
from dcnn_fast.scoring.prepare import prepared
from dcnn_fast.scoring.shipped import shipped_model

PHOTOGRAPH = (600, 800)
WHOLE, LOCAL = "plan, a plane of 256 x 256", "plan, a photograph of 800 x 600"
FIXED_DCNN, FIXED_SHIPPED = "a picture of a fixed batch, DCNN 800 x 600", "a picture of a fixed batch, shipped model 500 x 375"
FIRST, AGAIN = "plan, tables and launches, DCNN 800 x 600, grid 4", "the same, a shape that came before"
TWO = "the same from two threads"
CALL, WITH_BACKWARD = "a call of a small block", "the same with its backward"
BEFORE = {  # seconds at c820935, by case and precision; the others were not measured there
    (WHOLE, "fp32"): 1.05e-3, (LOCAL, "fp32"): 2.3e-3, (FIXED_DCNN, "fp16"): 35e-3, (FIXED_DCNN, "fp32"): 13e-3,
}  # fmt: skip
PRECISIONS = {"fp16": torch.float16, "fp32": torch.float32}
FIXED = {  # the precisions of each network's fixed evaluation
    FIXED_DCNN: {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32},
    FIXED_SHIPPED: {"bf16": torch.bfloat16, "fp32": torch.float32},
}
_SIZES = {FIXED_DCNN: PHOTOGRAPH, FIXED_SHIPPED: (375, 500)}
_GRID = 4  # the least grid with plans for a GPU
_BY = {"fp16": OURS_FP16, "bf16": OURS_BF16, "fp32": OURS}
_SEEN: tuple[View, View] = ("warp", "local")  # a column for whole pictures and one for parts
_SHAPES = 8  # photographs with different windows in a case


def rows(effort: Effort) -> Iterator[Row]:
    """All cases, on one thread unless two are stated."""
    torch.set_num_threads(1)
    yield from _plans(effort)
    for case, precisions in FIXED.items():
        net = cases.network(cases.DCNN, unit_share=effort.unit_share) if case == FIXED_DCNN else load_model(shipped_model()).net
        for precision, dtype in precisions.items():
            yield _fixed(case, net, precision, dtype, effort)
    for precision in PRECISIONS:
        yield from _gpu(cases.network(cases.DCNN, unit_share=effort.unit_share), precision, effort)
    yield from _calls(effort)
    yield from host_step.rows(effort)


def _plans(effort: Effort) -> Iterator[Row]:
    seen = [cases.described(cases.SCNN, (view,)).columns[0] for view in _SEEN]
    for case, column, shape in ((WHOLE, seen[0], (256, 256)), (LOCAL, seen[1], PHOTOGRAPH)):
        drawn = [cases.windows(column, shape, effort.windows, seed=seed) for seed in range(_SHAPES)]
        runs = [partial(share, column, windows, shape) for windows in drawn]
        yield _row(case, "fp32", 1, _times(runs, effort))


def _fixed(case: str, net: MultiColumn, precision: str, dtype: torch.dtype, effort: Effort) -> Row:
    """A batch of photographs from the ring, on one thread; the launches per batch are the row's ratio."""
    counted = Counted()
    with launched_by(counted.launch, copy=counted.copy):
        network = GpuNetwork(net, torch.device("cpu"), dtype, record=Recorder(counted.record))
        holder = network.intake.holder
        assert holder is not None
        photos = [holder.held(cases.photograph(*_SIZES[case], seed=seed)) for seed in range(MOST_PICTURES)]

        def batch() -> None:
            found = [
                prepared(
                    reduced(photo, net.spec.long_side),
                    f"photograph {i}",
                    net.spec,
                    samples=effort.windows,
                    grid=1,
                    seed=0,
                    intake=network.intake,
                )
                for i, photo in enumerate(photos)
            ]
            network.head([network.blocks(each.jobs) for each in found])

        batch()
        network.begin()
        counted.issued = 0
        times = [_of_processor(batch) for _ in range(max(3, effort.rounds))]
        issued = counted.issued / (LOOKS * len(times))
    middle, spread = median_and_spread(times)
    note = _note(case, precision)
    return Row("host", case, 1, _BY[precision], precision, middle, spread, ratio=issued, note=note)


def _of_processor(batch: Callable[[], object]) -> float:
    """Processor seconds per picture over batches, one of which checks all weights."""
    start = time.thread_time()
    for _ in range(LOOKS):
        batch()
    return (time.thread_time() - start) / (LOOKS * MOST_PICTURES)


def _gpu(net: MultiColumn, precision: str, effort: Effort) -> Iterator[Row]:
    dtype = PRECISIONS[precision]
    photos = [(cases.photograph(*PHOTOGRAPH, seed=0), f"photograph {seed}") for seed in range(_SHAPES)]
    with launched_by(_not_run):
        once = executor_of(net, "cuda", dtype, graphs=False)
        kept = executor_of(net, "cuda", dtype, graphs=True)
    runs = [partial(_host_side, once, net, photo, digest, effort.windows) for photo, digest in photos]
    alone = _times(runs, effort)
    yield _row(FIRST, precision, 1, alone)
    again = [partial(_host_side, kept, net, *photos[0], effort.windows)]
    again[0]()
    yield _row(AGAIN, precision, 1, _times(again, effort))
    both = [_together(runs, runs) / (2 * len(runs)) for _ in range(effort.rounds)]
    middle, spread = median_and_spread(both)
    yield Row("host", TWO, 2, _BY[precision], precision, middle, spread, ratio=median_and_spread(alone)[0] / middle)


def _calls(effort: Effort) -> Iterator[Row]:
    """Calls of a block so small that its kernel takes almost no time."""
    x, weight, bias = torch.ones(1, 4, 6, 6), torch.ones(8, 4, 3, 3), torch.zeros(8)
    call = partial(ops.block, x, weight, bias, pool=Pool(3, 2))
    yield _row(CALL, "fp32", 1, _times([call] * _SHAPES, effort))
    weight.requires_grad_()

    def with_backward() -> None:
        call().sum().backward()

    yield _row(WITH_BACKWARD, "fp32", 1, _times([with_backward] * _SHAPES, effort))


def _host_side(network: Executor, net: MultiColumn, photo: np.ndarray, digest: str, windows: int) -> None:
    """All of a score after decoding and hashing, except the kernels and the probabilities."""
    with launched_by(_not_run):
        pixels = reduced(photo, net.spec.long_side)
        found = prepared(pixels, digest, net.spec, samples=windows, grid=_GRID, seed=0, intake=network.intake)
        network.blocks(found.jobs)


def _not_run(what: Launch) -> None:
    """Collect a launch without executing it."""


def _times(runs: list[Callable[[], object]], effort: Effort) -> list[float]:
    """Seconds per run, `rounds` times."""
    for run in runs:
        run()
    return [seconds(partial(_all, runs)) / len(runs) for _ in range(max(3, effort.rounds))]


def _all(runs: list[Callable[[], object]]) -> None:
    for run in runs:
        run()


def _together(*jobs: list[Callable[[], object]]) -> float:
    """Seconds of several threads, one for each list."""
    threads = [threading.Thread(target=_all, args=(job,)) for job in jobs]

    def run() -> None:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    return seconds(run)


def _row(case: str, precision: str, threads: int, times: list[float]) -> Row:
    middle, spread = median_and_spread(times)
    return Row("host", case, threads, _BY[precision], precision, middle, spread, note=_note(case, precision))


def _note(case: str, precision: str) -> str:
    before = BEFORE.get((case, precision))
    return f"at c820935: {before * 1e3:g} ms" if before else ""
