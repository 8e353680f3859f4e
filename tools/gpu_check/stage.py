"""A stage's input and findings."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

SIMULATOR = "sim"
SIMULATED = 90  # the simulator's default compute capability
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Finding:
    """One result of a stage.

    passed: None where there is no criterion: a measurement, or a check that could not run, as `said` tells. values: numbers and
    texts by name.
    """

    name: str
    passed: bool | None
    said: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Setting:
    """A stage's input.

    device: "sim", "sim:80" (which stands in for sm_80), "cuda" or "cuda:1". out: the report's folder. before: the findings of
    earlier stages, by stage; not_done: the work that these have not done. write: whether to write measured figures into the
    project. ends: when the stage's time is over, by `time.monotonic`.
    """

    device: str
    out: Path
    before: Mapping[str, Sequence[Finding]] = field(default_factory=dict)
    write: bool = False
    ends: float = math.inf
    not_done: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def left(self) -> float:
        """Seconds that the stage still has, at least one."""
        return max(1.0, self.ends - time.monotonic())

    @property
    def simulated(self) -> bool:
        """Whether there is no GPU."""
        return self.device.partition(":")[0] == SIMULATOR

    @property
    def capability(self) -> int:
        """The simulated compute capability."""
        return int(self.device.partition(":")[2] or SIMULATED)

    @property
    def where(self) -> torch.device:
        """The device of tensors."""
        if self.simulated:
            return torch.device("cpu")
        return torch.device("cuda", int(self.device.partition(":")[2] or 0))

    @property
    def scorers(self) -> str:
        """The device argument for a scorer."""
        return "cuda" if self.simulated else self.device

    def kernels(self) -> AbstractContextManager[Any]:
        """A context in which kernels are launched on tensors on `where`."""
        if self.simulated:
            from devtools.simulated import simulated  # noqa: PLC0415 - it compiles, for which a GPU needs nothing of it

            return simulated(self.capability)
        torch.cuda.set_device(self.where)
        return nullcontext()

    def wait(self) -> None:
        """Wait for all launches; their errors are raised here."""
        if not self.simulated:
            torch.cuda.synchronize(self.where)


class OutOfTimeError(Exception):
    """A piece of work is not done, for want of time; what it found is told."""


Run = Callable[[Setting], Iterator[Finding]]


@dataclass(frozen=True)
class Piece:
    """A piece of a stage's work, which is done or is named as not done."""

    name: str
    run: Run


Works = Callable[[Setting], Sequence[Piece]]


def whole(name: str, run: Run) -> Works:
    """Piece in one piece."""
    return lambda setting: [Piece(name, run)]


@dataclass(frozen=True)
class Stage:
    """name: for `--only`. share: of the time, beside the other stages'. title: a sentence for the report. works: the most
    telling first.
    """

    name: str
    share: float
    title: str
    works: Works
