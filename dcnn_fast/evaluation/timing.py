"""Times that the paper's networks took to train and to test (III-G), and ours beside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from dcnn_fast import networks
from dcnn_fast.evaluation.table_sets import TableSet

PHOTOGRAPHS, WINDOWS = 2048, 50
"""The size of the paper's timed tests: photographs, and windows of each."""

# Training, and the test of 2,048 photographs by 50 windows: Tesla M2070 or M2090 for AVA, K40 for IAD.
PAPER: Mapping[str, tuple[str, str]] = {
    "SCNN": ("2 days", "50 min"), "DCNN": ("about 3 days", "80 min"), "RDCNN": ("3-4 days", "100 min"),
    "Style-SCNN": ("about a day", ""), "SCNN, IAD": ("about 4 days", "60 min"), "DCNN, IAD": ("about a day", "80 min"),
}  # fmt: skip


@dataclass(frozen=True)
class Timing:
    """The times of one network here, in seconds.

    run: the run's name in words. kind: a name of `PAPER`, or "" where the paper has no such network. training: for all epochs;
    window: for each window in a test; None where it was not trained or not tested.
    """

    run: str
    kind: str
    training: float | None = None
    window: float | None = None

    @property
    def test(self) -> float | None:
        """Seconds for 2,048 photographs by 50 windows at that speed."""
        return None if self.window is None else self.window * PHOTOGRAPHS * WINDOWS


def kind_of_network(network: networks.Network, learns: TableSet) -> str:
    """The name in `PAPER` of a network that learns a part of a set, "" where it has none."""
    of_iad = ", IAD" if learns.task == "iad" else ""
    if learns.task == "style":
        return "Style-SCNN" if len(network.columns) == 1 else ""
    if learns.task in ("category", "shown"):  # adapted or smaller sets
        return ""
    if any(column.frozen for column in network.columns):
        return "RDCNN"
    return {1: "SCNN", 2: "DCNN"}.get(len(network.columns), "") + of_iad if len(network.columns) < 3 else ""


def together(timings: Iterable[Timing]) -> list[Timing]:
    """One timing for each run, with the times of its training and first test where known, in order of first appearance."""
    found: dict[str, Timing] = {}
    for each in timings:
        before = found.get(each.run, Timing(each.run, each.kind))
        training = each.training if before.training is None else before.training
        found[each.run] = replace(before, training=training, window=each.window if before.window is None else before.window)
    return list(found.values())


def duration(seconds: float) -> str:
    """Seconds in words of two units at most, as "3 d 4 h", "5 min" or "0.8 s"."""
    if seconds < 60:
        return f"{seconds:.2g} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 24 * 60:
        return f"{minutes // 60} h" + (f" {minutes % 60} min" if minutes % 60 else "")
    hours = round(seconds / 3600)
    return f"{hours // 24} d" + (f" {hours % 24} h" if hours % 24 else "")
