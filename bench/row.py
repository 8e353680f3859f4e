"""A run's findings: measured times, rivals without a time because of wrong or missing output, and failed suites."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

OURS, OURS_BF16, OURS_FP16 = "dcnn_fast", "dcnn_fast bf16", "dcnn_fast fp16"


@dataclass(frozen=True)
class Row:
    """One time. case: the computation; name: the rival and its setting.

    seconds: the median of the rounds; spread: their range over it. error: largest difference from torch eager in fp32, relative
    to the largest value. ratio: the best peer's time in that precision over this one (or as the case's note says). gflops: per
    second, with convolutions counted as sums over taps. share: gflops over the peak rate (`machine.peak_rate`). peak_bytes: the
    peak memory of a process that did only this.
    """

    suite: str
    case: str
    threads: int
    name: str
    precision: str
    seconds: float
    spread: float = 0.0
    error: float = 0.0
    ratio: float | None = None
    gflops: float | None = None
    share: float | None = None
    setting: str = ""
    note: str = ""
    peak_bytes: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """A JSON-ready dict."""
        return asdict(self)


@dataclass(frozen=True)
class Refused:
    """A rival without a time: its output differs by more than its precision explains, or it failed."""

    suite: str
    case: str
    threads: int
    name: str
    why: str

    def __str__(self) -> str:
        return f"{self.case}, {counted(self.threads)}, {self.name}: {self.why}"


@dataclass(frozen=True)
class Failed:
    """A suite that did not complete. threads: 0 where it chooses the number itself."""

    suite: str
    threads: int
    why: str

    def __str__(self) -> str:
        return f"suite {self.suite}{f', {counted(self.threads)}' if self.threads else ''}: {self.why}"


Found = Row | Refused | Failed


def counted(threads: int) -> str:
    """ "1 thread", "2 threads"."""
    return f"{threads} thread{'s' * (threads != 1)}"


def precision_of(name: str) -> str:
    """A rival's precision, by its name."""
    return "bf16" if name.endswith("bf16") else "fp32"
