"""Buffers that photographs lie in until a GPU has copied them: taken once, and used again and again.

Memory that a GPU copies from beside the host's work has to be pinned, which takes longer than a copy. So a photograph is put
into a buffer once, on the thread that decoded it, and whoever holds its array holds the buffer; with the last of them it goes
back.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor

_LEAST, _SIZES = 16, 48  # powers of two: bytes of the smallest buffer, and of one larger than any
_IDLE = 2**29


class Ring:
    """The buffers. pinned: whether a GPU copies from them. idle: bytes of idle ones that are kept, of all sizes together."""

    def __init__(self, pinned: bool, idle: float = _IDLE) -> None:
        self._pinned, self._most_idle = pinned, idle
        # By size, each with the one that waits longest first. A buffer comes back when an array is collected, at any moment of
        # any thread: no lock can be taken there, so all that is done is one call of a deque.
        self._idle: tuple[deque[Tensor], ...] = tuple(deque() for _ in range(_SIZES))

    def held(self, pixels: np.ndarray) -> np.ndarray:
        """The same bytes, contiguous, in a buffer of a ring; themselves where they lie in one. pixels: uint8 of any shape."""
        base: object = pixels.base
        if isinstance(base, _Held) and pixels.flags.c_contiguous:
            return pixels
        found = np.asarray(_Held(self._idle_of(pixels.nbytes), pixels.shape))
        found[...] = pixels
        return found

    @property
    def idle(self) -> int:
        """How many buffers wait for a photograph."""
        return sum(map(len, self._idle))

    @property
    def idle_bytes(self) -> int:
        """What they hold."""
        return sum(len(waiting) << size for size, waiting in enumerate(self._idle))

    def _idle_of(self, size: int) -> _Buffer:
        """A buffer of at least so many bytes."""
        power = max((size - 1).bit_length(), _LEAST)
        try:
            memory = self._idle[power].pop()
        except IndexError:
            memory = torch.empty(1 << power, dtype=torch.uint8, device="cpu", pin_memory=self._pinned)
        return _Buffer(memory, self)

    def back(self, memory: Tensor) -> None:
        """Take back a buffer that nobody holds; where too much memory is idle, let go of some, of the largest first."""
        self._idle[memory.numel().bit_length() - 1].append(memory)
        while self.idle_bytes > self._most_idle:
            largest = next((waiting for waiting in reversed(self._idle) if waiting), None)
            if largest is None:
                return
            with suppress(IndexError):  # another thread was faster
                largest.popleft()


def held_bytes(pixels: np.ndarray) -> int:
    """The memory that an array keeps: of a ring's buffer all of it, whichever part of it the array shows."""
    base: object = pixels.base
    while isinstance(base, np.ndarray):
        base = base.base
    return base.bytes if isinstance(base, _Held) else pixels.nbytes


class _Buffer:
    """memory: of the host. ring: where it goes back to."""

    def __init__(self, memory: Tensor, ring: Ring) -> None:
        self.memory, self._ring = memory, ring

    def __del__(self) -> None:
        self._ring.back(self.memory)


class _Held:
    """A buffer as numpy's arrays hold it."""

    def __init__(self, buffer: _Buffer, shape: tuple[int, ...]) -> None:
        self._buffer = buffer
        self.bytes = buffer.memory.numel()
        self.__array_interface__: dict[str, Any] = {
            "shape": shape, "typestr": "|u1", "data": (buffer.memory.data_ptr(), False), "version": 3,
        }  # fmt: skip
