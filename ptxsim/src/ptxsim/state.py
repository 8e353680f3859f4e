"""The interpreter's state as instructions see it."""

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

    lanes: the threads of the instruction. registers: by slot. carry: the condition code of `add.cc` and the like. fragments:
    cache of assembled matrices of tensor-core operands. proxies, mbarriers, in_flight: the state of asynchronous accesses to
    shared memory, and of registers, in kernels that have them. tensor_core: how products are rounded; None: once per
    instruction. group: the threads at this basic block. live: those that have not ended.
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
        """The launch's counters."""

    def write(self, slot: int | None, value: Array) -> None:
        """Set a register for the running threads; None is the sink."""

    def go(self, index: int, mask: Array) -> None:
        """Threads `mask` continue at basic block `index`."""

    def stop(self, mask: Array) -> None:
        """Threads `mask` end."""

    def barrier(self, number: int, count: int | None, successor: int) -> None:
        """The group arrives at a barrier: its threads go on when all threads of their thread block, or `count`, have
        arrived."""

    def gather(self, successor: int) -> None:
        """The group waits; each thread continues once all threads of its warpgroup have arrived here."""

    def pause(self, index: int, mask: Array, address: Array) -> None:
        """Threads `mask` found an mbarrier's phase incomplete: they continue at basic block `index` after all others."""
