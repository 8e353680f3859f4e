"""What a run finds: measured times, rivals without one because their output was wrong or there was none, suites that failed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

OURS, OURS_BF16, OURS_FP16 = "dcnn_fast", "dcnn_fast bf16", "dcnn_fast fp16"


@dataclass(frozen=True)
class Row:
    """One time. case: what was computed; name: by whom, in which setting.

    seconds: the median of the rounds; spread: their range over it. error: largest difference from torch eager in fp32, relative
    to the largest value. ratio: how much longer the best peer of that precision takes (or what the case's note says instead).
    gflops: a second, convolutions counted as sums over taps. share: of the peak rate (`machine.peak_rate`).
    peak_bytes: the most memory that a process held which did only this.
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
        """JSON-ready."""
        return asdict(self)


@dataclass(frozen=True)
class Refused:
    """A rival whose time does not count: its output differs by more than its precision explains, or it failed."""

    suite: str
    case: str
    threads: int
    name: str
    why: str

    def __str__(self) -> str:
        return f"{self.case}, {counted(self.threads)}, {self.name}: {self.why}"


@dataclass(frozen=True)
class Failed:
    """A suite that ended before its end. threads: 0 where it chooses the number itself."""

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
    """Of a rival, by its name."""
    return "bf16" if name.endswith("bf16") else "fp32"
