"""The running threads of a batch of thread blocks: the memories' whole interface to the interpreter."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from .values import Array

WARP = 32


@dataclass(slots=True)
class Lanes:
    """The threads of a batch, and those that execute the current instruction.

    first: grid number of the batch's first block. blocks: in the batch. threads: per thread block, in whole warps. at: index in
    the program of the current instruction. active: the running threads, None for all. mask: the threads whose registers are
    written, None for all, including threads that have ended. Arrays of (blocks or 1, threads or 1).
    """

    first: int
    blocks: int
    threads: int
    at: int = 0
    active: Array | None = None
    mask: Array | None = None

    @property
    def warps(self) -> int:
        """Warps of a block."""
        return self.threads // WARP

    def whole(self, x: Array | bool) -> Array:
        """`x` broadcast to every thread block and thread of the batch."""
        return np.broadcast_to(x, (self.blocks, self.threads))


class Reporter(Protocol):
    """Receives broken rules."""

    def report(self, kind: str, message: str, lane: int) -> None:
        """Report a rule broken by the thread `lane`, counted over the batch. May raise."""

    def line(self, instruction: int) -> int:
        """The PTX line of an instruction of the program, by its index."""


class Counting(Protocol):
    """Receives the counts of accesses."""

    def add(self, instruction: int, **counts: int) -> None:
        """Add to the counts of an instruction, by its index."""

    def add_all(self, instruction: int, names: Iterable[str], counts: Iterable[int]) -> None:
        """`add` with names and counts given separately."""
