"""How the tables that launches read get to the device: at once, or into room that stays, all of an image's in one copy.

In a `Room` a table lies where the last image's lay whenever all before it have sizes that round to the same. So two images
whose tables differ in content only pose the same launches, which is what a CUDA graph needs (ops/recording.py).
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
_GRID_STEPS, _STEPS = 8, 1  # sizes to an octave: of tables whose rows are programs, and of others
Rows = Mapping[str, Sequence[int]]


class Placer(Protocol):
    """Where tables go."""

    def place(self, tables: Mapping[str, Tensor], programs: Rows) -> dict[str, Tensor]:
        """The tables [rows, ...] on the device, by name. programs: of those whose rows are a launch's programs, a row that has
        nothing to do: such a table may come back longer, ending in these.
        """


class AtOnce:
    """Tables copied now, in one copy, each as long as it is."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def place(self, tables: Mapping[str, Tensor], programs: Rows) -> dict[str, Tensor]:
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

    `begin`, then `place` what there is, then `send`; the launches come after it. Memory is never given back or moved.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pieces: list[Tensor] = []
        self._staged: list[Tensor] = []  # the host's side of the pieces in use
        self._used: list[int] = []

    def begin(self) -> None:
        """From here on, tables of another image."""
        self._staged, self._used = [], []

    def place(self, tables: Mapping[str, Tensor], programs: Rows) -> dict[str, Tensor]:
        """As `Placer` says; rows are rounded up, by less than an eighth where they are programs, else to powers of two."""
        return {name: self._placed(table, programs.get(name)) for name, table in tables.items()}

    def send(self) -> None:
        """Copy what was placed; the host does not wait."""
        for piece, staged, used in zip(self._pieces, self._staged, self._used, strict=False):
            piece[:used].copy_(staged[:used], non_blocking=True)

    def _placed(self, table: Tensor, idle: Sequence[int] | None) -> Tensor:
        count = len(table)
        shape = rounded(count, _STEPS if idle is None else _GRID_STEPS), *table.shape[1:]
        start = self._reserve(_aligned(math.prod(shape) * table.itemsize))
        rows = _view(self._staged[-1], start, shape, table.dtype)
        rows[:count] = table
        if idle is not None and count < len(rows):
            rows[count:] = torch.tensor(idle, dtype=table.dtype)
        return _view(self._pieces[len(self._staged) - 1], start, shape, table.dtype)

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


def rounded(count: int, steps: int) -> int:
    """`count` rounded up to one of `steps` sizes to an octave."""
    step = max(1, (1 << max(count - 1, 0).bit_length()) // (2 * steps))
    return -(-count // step) * step


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def _view(memory: Tensor, start: int, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    return memory[start : start + math.prod(shape) * dtype.itemsize].view(dtype).view(*shape)
