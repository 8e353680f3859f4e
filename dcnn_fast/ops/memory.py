"""Tensors in memory of their own, made without torch's threads: a process made by a fork does not have them, and beside the
engine's they would go on spinning.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

_SERIAL = 16384  # values: torch spreads an operation on 32768 or more over its threads


def order_of(tensor: Tensor) -> tuple[int, ...]:
    """The axes of a tensor from the outermost in memory to the innermost."""
    strides = tensor.stride()
    return tuple(sorted(range(tensor.ndim), key=lambda axis: (-strides[axis], axis)))


def owned(values: np.ndarray, order: Sequence[int] | None = None) -> Tensor:
    """A float32 tensor of the values in memory that torch owns, which nothing else writes to or gives back.

    order: the axes from the outermost in memory to the innermost; default: as they come.
    """
    tensor = _empty(values.shape, tuple(order or range(values.ndim)), torch.float32)
    tensor.numpy()[...] = values
    return tensor


def copied(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """A copy in `dtype` of a tensor of the cpu, whose axes lie in memory in the same order."""
    order = order_of(tensor)
    copy = _empty(tensor.shape, order, dtype)
    dense = tensor.detach().permute(order)
    source = dense.reshape(-1) if dense.is_contiguous() else torch.from_numpy(dense.numpy().reshape(-1))
    pieces = zip(torch.split(source, _SERIAL), torch.split(copy.permute(order).view(-1), _SERIAL), strict=True)
    for piece, target in pieces:
        target.copy_(piece)
    return copy


def _empty(shape: Sequence[int], order: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    memory = torch.empty([shape[axis] for axis in order], dtype=dtype, device="cpu")
    return memory.permute([order.index(axis) for axis in range(len(order))])
