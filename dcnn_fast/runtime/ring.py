"""Buffers that photographs lie in until a GPU has copied them: taken once, and used again and again.

Memory that a GPU copies from beside the host's work has to be pinned, which takes longer than a copy. So a photograph is put
into a buffer once, on the thread that decoded it, and whoever holds its array holds the buffer; with the last of them it goes
back.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
import torch
from torch import Tensor

_LEAST = 2**16  # bytes of a buffer; larger ones are powers of two
_IDLE = 2**28  # bytes of idle buffers of one size that are kept, and two at least


class Ring:
    """The buffers. pinned: whether a GPU copies from them."""

    def __init__(self, pinned: bool) -> None:
        self._pinned = pinned
        # By size. A buffer comes back when an array is collected, at any moment of any thread: no lock can be taken there.
        self._idle: dict[int, deque[Tensor]] = {}

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
        return sum(map(len, self._idle.values()))

    def _idle_of(self, size: int) -> _Buffer:
        """A buffer of at least so many bytes."""
        size = 1 << (max(size, _LEAST) - 1).bit_length()
        home = self._idle.setdefault(size, deque(maxlen=max(2, _IDLE // size)))
        try:
            memory = home.pop()
        except IndexError:
            memory = torch.empty(size, dtype=torch.uint8, device="cpu", pin_memory=self._pinned)
        return _Buffer(memory, home)


class _Buffer:
    """memory: of the host. home: where it waits to be used again."""

    def __init__(self, memory: Tensor, home: deque[Tensor]) -> None:
        self.memory, self._home = memory, home

    def __del__(self) -> None:
        self._home.append(self.memory)


class _Held:
    """A buffer as numpy's arrays hold it."""

    def __init__(self, buffer: _Buffer, shape: tuple[int, ...]) -> None:
        self._buffer = buffer
        self.__array_interface__: dict[str, Any] = {
            "shape": shape, "typestr": "|u1", "data": (buffer.memory.data_ptr(), False), "version": 3,
        }  # fmt: skip
