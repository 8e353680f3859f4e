"""Launches that come again: kept when they are first run, and replayed, on a GPU as a CUDA graph.

The plan shape of a list of launches is all that they hold outside tables: kernels, grids, constants, numbers, addresses. Lists
of one shape differ in what their tables say (where windows lie, which regions are computed, at which addresses sources and
outputs are), so replaying one of them with the tables of another computes the other. Without a GPU the replay is of the kept
launches one by one, which is what a graph does; that was run in the PTX simulator. The CUDA graph itself has run nowhere yet.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor

from dcnn_fast.ops.launch import CudaKernel, Launch, launch

MOST = 64  # shapes that are kept; the one that came first goes first

Step = Launch | Callable[[], object]  # what is no launch is never kept


class _Kept(Protocol):
    def replay(self, steps: Sequence[Launch]) -> None:
        """Run what was kept, with the tables and the memory of `steps`, which have its shape."""


class Recordings:
    """The lists of launches that one stream has run, by plan shape.

    device: whose launches they are. kept: False runs every list launch by launch.
    """

    def __init__(self, device: torch.device, kept: bool = True) -> None:
        self._device, self._keeps = device, kept
        self._known: dict[Hashable, _Kept] = {}

    def __len__(self) -> int:
        return len(self._known)

    def run(self, steps: Sequence[Step]) -> None:
        """Run the steps in order: a list that is kept by replay, another one by one. Their tables must be on the way."""
        launches = [step for step in steps if isinstance(step, Launch)]
        if not self._keeps or len(launches) < len(steps):
            for step in steps:
                launch(step) if isinstance(step, Launch) else step()
            return
        shape = plan_shape(launches)
        known = self._known.get(shape)
        if known is not None:
            known.replay(launches)
            return
        for what in launches:
            launch(what)
        if len(self._known) >= MOST:
            del self._known[next(iter(self._known))]
        self._known[shape] = _Graph(launches, self._device) if self._device.type == "cuda" else _Listed(launches)


def plan_shape(launches: Sequence[Launch]) -> Hashable:
    """What launches hold outside tables. Kernels that other modules define count by identity."""
    return tuple(
        (
            what.kernel if isinstance(what.kernel, CudaKernel) else id(what.kernel),
            what.grid, what.warps, what.stages, what.shared,
            tuple((name, str(value)) for name, value in what.constants.items()),
            tuple((name, value.data_ptr() if isinstance(value, Tensor) else value) for name, value in what.args.items()),
        )
        for what in launches
    )  # fmt: skip


class _Listed:
    """Launches as they were first, for a launcher that stands in for a GPU."""

    def __init__(self, launches: Sequence[Launch]) -> None:
        self._launches = [replace(what, reads=(), writes=()) for what in launches]

    def replay(self, steps: Sequence[Launch]) -> None:
        """As `_Kept` says; what may be read and written is not part of a launch but of its checks."""
        for kept, step in zip(self._launches, steps, strict=True):
            launch(replace(kept, reads=step.reads, writes=step.writes))


class _Graph:
    """Launches captured from the current stream; the capture runs none of them, so they must have run (and been loaded)."""

    def __init__(self, launches: Sequence[Launch], device: torch.device) -> None:
        self._launches = launches  # whose operands the graph reads
        self._graph: Any = torch.cuda.CUDAGraph()
        with torch.cuda.device(device):
            self._graph.capture_begin(capture_error_mode="thread_local")  # other threads go on allocating
            try:
                for what in launches:
                    launch(what)
            finally:
                self._graph.capture_end()

    def replay(self, steps: Sequence[Launch]) -> None:
        """As `_Kept` says."""
        self._graph.replay()
