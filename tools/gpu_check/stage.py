"""What a stage is given and gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

SIMULATOR = "sim"
SIMULATED = 90  # the compute capability that the simulator stands in for unless another is asked for
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Finding:
    """One thing that a stage found.

    passed: None where there is nothing to pass: a measurement, or what could not be run, which `said` then tells. values:
    numbers and names by name.
    """

    name: str
    passed: bool | None
    said: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Setting:
    """What a stage is given.

    device: "sim", "sim:80" (which stands in for sm_80), "cuda" or "cuda:1". out: the report's folder. before: the findings of
    the stages before, by stage. write: whether measured figures are to become the project's.
    """

    device: str
    out: Path
    before: Mapping[str, Sequence[Finding]] = field(default_factory=dict)
    write: bool = False

    @property
    def simulated(self) -> bool:
        """Whether there is no GPU."""
        return self.device.partition(":")[0] == SIMULATOR

    @property
    def capability(self) -> int:
        """The compute capability that the simulator stands in for."""
        return int(self.device.partition(":")[2] or SIMULATED)

    @property
    def where(self) -> torch.device:
        """Where tensors lie."""
        if self.simulated:
            return torch.device("cpu")
        return torch.device("cuda", int(self.device.partition(":")[2] or 0))

    @property
    def scorers(self) -> str:
        """The device as a scorer is told it."""
        return "cuda" if self.simulated else self.device

    def kernels(self) -> AbstractContextManager[Any]:
        """Within it the kernels are launched on tensors that lie there."""
        if self.simulated:
            from devtools.simulated import simulated  # noqa: PLC0415 - it compiles, for which a GPU needs nothing of it

            return simulated(self.capability)
        torch.cuda.set_device(self.where)
        return nullcontext()

    def wait(self) -> None:
        """Let all that was launched run; its errors come here."""
        if not self.simulated:
            torch.cuda.synchronize(self.where)


Run = Callable[[Setting], Iterator[Finding]]


@dataclass(frozen=True)
class Stage:
    """name: as `--only` has it. seconds: its time limit on a GPU. title: a sentence for the report."""

    name: str
    seconds: float
    title: str
    run: Run
