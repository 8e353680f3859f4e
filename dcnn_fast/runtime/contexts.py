"""What drives a GPU: a few streams of the project's own, each with its memory and its recorded launches, borrowed by threads.

Contexts belong to a network and outlive the threads that come for them. Their streams are made here: of torch's thirty-two,
which all who ask share, two threads could have the same, and one's launches would go into the other's capture.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import lru_cache, partial
from typing import Any, Generic, TypeVar
from weakref import WeakSet

import torch

_T = TypeVar("_T")
_all: WeakSet[Contexts[Any]] = WeakSet()


class DeviceStream:
    """A stream on a device; on the cpu, where nothing runs beside the host, it has nothing to do."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._own: Any = None
        self._stream: Any = None
        if device.type == "cuda":
            self._own, self._stream = _made(device)

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
    index = torch.cuda.current_device() if device.index is None else device.index
    with _streams(index).borrowed() as stream, stream.current():
        try:
            yield
        finally:
            stream.wait()


def _made(device: torch.device) -> tuple[Any, Any]:
    """A stream that is nobody else's, which lives as long as the first of the two, and the same as torch takes it."""
    import cupy  # noqa: PLC0415

    with cupy.cuda.Device(device.index):
        own = cupy.cuda.Stream(non_blocking=True)
    return own, torch.cuda.ExternalStream(own.ptr, device=device)  # type: ignore[no-untyped-call]


class Contexts(Generic[_T]):
    """At most `most` contexts, each used by one thread at a time; `make` makes one when all there are are in use."""

    def __init__(self, make: Callable[[], _T], most: int) -> None:
        self._make, self._most = make, most
        self._idle: list[_T] = []
        self._made = 0
        self._changed = threading.Condition()
        _all.add(self)

    @contextmanager
    def borrowed(self) -> Iterator[_T]:
        """A context that is the caller's alone within; it waits for one where all are in use. The one used last comes first."""
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

    def renew(self) -> None:
        """In a child made by a fork: threads that had borrowed a context are not there, nor is what holds the lock."""
        self._changed = threading.Condition()
        self._made = len(self._idle)


@lru_cache
def _streams(index: int) -> Contexts[DeviceStream]:
    """Those of `own_stream`, which are never destroyed: torch records events on them for memory given back after a run."""
    return Contexts(partial(DeviceStream, torch.device("cuda", index)), sys.maxsize)


def _renew() -> None:
    for contexts in list(_all):
        contexts.renew()


os.register_at_fork(after_in_child=_renew)
