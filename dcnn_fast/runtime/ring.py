"""Reusable buffers that photographs lie in until a GPU has copied them.

Asynchronous copies to a GPU need pinned memory, and pinning takes longer than a copy, so buffers are reused. A photograph is
put into a buffer once, on the thread that decoded it. Its arrays keep the buffer in use; when the last is collected, the
buffer goes back to the ring.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor

_LEAST, _SIZES = 16, 48  # powers of two, in bytes: the smallest buffer, and a bound above the largest
_IDLE = 2**29


class Ring:
    """The buffers. pinned: whether a GPU copies from them. idle: the most bytes of idle buffers to keep, over all sizes."""

    def __init__(self, pinned: bool, idle: float = _IDLE) -> None:
        self._pinned, self._most_idle = pinned, idle
        # By size, the longest idle first. A buffer comes back when an array is collected, at any moment on any thread: no lock
        # may be taken there, so only single, atomic deque calls are used.
        self._idle: tuple[deque[Tensor], ...] = tuple(deque() for _ in range(_SIZES))

    def held(self, pixels: np.ndarray) -> np.ndarray:
        """The pixels, contiguous, in a buffer of a ring: copied unless they lie in one already. pixels: uint8 of any shape."""
        base: object = pixels.base
        if isinstance(base, _Held) and pixels.flags.c_contiguous:
            return pixels
        found = np.asarray(_Held(self._idle_of(pixels.nbytes), pixels.shape))
        found[...] = pixels
        return found

    @property
    def idle(self) -> int:
        """The number of idle buffers."""
        return sum(map(len, self._idle))

    @property
    def idle_bytes(self) -> int:
        """The idle buffers' bytes."""
        return sum(len(waiting) << size for size, waiting in enumerate(self._idle))

    def _idle_of(self, size: int) -> _Buffer:
        """A buffer of at least `size` bytes."""
        power = max((size - 1).bit_length(), _LEAST)
        try:
            memory = self._idle[power].pop()
        except IndexError:
            memory = torch.empty(1 << power, dtype=torch.uint8, device="cpu", pin_memory=self._pinned)
        return _Buffer(memory, self)

    def back(self, memory: Tensor) -> None:
        """Take back an unused buffer; where too much memory is idle, free buffers, the largest first."""
        self._idle[memory.numel().bit_length() - 1].append(memory)
        while self.idle_bytes > self._most_idle:
            largest = next((waiting for waiting in reversed(self._idle) if waiting), None)
            if largest is None:
                return
            with suppress(IndexError):  # another thread was faster
                largest.popleft()


def held_bytes(pixels: np.ndarray) -> int:
    """The bytes of memory that an array keeps alive: a ring's whole buffer, whichever part of it the array shows."""
    base: object = pixels.base
    while isinstance(base, np.ndarray):
        base = base.base
    return base.bytes if isinstance(base, _Held) else pixels.nbytes


class _Buffer:
    """Host memory in use. ring: the ring that it goes back to."""

    def __init__(self, memory: Tensor, ring: Ring) -> None:
        self.memory, self._ring = memory, ring

    def __del__(self) -> None:
        self._ring.back(self.memory)


class _Held:
    """The base object of numpy's arrays in a buffer."""

    def __init__(self, buffer: _Buffer, shape: tuple[int, ...]) -> None:
        self._buffer = buffer
        self.bytes = buffer.memory.numel()
        self.__array_interface__: dict[str, Any] = {
            "shape": shape, "typestr": "|u1", "data": (buffer.memory.data_ptr(), False), "version": 3,
        }  # fmt: skip
