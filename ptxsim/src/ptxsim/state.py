"""What an instruction sees of the machine that runs it."""

from __future__ import annotations

from typing import Any, Protocol

from .fragments import Fragments
from .lanes import Counting, Lanes, Reporter
from .local import LocalMemory
from .mbarriers import MBarriers
from .memory import GlobalMemory
from .proxies import Proxies
from .shared import SharedMemory
from .tensorcores import TensorCore
from .values import Array


class State(Reporter, Protocol):
    """A batch of thread blocks in lock step.

    lanes: which threads the instruction is for. registers: by slot. carry: the condition code of `add.cc` and its like.
    fragments: matrices of tensor-core operands that were put together before. proxies, mbarriers, in_flight: what is known of
    asynchronous accesses to shared memory, and of registers, in kernels that have such. tensor_core: how products are
    rounded, None for once. group: the threads that stand at this basic block; live: those that have not ended.
    """

    lanes: Lanes
    registers: list[Array]
    carry: Array
    memory: GlobalMemory
    shared: SharedMemory
    local: LocalMemory
    fragments: dict[tuple[Any, ...], tuple[Array, list[Array]]]
    proxies: Proxies
    mbarriers: MBarriers
    in_flight: Fragments
    tensor_core: TensorCore | None
    group: Array
    live: Array

    @property
    def counters(self) -> Counting:
        """Of the launch."""

    def write(self, slot: int | None, value: Array) -> None:
        """Set a register for the threads that run; None is the sink."""

    def go(self, index: int, mask: Array) -> None:
        """Threads `mask` continue at basic block `index`."""

    def stop(self, mask: Array) -> None:
        """Threads `mask` have ended."""

    def barrier(self, number: int, count: int | None, successor: int) -> None:
        """The group arrives at a barrier: its threads go on when all threads of their block, or `count`, have arrived."""

    def gather(self, successor: int) -> None:
        """The group goes on, each thread when all of its warpgroup stand here."""

    def pause(self, index: int, mask: Array, address: Array) -> None:
        """Threads `mask` have looked for an mbarrier's phase in vain: they go on at basic block `index` after all others."""
