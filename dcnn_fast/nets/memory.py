"""Weights in memory of their own, copied without torch's threads, which a process made by a fork does not have."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

_SERIAL = 16384  # values: torch spreads an operation on 32768 or more over its threads


def owned(values: np.ndarray, strides_like: Sequence[int] | None = None) -> Tensor:
    """A float32 tensor of the values in memory that torch owns, which nothing else writes to or gives back.

    strides_like: axes from the outermost in memory to the innermost; default: in their order.
    """
    order = tuple(strides_like or range(values.ndim))
    memory = torch.empty([values.shape[axis] for axis in order], dtype=torch.float32, device="cpu")
    tensor = memory.permute([order.index(axis) for axis in range(values.ndim)])
    tensor.numpy()[...] = values
    return tensor


def order_of(tensor: Tensor) -> tuple[int, ...]:
    """The axes of a tensor from the outermost in memory to the innermost."""
    strides = tensor.stride()
    return tuple(sorted(range(tensor.ndim), key=lambda axis: (-strides[axis], axis)))


def copied(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """A copy in `dtype` of a tensor of the cpu, laid in memory as it is."""
    order = order_of(tensor)
    there = torch.empty([tensor.shape[axis] for axis in order], dtype=dtype, device="cpu")
    dense = tensor.detach().permute(order)
    source = dense.reshape(-1) if dense.is_contiguous() else torch.from_numpy(dense.numpy().reshape(-1))
    for piece, target in zip(torch.split(source, _SERIAL), torch.split(there.view(-1), _SERIAL), strict=True):
        target.copy_(piece)
    return there.permute([order.index(axis) for axis in range(tensor.ndim)])
