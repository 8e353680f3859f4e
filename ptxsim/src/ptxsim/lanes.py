"""Which threads of a batch of blocks run: all that memories know of the machine, and what they tell it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from .values import Array

WARP = 32


@dataclass(slots=True)
class Lanes:
    """The threads of a batch, and which of them the instruction is for.

    first: number in the grid of the batch's first block. blocks: of the batch. threads: of a block, in whole warps. at: index
    in the program of the instruction that runs. active: the threads that run, None for all; mask: those whose registers it
    writes, None for all, where threads that have ended do not mind. Arrays of (blocks or 1, threads or 1).
    """

    first: int
    blocks: int
    threads: int
    at: int = 0
    active: Array | None = None
    mask: Array | None = None

    @property
    def warps(self) -> int:
        """Of a block."""
        return self.threads // WARP

    def whole(self, x: Array | bool) -> Array:
        """`x` for every block and thread of the batch."""
        return np.broadcast_to(x, (self.blocks, self.threads))


class Reporter(Protocol):
    """Is told of broken rules."""

    def report(self, kind: str, message: str, lane: int) -> None:
        """A broken rule by the thread `lane`, counted over the batch. May raise."""

    def line(self, instruction: int) -> int:
        """The PTX line of an instruction of the program, by its index."""


class Counting(Protocol):
    """Is told of what accesses move."""

    def add(self, instruction: int, **counts: int) -> None:
        """Add to the counts of an instruction, by its index."""

    def add_all(self, instruction: int, names: Iterable[str], counts: Iterable[int]) -> None:
        """`add`, for those who know the names beforehand."""
