"""Repeated launches: recorded when they run for the second time, and replayed from then on, on a GPU as a CUDA graph.

Lists of launches of one shape differ only in their tables' contents (where windows lie, which regions are computed, the
addresses of sources and outputs). So replaying one list with another's tables computes the other. The PTX simulator has run
the equivalent of a replay, the recorded launches one by one; the CUDA graph itself has run nowhere.
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

MOST = 256  # shapes kept; the oldest is dropped first

Step = Launch | Callable[[], object]
"""A launch, or something that torch does on the current stream without taking memory."""
_T = TypeVar("_T")


class Recorded(Protocol):
    """A recorded list of steps."""

    def replay(self) -> None:
        """Run the steps with the tables' present contents."""


class Recorder:
    """Records steps for all streams of a network. After a failure it warns once and records nothing more.

    record: makes a `Recorded` from steps that have run (`CudaGraph`); None: nothing is ever recorded.
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
        except Exception as error:  # whatever the driver raises: results are the same without recording
            with self._guard:
                first, self._record = self._record is not None, None
            if first:
                logging.getLogger(__name__).warning("launches are run one by one, as they cannot be recorded: %s", error)
            return None


class Recordings:
    """The lists of launches that one stream has run, by shape; `len` gives the number recorded."""

    def __init__(self, record: Recorder) -> None:
        self._record = record
        self._known: dict[Hashable, Recorded | None] = {}  # None: seen once

    def __len__(self) -> int:
        return sum(recorded is not None for recorded in self._known.values())

    def run(self, launches: Sequence[Launch], shape: Hashable) -> None:
        """Run the launches in order: by replay where a list of this shape is recorded. Their tables' copies must be queued."""
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
    """Steps that one stream runs repeatedly: one by one the first time, which loads their kernels, and by replay from then on
    where `record` records them.
    """

    def __init__(self, steps: Sequence[Step], record: Recorder) -> None:
        self.steps = tuple(steps)
        self._record, self._ran = record, False
        self._recorded: Recorded | None = None

    def run(self) -> None:
        """Run the steps on the current stream."""
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
    """The launches that `work` would run on the device's tensors, and its result: memory that they fill when they run.

    Anything that `work` computes by torch instead is computed now and not again at replay.
    """
    found: list[Launch] = []
    with launched_by(found.append, capability(device)):
        result = work()
    return found, result


class CudaGraph:
    """Steps captured from the current stream; the capture runs none of them, so they must have run before, to load kernels.

    Captures run one at a time. A step's exception is passed on; the stream and torch's allocators are then as before.
    """

    def __init__(self, device: torch.device, steps: Sequence[Step]) -> None:
        # Keep the operands, but not the photograph and maps of the image that was captured.
        self._steps = [replace(step, reads=(), writes=()) if isinstance(step, Launch) else step for step in steps]
        with beside_no_capture(), torch.cuda.device(device):
            self._graph: Any = torch.cuda.CUDAGraph()  # for the current device
            pool = torch.cuda.graph_pool_handle()
            try:
                self._capture(steps, pool)
            except BaseException:
                _forget(self._graph, torch.cuda.current_device(), pool)
                raise

    def _capture(self, steps: Sequence[Step], pool: Any) -> None:
        self._graph.capture_begin(pool=pool, capture_error_mode="thread_local")  # other threads may keep allocating
        try:
            for step in steps:
                run(step)
        except BaseException:
            with suppress(RuntimeError):  # the capture has failed already: the first error is the reason
                self._graph.capture_end()
            raise
        self._graph.capture_end()

    def replay(self) -> None:
        """As `Recorded` says."""
        self._graph.replay()


@contextmanager
def beside_no_capture() -> Iterator[None]:
    """Within it no other thread of the process captures: waiting for a whole GPU would break its capture, or fail."""
    with _capturing:
        yield


@contextmanager
def unless_capturing() -> Iterator[bool]:
    """True if no thread of the process, this one included, captures now; then none begins a capture within the context."""
    capturing = _capturing  # a forked child gets a new lock
    free = capturing.acquire(blocking=False)
    try:
        yield free
    finally:
        if free:
            capturing.release()


def _forget(graph: Any, device: int, pool: Any) -> None:
    """Have torch's allocator forget a failed capture.

    `capture_begin` makes the allocators use a pool, and `capture_end` stops this, but only after the driver has ended the
    capture without an error (torch's aten/src/ATen/cuda/CUDAGraph.cpp). Otherwise the state stays for good: free blocks are
    not returned to the device while a capture seems under way, and the allocators keep asking the graph which streams it
    captures.
    """
    try:
        torch._C._cuda_endAllocateToPool(device, pool)
    except RuntimeError:  # already told: the capture was ended or never began, and the graph releases the pool
        return
    _failed.append(graph)  # the pinned-memory allocator still asks the graph, and offers no call to stop it
    torch._C._cuda_releasePool(device, pool)


_capturing = threading.Lock()
_failed: list[Any] = []  # graphs; a network records nothing after its first failure


def _renew() -> None:
    global _capturing  # noqa: PLW0603 - in a forked child the lock may be held by a thread that the child lacks
    _capturing = threading.Lock()


os.register_at_fork(after_in_child=_renew)
