"""Launches that come again: kept when they are run for the second time, and replayed from then on, on a GPU as a CUDA graph.

Lists of launches of one shape differ in what their tables say (where windows lie, which regions are computed, at which
addresses sources and outputs are), and in nothing outside them. So replaying one of them with the tables of another computes
the other. What a graph does, the launches one by one as they were, was run in the PTX simulator; the CUDA graph itself has run
nowhere.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import Any, Protocol

import torch

from dcnn_fast.ops.launch import Launch, launch

MOST = 256  # shapes that are remembered; the one that came first goes first


class Recorded(Protocol):
    """A list of launches that was recorded."""

    def replay(self) -> None:
        """Run them with the tables that are there now."""


class Recordings:
    """The lists of launches that one stream has run, by shape; `len` of it is how many are recorded.

    record: records launches that have run (`CudaGraph`); None: every list runs launch by launch.
    """

    def __init__(self, record: Callable[[Sequence[Launch]], Recorded] | None) -> None:
        self._record = record
        self._known: dict[Hashable, Recorded | None] = {}  # None: seen once

    def __len__(self) -> int:
        return sum(recorded is not None for recorded in self._known.values())

    def run(self, launches: Sequence[Launch], shape: Hashable) -> None:
        """Run the launches in order: by replay where a list of this shape is recorded. Their tables must be on the way."""
        recorded = self._known.get(shape)
        if recorded is not None:
            recorded.replay()
            return
        for what in launches:
            launch(what)
        if self._record is None:
            return
        if shape in self._known:
            self._known[shape] = self._record(launches)
            return
        if len(self._known) >= MOST:
            del self._known[next(iter(self._known))]
        self._known[shape] = None


class CudaGraph:
    """Launches captured from the current stream; the capture runs none of them, so they must have run (and been loaded)."""

    def __init__(self, device: torch.device, launches: Sequence[Launch]) -> None:
        # Its operands are kept, but not the photograph and the maps of the image that it was captured for.
        self._launches = [replace(what, reads=(), writes=()) for what in launches]
        self._graph: Any = torch.cuda.CUDAGraph()
        with torch.cuda.device(device):
            self._graph.capture_begin(capture_error_mode="thread_local")  # other threads go on allocating
            try:
                for what in launches:
                    launch(what)
            finally:
                self._graph.capture_end()

    def replay(self) -> None:
        """As `Recorded` says."""
        self._graph.replay()
