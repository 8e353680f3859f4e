"""What drives a GPU: a few streams of the project's own, each with its memory and its recorded launches, borrowed by threads.

Contexts belong to a network, outlive the threads that come for them, and are closed with it: what was launched has run before
their memory is given back. Their streams are made here: of torch's thirty-two, which all who ask share, two threads could have
the same, and one's launches would go into the other's capture.

A stream is never destroyed: with its `DeviceStream` it goes back to those that wait for the next one. For when memory that a
stream has used is freed, whenever that is, torch's allocators record an event on the stream (`free` in torch's
aten/src/ATen/core/CachingHostAllocator.h for pinned memory, `record_stream` for a GPU's), which must exist then, and CuPy
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
    """A stream on a device, nobody else's; on the cpu, where nothing runs beside the host, it has nothing to do."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._handle: _Handle | None = None
        if device.type == "cuda":
            index = torch.cuda.current_device() if device.index is None else device.index
            self._home = _idle[index]  # when a process ends, this module's names may go before the stream does
            self._handle = _taken(index)

    def __del__(self) -> None:
        handle: _Handle | None = getattr(self, "_handle", None)  # None also of one that could not be made
        if handle is not None:
            self._home.append(handle)  # no lock can be taken where objects are collected

    @property
    def _stream(self) -> Any:
        """As torch takes it."""
        return None if self._handle is None else self._handle[1]

    def current(self) -> AbstractContextManager[Any]:
        """Within it, launches and copies go to the stream."""
        return nullcontext() if self._stream is None else torch.cuda.stream(self._stream)

    def reached(self) -> Any:
        """What tells when all that was launched has run; None where nothing runs beside the host."""
        return None if self._stream is None else self._stream.record_event()

    def wait_for(self, reached: Any) -> None:
        """Let the stream wait for another's `reached`; the host does not."""
        if self._stream is not None:
            self._stream.wait_event(reached)

    def handed(self, tensor: torch.Tensor) -> Any:
        """Let the stream that is current wait for all that was launched on this one, where the tensor was made, and keep its
        memory until the current one has read it. Returns what `reached` does.
        """
        reached = self.reached()
        if self._stream is not None:
            now = torch.cuda.current_stream(self._device)
            now.wait_event(reached)
            tensor.record_stream(now)
        return reached

    def keeps(self, *tensors: torch.Tensor) -> None:
        """Memory of another stream's is not given away before this one has read it."""
        if self._stream is not None:
            for tensor in tensors:
                tensor.record_stream(self._stream)

    def wait(self) -> None:
        """Let the host wait until all that was launched has run."""
        if self._stream is not None:
            self._stream.synchronize()


@contextmanager
def own_stream(device: torch.device) -> Iterator[None]:
    """Within it, launches go to a stream of the project's own, as recorded ones must; before and after it all have run."""
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


_Handle = tuple[Any, Any]  # a stream as CuPy made it, which lives as long as this does, and the same as torch takes it
_idle: defaultdict[int, deque[_Handle]] = defaultdict(deque)  # of each GPU, streams that nobody has


def _taken(index: int) -> _Handle:
    """A stream of that GPU's: one that nobody has, or a new one."""
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
    """What has something to do before its memory is given back."""

    def close(self) -> None:
        """Do it; it is used no more."""


class Contexts(Generic[_T]):
    """At most `most` contexts, each used by one thread at a time; `make` makes one when all there are are in use."""

    def __init__(self, make: Callable[[], _T], most: int) -> None:
        self._make, self._most = make, most
        self._idle: list[_T] = []
        self._made = 0
        self._process = os.getpid()
        self._changed = threading.Condition()
        _all.add(self)

    @contextmanager
    def borrowed(self) -> Iterator[_T]:
        """A context that is the caller's alone within; it waits for one where all are in use. The one used last comes first."""
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
        """Close those that nobody has; who had the contexts is gone. Nothing in a child made by a fork, which has no GPU."""
        if os.getpid() != self._process:
            return
        with self._changed:
            idle, self._idle, self._made = self._idle, [], 0
        for context in idle:
            if isinstance(context, Closing):
                context.close()

    def renew(self) -> None:
        """In a child made by a fork: threads that had borrowed a context are not there, nor is what holds the lock."""
        self._changed = threading.Condition()
        self._made = len(self._idle)


_gone: deque[Contexts[Any]] = deque()  # whose networks are, and which are still to be closed


def close(contexts: Contexts[Any]) -> None:
    """Close the contexts of a network that is gone: now or, while a capture goes on, which waiting for a stream could end, when
    contexts are borrowed next.
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
