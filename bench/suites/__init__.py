"""The suites by name. Each yields what it finds, one table at a time."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from bench import photos
from bench.row import OURS, Found, Refused, counted
from bench.suites import block, gpu, jpeg, kernels, paper, predicted, roofline, scaling, score, training

FEW_ROUNDS = 3  # where nothing takes turns with a peer


@dataclass(frozen=True)
class Effort:
    """How much is measured. rounds: turns of each rival. photographs: of the paper suite. quick: one block and SCNN."""

    rounds: int = 5
    photographs: int = 8
    large_photographs: int = 4
    quick: bool = False


Limits = Mapping[str, float]


def _jpeg(limits: Limits, threads: int, effort: Effort) -> Iterator[Found]:
    with tempfile.TemporaryDirectory() as scratch:
        found, about = photos.large(effort.large_photographs, Path(scratch))
        yield from jpeg.rows(found, about, threads, FEW_ROUNDS)


def _paper(limits: Limits, threads: int, effort: Effort) -> Iterator[Found]:
    networks = list(paper.PAPER)[: 1 if effort.quick else None]
    try:
        found = photos.small(2 if effort.quick else effort.photographs)
    except FileNotFoundError as missing:
        return iter([Refused("paper", "photographs", threads, OURS, str(missing))])
    return paper.rows(found, threads, networks)


def _gpu(limits: Limits, threads: int, effort: Effort) -> Iterator[Found]:
    return gpu.rows(effort.rounds) if torch.cuda.is_available() else iter(())


PER_THREADS: dict[str, Callable[[Limits, int, Effort], Iterator[Found]]] = {
    "block": lambda limits, threads, effort: block.rows(limits, threads, effort.rounds, quick=effort.quick),
    "score": lambda limits, threads, effort: score.rows(threads, effort.rounds, quick=effort.quick),
    "roofline": lambda limits, threads, effort: roofline.rows(limits, threads, effort.rounds),
    "paper": _paper,
    "jpeg": _jpeg,
}
ONCE: dict[str, Callable[[Limits, int, Effort], Iterator[Found]]] = {
    "scaling": lambda limits, threads, effort: scaling.rows(FEW_ROUNDS),
    "training": lambda limits, threads, effort: training.rows(os.cpu_count() or 1, effort.rounds, quick=effort.quick),
    "gpu": _gpu,
    "predicted": lambda limits, threads, effort: predicted.rows(),
    "kernels": lambda limits, threads, effort: kernels.rows(),
}
NAMES = (*PER_THREADS, *ONCE)
QUICK = ("block", "score", "roofline", "paper", "gpu", "predicted", "kernels")


def tables(
    names: Sequence[str], limits: Limits, threads: Sequence[int], effort: Effort
) -> Iterator[tuple[str, Iterator[Found]]]:
    """A title and what is found, for each suite and number of threads; those that choose their own threads come last."""
    for count in threads:
        for name in names:
            if name in PER_THREADS:
                yield f"{name}, {counted(count)}", PER_THREADS[name](limits, count, effort)
    for name in names:
        if name in ONCE:
            yield name, ONCE[name](limits, threads[0], effort)
