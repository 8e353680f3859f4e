"""Memory for decoded photographs: that of one nobody holds any more is the next one's.

The system clears new memory as it is first written, which takes a tenth of the time of decoding, and where memory is short or
in pieces as long as decoding itself. Memory that waits for its next photograph is the system's to take back (MADV_FREE), but it
counts towards the limits of a process, within which others would lack it: where there is one, none waits.
"""

from __future__ import annotations

import math
import mmap
import resource
import weakref
from collections import deque
from contextlib import suppress

import numpy as np

from dcnn_fast.data import in_flight

LEAST = 2**22  # bytes: less comes from the allocator, which keeps it itself
SHARE = 8  # of the memory for pictures: as much of it may wait
_LIMITS = (resource.RLIMIT_AS, resource.RLIMIT_DATA)  # of the process, which memory that waits counts towards
_STEPS = 8  # sizes from one power of two to the next, so that photographs of nearly one size take each other's places
_idle: deque[mmap.mmap] = deque()  # without a lock: memory comes back wherever Python happens to let go of an array


class _Loan:
    """What the arrays of a block hold; with the last of them it goes, and the block comes back."""

    __slots__ = ("__array_interface__", "__weakref__")

    def __init__(self, block: mmap.mmap, shape: tuple[int, ...]) -> None:
        self.__array_interface__ = {**np.frombuffer(block, np.uint8).__array_interface__, "shape": shape}
        weakref.finalize(self, _come_back, block).atexit = False


def array(shape: tuple[int, ...]) -> np.ndarray:
    """uint8 of this shape, C-contiguous, uninitialised. Raises MemoryError.

    Where the process's memory is limited, it is new memory, and none is kept.
    """
    size = math.prod(shape)
    limited = _is_limited()
    if limited:
        let_go()
    if limited or size < LEAST:
        return np.empty(shape, np.uint8)
    block = _taken(size)
    try:
        return np.asarray(_Loan(_mapped(size) if block is None else block, shape))
    except OSError:  # no such memory: perhaps without what waits
        let_go()
        return np.empty(shape, np.uint8)


def waiting() -> int:
    """The bytes that wait for their next use."""
    return sum(map(len, _idle.copy()))  # a deque to which memory comes back cannot be walked; its copy is made in one step


def let_go() -> None:
    """Give the system what waits."""
    _idle.clear()


def _is_limited() -> bool:
    return in_flight.is_limited() or any(resource.getrlimit(limit)[0] != resource.RLIM_INFINITY for limit in _LIMITS)


def _taken(size: int) -> mmap.mmap | None:
    """Memory that waits, of at least this size and at most a quarter more; who keeps the array keeps all of it."""
    for _ in range(len(_idle)):
        with suppress(IndexError):  # another thread was first
            block = _idle.popleft()
            if size <= len(block) <= size + size // 4:
                return block
            _idle.append(block)
    return None


def _mapped(size: int) -> mmap.mmap:
    step = 2 ** (size.bit_length() - 1) // _STEPS
    block = mmap.mmap(-1, -(-size // step) * step, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):  # a system without large pages
        block.madvise(mmap.MADV_HUGEPAGE)
    return block


def _come_back(block: mmap.mmap) -> None:
    most = in_flight.limit() // SHARE
    if len(block) > most or _is_limited():
        return
    with suppress(OSError, IndexError):
        block.madvise(mmap.MADV_FREE)
        _idle.append(block)
        while waiting() > most:
            _idle.popleft()
