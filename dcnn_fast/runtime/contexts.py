"""Contexts that drive a GPU: each has a stream of its own, memory and recorded launches, and threads borrow it.

Contexts belong to a network, outlive the threads that borrow them, and are closed with it: all launches have run before their
memory is freed. Their streams are made here, because torch has only thirty-two for the whole process: two threads could get
the same stream, and one thread's launches would enter the other's capture.

A stream is never destroyed: when its `DeviceStream` is collected, the stream joins the idle ones for reuse. Whenever memory
that a stream has used is freed, torch's allocators record an event on the stream (`free` in torch's
aten/src/ATen/core/CachingHostAllocator.h for pinned memory, `record_stream` for a GPU's), so it must still exist, and CuPy
destroys a stream with its object.
"""

from __future__ import annotations

import os
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable
from weakref import WeakSet

import torch

from dcnn_fast.ops.recording import unless_capturing

_T = TypeVar("_T")
_all: WeakSet[Contexts[Any]] = WeakSet()


class DeviceStream:
    """An exclusive stream on a device; on the cpu, where nothing runs asynchronously, its methods do nothing."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._handle: _Handle | None = None
        if device.type == "cuda":
            index = torch.cuda.current_device() if device.index is None else device.index
            self._home = _idle[index]  # when a process ends, this module's names may go before the stream does
            self._handle = _taken(index)

    def __del__(self) -> None:
        handle: _Handle | None = getattr(self, "_handle", None)  # missing where the stream could not be made
        if handle is not None:
            self._home.append(handle)  # no lock may be taken while objects are collected

    @property
    def _stream(self) -> Any:
        """The stream as torch's object; None on the cpu."""
        return None if self._handle is None else self._handle[1]

    def current(self) -> AbstractContextManager[Any]:
        """Within it, launches and copies go to the stream."""
        return nullcontext() if self._stream is None else torch.cuda.stream(self._stream)

    def reached(self) -> Any:
        """An event reached when all launches so far have run; None on the cpu."""
        return None if self._stream is None else self._stream.record_event()

    def wait_for(self, reached: Any) -> None:
        """Make the stream wait for another's `reached`; the host does not wait."""
        if self._stream is not None:
            self._stream.wait_event(reached)

    def handed(self, tensor: torch.Tensor) -> Any:
        """Make the current stream wait for all launches on this one, where the tensor was made, and keep the tensor's memory
        until the current stream has read it. Returns the event of `reached`.
        """
        reached = self.reached()
        if self._stream is not None:
            now = torch.cuda.current_stream(self._device)
            now.wait_event(reached)
            tensor.record_stream(now)
        return reached

    def keeps(self, *tensors: torch.Tensor) -> None:
        """Keep another stream's memory from reuse until this stream has read it."""
        if self._stream is not None:
            for tensor in tensors:
                tensor.record_stream(self._stream)

    def wait(self) -> None:
        """Make the host wait until all launches have run."""
        if self._stream is not None:
            self._stream.synchronize()


@contextmanager
def own_stream(device: torch.device) -> Iterator[None]:
    """Within it, launches go to an exclusive `DeviceStream`, as recording requires; the host waits at entry and at exit."""
    if device.type != "cuda":
        yield
        return
    torch.cuda.current_stream(device).synchronize()
    stream = DeviceStream(device)
    with stream.current():
        try:
            yield
        finally:
            stream.wait()


_Handle = tuple[Any, Any]  # a CuPy stream, which must outlive its use, and torch's object for the same stream
_idle: defaultdict[int, deque[_Handle]] = defaultdict(deque)  # by GPU: streams not in use


def _taken(index: int) -> _Handle:
    """A stream of the GPU: an idle one, or a new one."""
    try:
        return _idle[index].pop()
    except IndexError:
        return _made(index)


def _made(index: int) -> _Handle:
    import cupy  # noqa: PLC0415

    with cupy.cuda.Device(index):
        own = cupy.cuda.Stream(non_blocking=True)
    return own, torch.cuda.ExternalStream(own.ptr, device=torch.device("cuda", index))  # type: ignore[no-untyped-call]


@runtime_checkable
class Closing(Protocol):
    """A context that must act before its memory is freed."""

    def close(self) -> None:
        """Act; the context is not used afterwards."""


class Contexts(Generic[_T]):
    """At most `most` contexts, each used by one thread at a time; `make` makes another when all existing ones are in use."""

    def __init__(self, make: Callable[[], _T], most: int) -> None:
        self._make, self._most = make, most
        self._idle: list[_T] = []
        self._made = 0
        self._process = os.getpid()
        self._changed = threading.Condition()
        _all.add(self)

    @contextmanager
    def borrowed(self) -> Iterator[_T]:
        """A context for the caller's exclusive use within; waits while all are in use. The last one used is lent first."""
        _close_gone()
        context = self._take()
        try:
            yield context
        finally:
            with self._changed:
                self._idle.append(context)
                self._changed.notify()

    def _take(self) -> _T:
        with self._changed:
            self._changed.wait_for(lambda: self._idle or self._made < self._most)
            if self._idle:
                return self._idle.pop()
            self._made += 1
        try:
            return self._make()
        except BaseException:
            with self._changed:
                self._made -= 1
                self._changed.notify()
            raise

    def close(self) -> None:
        """Close the idle contexts, once their network is gone. Does nothing in a forked child, which has no GPU."""
        if os.getpid() != self._process:
            return
        with self._changed:
            idle, self._idle, self._made = self._idle, [], 0
        for context in idle:
            if isinstance(context, Closing):
                context.close()

    def renew(self) -> None:
        """In a forked child: forget contexts borrowed by threads that it lacks, and replace the lock, which one may hold."""
        self._changed = threading.Condition()
        self._made = len(self._idle)


_gone: deque[Contexts[Any]] = deque()  # contexts still to be closed, whose networks are gone


def close(contexts: Contexts[Any]) -> None:
    """Close the contexts of a network that is gone: now, or at the next borrowing of contexts if a capture is under way, which
    waiting for a stream could break.
    """
    _gone.append(contexts)
    _close_gone()


def _close_gone() -> None:
    while _gone:
        with unless_capturing() as free:
            if not free:
                return
            with suppress(IndexError):  # another thread was faster
                _gone.popleft().close()


def _renew() -> None:
    for contexts in list(_all):
        contexts.renew()


os.register_at_fork(after_in_child=_renew)
