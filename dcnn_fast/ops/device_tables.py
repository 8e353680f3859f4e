"""Copies a launch's tables to the device, all of them in one copy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dcnn_fast.ops.launch import copied

_ALIGNMENT = 128  # bytes


@dataclass(frozen=True)
class Packed:
    """Tables [rows, ...] concatenated in the host's memory, [bytes] uint8, and each table's start."""

    host: Tensor
    places: Mapping[str, tuple[int, Sequence[int], torch.dtype]]

    def copy(self) -> Packed:
        """A copy in new memory."""
        return Packed(self.host.clone(), self.places)

    def table(self, name: str) -> Tensor:
        """The table of that name, as a view of the memory."""
        return part(self.host, *self.places[name])

    def placed(self, device: torch.device) -> dict[str, Tensor]:
        """The tables on the device, by name."""
        there = copied(self.host, device)
        return {name: part(there, *place) for name, place in self.places.items()}


def packed(tables: Mapping[str, Tensor]) -> Packed:
    """The tables [rows, ...], copied into one piece of memory."""
    size, places = 0, {}
    for name, table in tables.items():
        places[name] = size, tuple(table.shape), table.dtype
        size += -(-table.nbytes // _ALIGNMENT) * _ALIGNMENT
    found = Packed(torch.empty(size, dtype=torch.uint8, device="cpu"), places)
    for name, table in tables.items():
        found.table(name).copy_(table)
    return found


def placed(tables: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """The tables [rows, ...] on the device, by name."""
    return packed(tables).placed(device)


def part(memory: Tensor, start: int, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """The memory from byte `start` on, as a tensor of that shape and dtype."""
    return memory[start : start + math.prod(shape) * dtype.itemsize].view(dtype).view(*shape)
