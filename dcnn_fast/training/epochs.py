"""An epoch's row in the log, whether it is the best one, and the mini-batches left of a run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dcnn_fast.training.distributed import World
from dcnn_fast.training.mini_batches import Request, epoch_order
from dcnn_fast.training.progress import Progress, times_of
from dcnn_fast.training.settings import Settings


@dataclass(frozen=True)
class Left:
    """The mini-batches left of a run: this process's share of each, through all epochs, so that workers never idle.

    count: training examples. epoch, step: where the run stands.
    """

    settings: Settings
    world: World
    count: int
    epoch: int
    step: int

    def __iter__(self) -> Iterator[Request]:
        batch, world = self.settings.batch, self.world
        for epoch in range(self.epoch, self.settings.epochs):
            order = epoch_order(self.settings.seed, epoch, self.count)
            for start in range(self.step * batch if epoch == self.epoch else 0, self.count, batch):
                yield Request(epoch, tuple(order[start : start + batch][world.rank :: world.size].tolist()))


def row_of(progress: Progress, step: int, rate: float, measured: Mapping[str, float]) -> dict[str, Any]:
    """The row of the epoch that has just ended.

    step: mini-batches since the run began. measured: the measures of the look at its end, by the names of the log.
    """
    return {
        "epoch": progress.epoch + 1, "step": step, "rate": rate, "loss": progress.loss / progress.cases,
        "images": progress.cases, **times_of(progress.cases, progress.seconds), "skipped": len(progress.skipped),
        **{name: None if math.isnan(value) else value for name, value in measured.items()},
    }  # fmt: skip


def is_looked_at(settings: Settings, epoch: int) -> bool:
    """Whether there is a look at the held-out examples when `epoch` epochs are over."""
    every = settings.evaluate_every
    return bool(every) and (epoch % every == 0 or epoch == settings.epochs)


def is_out_of_patience(history: Sequence[Mapping[str, Any]], by: str, patience: int) -> bool:
    """Whether the last `patience` looks at the split val found no better epoch by the measure `by`; never with `patience` 0."""
    if not patience:
        return False
    best, since = None, 0
    for row in history:
        if row.get(f"val_{by}") is not None:
            better = is_best(row, best, by, "val")
            best, since = (row, 0) if better else (best, since + 1)
    return since >= patience


def is_best(row: Mapping[str, Any], best: Mapping[str, Any] | None, by: str, part: str = "test") -> bool:
    """Whether an epoch is better than the best so far (None: there is none), by a measure of a part of the set."""
    name, count = f"{part}_{by}", f"{part}_count"
    if row.get(name) is None:
        return False
    if best is None or row[count] != best[count]:  # measures of different numbers of photographs are not comparable
        return best is None or row[count] > best[count]
    better: bool = row[name] < best[name] if by == "loss" else row[name] > best[name]
    return better
