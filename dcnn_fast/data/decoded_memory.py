"""Memory for decoded photographs: the memory of a released photograph is reused for the next one.

The system clears new memory at the first write, which takes a tenth of the decoding time, and as long as decoding itself where
memory is short or fragmented. The system may reclaim idle memory (MADV_FREE), but it counts towards a process's limits and
would be lacking elsewhere: in a process with a limit, no memory is kept.
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

LEAST = 2**22  # bytes: smaller arrays come from the allocator, which reuses memory itself
SHARE = 8  # idle memory is at most this fraction of the memory for pictures
_LIMITS = (resource.RLIMIT_AS, resource.RLIMIT_DATA)  # limits of the process that idle memory counts towards
_STEPS = 8  # sizes per power of two, so that photographs of nearly one size reuse each other's memory
_idle: deque[mmap.mmap] = deque()  # no lock: memory returns wherever Python happens to release an array


class _Loan:
    """Base object of all arrays over a block: it is collected after the last of them, and the block returns."""

    __slots__ = ("__array_interface__", "__weakref__")

    def __init__(self, block: mmap.mmap, shape: tuple[int, ...]) -> None:
        self.__array_interface__ = {**np.frombuffer(block, np.uint8).__array_interface__, "shape": shape}
        weakref.finalize(self, _come_back, block).atexit = False


def array(shape: tuple[int, ...]) -> np.ndarray:
    """A uint8 array of this shape, C-contiguous, uninitialised. Raises MemoryError.

    Where the process's memory is limited, the memory is new, and none is kept afterwards.
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
    except OSError:  # no mapping to be had: release idle memory and try the allocator
        let_go()
        return np.empty(shape, np.uint8)


def waiting() -> int:
    """The bytes of idle memory."""
    return sum(map(len, _idle.copy()))  # a deque that may grow meanwhile cannot be iterated; copying it is atomic


def let_go() -> None:
    """Release idle memory to the system."""
    _idle.clear()


def _is_limited() -> bool:
    return in_flight.is_limited() or any(resource.getrlimit(limit)[0] != resource.RLIM_INFINITY for limit in _LIMITS)


def _taken(size: int) -> mmap.mmap | None:
    """An idle block of at least this size and at most a quarter more, as the array keeps the whole block alive."""
    for _ in range(len(_idle)):
        with suppress(IndexError):  # another thread took the last block
            block = _idle.popleft()
            if size <= len(block) <= size + size // 4:
                return block
            _idle.append(block)
    return None


def _mapped(size: int) -> mmap.mmap:
    step = 2 ** (size.bit_length() - 1) // _STEPS
    block = mmap.mmap(-1, -(-size // step) * step, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):  # the system has no huge pages
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
