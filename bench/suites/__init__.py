"""The suites by name. Each yields its findings, one table at a time."""

from __future__ import annotations

import gc
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from bench import photos
from bench.effort import Effort
from bench.row import OURS, Failed, Found, Refused, counted
from bench.suites import (
    backbone,
    block,
    c_library,
    gpu,
    host,
    jpeg,
    kernels,
    paper,
    read,
    roofline,
    scaling,
    score,
    serve,
    training,
)

Limits = Mapping[str, float]


def _jpeg(limits: Limits, threads: int, effort: Effort) -> Iterator[Found]:
    with tempfile.TemporaryDirectory() as scratch:
        found, about = photos.large(effort.originals, Path(scratch))
        yield from jpeg.rows(found, about, threads, effort)


def _paper(limits: Limits, threads: int, effort: Effort) -> Iterator[Found]:
    try:
        found = photos.small(min(2, effort.photographs) if effort.quick else effort.photographs)
    except FileNotFoundError as missing:
        return iter([Refused("paper", "photographs", threads, OURS, str(missing))])
    return paper.rows(found, threads, effort)


def _serve(limits: Limits, threads: int, effort: Effort) -> Iterator[Found]:
    cores = os.cpu_count() or 1
    try:
        found = photos.small(effort.photographs)
    except FileNotFoundError as missing:
        return iter([Refused("serve", "photographs", cores, OURS, str(missing))])
    return serve.rows(found, cores, effort)


def _gpu(limits: Limits, threads: int, effort: Effort) -> Iterator[Found]:
    return gpu.rows(effort) if torch.cuda.is_available() else iter(())


PER_THREADS: dict[str, Callable[[Limits, int, Effort], Iterator[Found]]] = {
    "block": block.rows,
    "score": lambda limits, threads, effort: score.rows(threads, effort),
    "backbone": backbone.rows,
    "c_library": lambda limits, threads, effort: c_library.rows(threads, effort),
    "roofline": roofline.rows,
    "paper": _paper,
    "jpeg": _jpeg,
}
ONCE: dict[str, Callable[[Limits, int, Effort], Iterator[Found]]] = {
    "scaling": lambda limits, threads, effort: scaling.rows(effort),
    "training": lambda limits, threads, effort: training.rows(os.cpu_count() or 1, effort),
    "read": lambda limits, threads, effort: read.rows(effort),
    "host": lambda limits, threads, effort: host.rows(effort),
    "serve": _serve,
    "gpu": _gpu,
    "kernels": lambda limits, threads, effort: kernels.rows(),
}
NAMES = (*PER_THREADS, *ONCE)
QUICK = ("block", "score", "backbone", "roofline", "paper", "gpu", "kernels")


@dataclass(frozen=True)
class Table:
    """A suite's findings at one number of threads, 0 where the suite chooses it; iterating over `found` measures."""

    suite: str
    threads: int
    title: str
    found: Iterator[Found]


def tables(names: Sequence[str], limits: Limits, threads: Sequence[int], effort: Effort) -> Iterator[Table]:
    """A table for each suite and number of threads; suites that choose their threads come last.

    A failure is the suite's last finding; the other suites go on.
    """
    for count in threads:
        for name in names:
            if name in PER_THREADS:
                found = _guarded(name, count, partial(PER_THREADS[name], limits, count, effort))
                yield Table(name, count, f"{name}, {counted(count)}", found)
    for name in names:
        if name in ONCE:
            found = _guarded(name, 0, partial(ONCE[name], limits, threads[0], effort))
            yield Table(name, 0, name, found)


def _guarded(name: str, threads: int, run: Callable[[], Iterator[Found]]) -> Iterator[Found]:
    gc.collect()  # frees networks of hundreds of megabytes that the previous suite left in cycles
    try:
        yield from run()
    except Exception as failure:  # whatever fails in one suite, the others' results are kept
        yield Failed(name, threads, f"{type(failure).__name__}: {' '.join(str(failure).split())}")
