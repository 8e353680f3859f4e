"""Launches that come again: kept when they are run for the second time, and replayed from then on, on a GPU as a CUDA graph.

Lists of launches of one shape differ in what their tables say (where windows lie, which regions are computed, at which
addresses sources and outputs are), and in nothing outside them. So replaying one of them with the tables of another computes
the other. What a graph does, the launches one by one as they were, was run in the PTX simulator; the CUDA graph itself has run
nowhere.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, Protocol, TypeVar

import torch

from dcnn_fast.ops.launch import Launch, capability, launch, launched_by

MOST = 256  # shapes that are remembered; the one that came first goes first

Step = Launch | Callable[[], object]
"""A launch, or something that torch does on the current stream without taking memory."""
_T = TypeVar("_T")


class Recorded(Protocol):
    """A list of steps that was recorded."""

    def replay(self) -> None:
        """Run them with the tables that are there now."""


class Recorder:
    """What records steps, for all streams of a network, until it fails: that is said once, and nothing is recorded any more.

    record: makes a `Recorded` of steps that have run (`CudaGraph`); None: nothing is ever recorded.
    """

    def __init__(self, record: Callable[[Sequence[Step]], Recorded] | None) -> None:
        self._record, self._guard = record, threading.Lock()

    def __call__(self, steps: Sequence[Step]) -> Recorded | None:
        """The steps recorded, or None."""
        record = self._record
        if record is None:
            return None
        try:
            return record(steps)
        except Exception as error:  # whatever the driver says: the same results come without
            with self._guard:
                first, self._record = self._record is not None, None
            if first:
                logging.getLogger(__name__).warning("launches are run one by one, as they cannot be recorded: %s", error)
            return None


class Recordings:
    """The lists of launches that one stream has run, by shape; `len` of it is how many are recorded."""

    def __init__(self, record: Recorder) -> None:
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
        if shape in self._known:
            self._known[shape] = self._record(launches)
            return
        if len(self._known) >= MOST:
            del self._known[next(iter(self._known))]
        self._known[shape] = None


class Again:
    """Steps of one stream that are run time and again: one by one the first time, which loads their kernels, and by replay from
    then on where `record` records them.
    """

    def __init__(self, steps: Sequence[Step], record: Recorder) -> None:
        self.steps = tuple(steps)
        self._record, self._ran = record, False
        self._recorded: Recorded | None = None

    def run(self) -> None:
        """Run them, on the current stream."""
        if self._recorded is not None:
            self._recorded.replay()
            return
        for step in self.steps:
            run(step)
        if not self._ran:
            self._recorded, self._ran = self._record(self.steps), True


def run(step: Step) -> None:
    """Run one step."""
    if isinstance(step, Launch):
        launch(step)
    else:
        step()


def collected(work: Callable[[], _T], device: torch.device) -> tuple[list[Launch], _T]:
    """The launches that `work` would run on the device's tensors, and what it returns: memory that they fill when they run.

    What `work` computes otherwise, by torch, it computes now and never again.
    """
    found: list[Launch] = []
    with launched_by(found.append, capability(device)):
        result = work()
    return found, result


class CudaGraph:
    """Steps captured from the current stream; the capture runs none of them, so they must have run (and been loaded).

    One capture goes on at a time. Raises what a step raises; the stream is then as before, and torch takes memory as before.
    """

    def __init__(self, device: torch.device, steps: Sequence[Step]) -> None:
        # Its operands are kept, but not the photograph and the maps of the image that it was captured for.
        self._steps = [replace(step, reads=(), writes=()) if isinstance(step, Launch) else step for step in steps]
        with beside_no_capture(), torch.cuda.device(device):
            self._graph: Any = torch.cuda.CUDAGraph()  # of the device that is current
            pool = torch.cuda.graph_pool_handle()
            try:
                self._capture(steps, pool)
            except BaseException:
                _forget(self._graph, torch.cuda.current_device(), pool)
                raise

    def _capture(self, steps: Sequence[Step], pool: Any) -> None:
        self._graph.capture_begin(pool=pool, capture_error_mode="thread_local")  # other threads go on allocating
        try:
            for step in steps:
                run(step)
        except BaseException:
            with suppress(RuntimeError):  # of a capture that has come to nothing: the reason is the other error
                self._graph.capture_end()
            raise
        self._graph.capture_end()

    def replay(self) -> None:
        """As `Recorded` says."""
        self._graph.replay()


@contextmanager
def beside_no_capture() -> Iterator[None]:
    """Within it no other thread of the process captures: what waits for a whole GPU would end its capture, or fail."""
    with _capturing:
        yield


@contextmanager
def unless_capturing() -> Iterator[bool]:
    """Whether no thread of the process captures now, this one included; then none begins to within it."""
    capturing = _capturing  # a fork's child gets another
    free = capturing.acquire(blocking=False)
    try:
        yield free
    finally:
        if free:
            capturing.release()


def _forget(graph: Any, device: int, pool: Any) -> None:
    """Have torch's allocator forget a capture that failed.

    `capture_begin` tells the allocators that memory is taken for a pool, and `capture_end` that no longer, but only after the
    driver has ended the capture without an error (torch's aten/src/ATen/cuda/CUDAGraph.cpp). Else it stays so for good: blocks
    that are free are not given back to the device while a capture seems under way, and the allocators go on asking the graph
    which streams it is captured from.
    """
    try:
        torch._C._cuda_endAllocateToPool(device, pool)
    except RuntimeError:  # it knows, as the capture was ended or never began; the pool is the graph's to let go of
        return
    _failed.append(graph)  # the allocator of page-locked memory still asks it, and has no call to be told by
    torch._C._cuda_releasePool(device, pool)


_capturing = threading.Lock()
_failed: list[Any] = []  # graphs; a network records nothing after its first


def _renew() -> None:
    global _capturing  # noqa: PLW0603 - a child made by a fork may have it locked by a thread that it does not have
    _capturing = threading.Lock()


os.register_at_fork(after_in_child=_renew)
