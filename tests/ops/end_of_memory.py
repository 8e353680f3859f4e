"""Memory that ends where a tensor does: a read or write past it ends the process, so tests use a separate process."""

from __future__ import annotations

import ctypes
import mmap

import torch
from torch import Tensor

_LIBC = ctypes.CDLL(None, use_errno=True)
_KEPT: list[mmap.mmap] = []


def at_the_end(tensor: Tensor) -> Tensor:
    """The tensor's values, contiguous, ending at an inaccessible page."""
    size = tensor.numel() * tensor.element_size()
    room = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
    return _in_pages(tensor, room, room - size, room)


def at_the_start(tensor: Tensor) -> Tensor:
    """The tensor's values, contiguous, starting right after an inaccessible page."""
    size = tensor.numel() * tensor.element_size()
    return _in_pages(tensor, size, mmap.PAGESIZE, 0)


def _in_pages(tensor: Tensor, room: int, offset: int, forbidden: int) -> Tensor:
    """The values, `offset` bytes into a mapping of `room` bytes plus a page; the page at `forbidden` is inaccessible."""
    pages = mmap.mmap(-1, room + mmap.PAGESIZE)
    _KEPT.append(pages)
    start = ctypes.addressof(ctypes.c_char.from_buffer(pages))
    assert _LIBC.mprotect(ctypes.c_void_p(start + forbidden), ctypes.c_size_t(mmap.PAGESIZE), 0) == 0
    flat = torch.frombuffer(pages, dtype=tensor.dtype, count=tensor.numel(), offset=offset)
    return flat.view(tensor.shape).copy_(tensor)
