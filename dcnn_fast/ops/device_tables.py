"""How the tables that a launch reads get to the device: all of them in one copy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from dcnn_fast.ops.launch import copied

_ALIGNMENT = 128  # bytes


def placed(tables: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """The tables [rows, ...] on the device, by name."""
    starts = [0]
    for table in tables.values():
        starts.append(starts[-1] + -(-table.nbytes // _ALIGNMENT) * _ALIGNMENT)
    host = torch.empty(starts[-1], dtype=torch.uint8)
    for start, table in zip(starts, tables.values(), strict=False):
        part(host, start, table.shape, table.dtype).copy_(table)
    there = copied(host, device)
    return {name: part(there, start, of.shape, of.dtype) for start, (name, of) in zip(starts, tables.items(), strict=False)}


def part(memory: Tensor, start: int, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """What lies at a byte of the memory, as a tensor of that shape."""
    return memory[start : start + math.prod(shape) * dtype.itemsize].view(dtype).view(*shape)
