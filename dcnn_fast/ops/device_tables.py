"""How the tables that launches read get to the device: at once, or into room that stays, all of an image's in one copy.

In a `Room` the tables of every image lie where those of the last one lay, as long as they are not larger. So two images whose
tables differ in content only pose the same launches, which is what a CUDA graph needs (ops/recording.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from dcnn_fast.ops.launch import copied

_ALIGNMENT = 128  # bytes
_FIRST = 2**20  # bytes of a room's first piece of memory; each further one is twice as large
_STEPS = 8  # sizes to an octave that a number of programs is rounded to


class Placer(Protocol):
    """Where tables go. again: whether launches are to come again, so that programs should be of few different numbers."""

    again: bool

    def place(self, tables: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tables [rows, ...] on the device, by name; they may come back longer, with anything behind their own rows."""


class AtOnce:
    """Tables copied now, in one copy, each as long as it is."""

    again = False

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def place(self, tables: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """As `Placer` says."""
        starts = [0]
        for table in tables.values():
            starts.append(starts[-1] + _aligned(table.nbytes))
        host = torch.empty(starts[-1], dtype=torch.uint8)
        for start, table in zip(starts, tables.values(), strict=False):
            _view(host, start, table.shape, table.dtype).copy_(table)
        there = copied(host, self._device)
        return {
            name: _view(there, start, table.shape, table.dtype)
            for start, (name, table) in zip(starts, tables.items(), strict=False)
        }


class Room:
    """Memory of a device for the tables of one image after the other, on one stream.

    `begin`, then `place` what there is, in the same order for every image, then `send`; the launches come after it. Each table
    has as much room as the largest that came in its turn so far, rounded up to a power of two. Memory is never given back.
    """

    def __init__(self, device: torch.device, again: bool = True) -> None:
        self._device, self.again = device, again
        self._pieces: list[Tensor] = []
        self._staged: list[Tensor] = []  # the host's side of the pieces in use
        self._used: list[int] = []
        self._largest: list[int] = []  # bytes of the tables in their turn
        self._turn = 0

    def begin(self) -> None:
        """From here on, tables of another image."""
        self._staged, self._used, self._turn = [], [], 0

    def place(self, tables: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """As `Placer` says; all of a table's room comes back."""
        return {name: self._placed(table) for name, table in tables.items()}

    def send(self) -> None:
        """Copy what was placed; the host does not wait."""
        for piece, staged, used in zip(self._pieces, self._staged, self._used, strict=False):
            piece[:used].copy_(staged[:used], non_blocking=True)

    def _placed(self, table: Tensor) -> Tensor:
        row = math.prod(table.shape[1:]) * table.itemsize
        size = self._size(len(table) * row)
        start = self._reserve(_aligned(size))
        shape = size // row, *table.shape[1:]
        _view(self._staged[-1], start, shape, table.dtype)[: len(table)] = table
        return _view(self._pieces[len(self._staged) - 1], start, shape, table.dtype)

    def _size(self, least: int) -> int:
        """Bytes for the table whose turn it is."""
        if self._turn == len(self._largest):
            self._largest.append(0)
        size = self._largest[self._turn] = max(self._largest[self._turn], _rounded(least, 1))
        self._turn += 1
        return size

    def _reserve(self, size: int) -> int:
        """Where in the last piece in use so many bytes are free; the next ones are taken into use until there are."""
        while not self._staged or self._used[-1] + size > len(self._staged[-1]):
            number = len(self._staged)
            if number == len(self._pieces):
                self._pieces.append(torch.empty(_FIRST << number, dtype=torch.uint8, device=self._device))
            # Pinned memory comes from torch's cache, which gives none out again before its copy is done.
            pinned = self._device.type == "cuda"
            self._staged.append(torch.empty(_FIRST << number, dtype=torch.uint8, pin_memory=pinned))
            self._used.append(0)
        start = self._used[-1]
        self._used[-1] += size
        return start


def with_idle(programs: Tensor, idle: Sequence[int]) -> Tensor:
    """A table of programs [n, fields] and so many that have nothing to do that few different numbers of them come up: less than
    an eighth more.
    """
    count = len(programs)
    more = torch.tensor([idle], dtype=programs.dtype).expand(_rounded(count, _STEPS) - count, -1)
    return torch.cat([programs, more])


def _rounded(count: int, steps: int) -> int:
    """`count` rounded up to one of `steps` sizes to an octave."""
    step = max(1, (1 << max(count - 1, 0).bit_length()) // (2 * steps))
    return -(-count // step) * step


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def _view(memory: Tensor, start: int, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    return memory[start : start + math.prod(shape) * dtype.itemsize].view(dtype).view(*shape)
