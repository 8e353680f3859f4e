"""Tensors in memory of their own, made without torch's threads: a process made by a fork does not have them, and beside the
engine's they would go on spinning.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

_ALIGNMENT = 64  # bytes, as of torch's own memory: a line of the cache, the widest vector
_MOST = 2**47  # bytes: kMostBytes of csrc/core/sizes.h
_MOST_WORK = 10_000  # of numpy's search for a place that two tensors share
_SERIAL = 16384  # values: torch spreads an operation on 32768 or more over its threads


def order_of(tensor: Tensor) -> tuple[int, ...]:
    """The axes of a tensor from the outermost in memory to the innermost."""
    strides = tensor.stride()
    return tuple(sorted(range(tensor.ndim), key=lambda axis: (-strides[axis], axis)))


def empty(shape: Sequence[int], dtype: torch.dtype = torch.float32, order: Sequence[int] | None = None) -> Tensor:
    """A tensor of the cpu whose values nobody has written. torch.empty fills it, on its threads, where the program asks torch
    to be deterministic.

    order: the axes from the outermost in memory to the innermost; default: as they come.
    """
    count = math.prod(shape) * dtype.itemsize
    if count > _MOST:
        raise MemoryError(f"a tensor of shape {list(shape)} takes {count} bytes, more than a processor has addresses for")
    memory = np.empty(count + _ALIGNMENT, np.uint8)
    first = -torch.from_numpy(memory).data_ptr() % _ALIGNMENT
    items = torch.from_numpy(memory[first : first + count]).view(dtype)
    strides, step = [0] * len(shape), 1
    for axis in reversed(order or range(len(shape))):
        strides[axis] = step
        step *= max(1, shape[axis])
    return items.as_strided(shape, strides)


def empty_channels_last(shape: Sequence[int], dtype: torch.dtype = torch.float32) -> Tensor:
    """`empty` [N, C, H, W] in channels_last memory."""
    return empty(shape, dtype, (0, 2, 3, 1))


def owned(values: np.ndarray, order: Sequence[int] | None = None) -> Tensor:
    """A float32 tensor of the values in memory that nothing else writes to or gives back. order: as in `empty`."""
    tensor = empty(values.shape, torch.float32, order)
    tensor.numpy()[...] = values
    return tensor


def copied(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """A copy in `dtype` of a tensor of the cpu, whose axes lie in memory in the same order."""
    order = order_of(tensor)
    copy = empty(tensor.shape, dtype, order)
    dense = tensor.detach().resolve_neg().permute(order)
    source = dense.reshape(-1) if dense.is_contiguous() else torch.from_numpy(dense.numpy().reshape(-1))
    pieces = zip(torch.split(source, _SERIAL), torch.split(copy.permute(order).view(-1), _SERIAL), strict=True)
    for piece, target in pieces:
        target.copy_(piece)
    return copy


def contiguous(tensor: Tensor) -> Tensor:
    """The values of a tensor of the cpu in contiguous memory: its own, or a copy made by numpy."""
    if tensor.is_contiguous() and not tensor.is_neg():
        return tensor
    copy = empty(tensor.shape, tensor.dtype)
    _bits(copy)[...] = _bits(tensor.detach().resolve_neg())
    return copy


def channels_last(tensor: Tensor) -> Tensor:
    """The values of a tensor [N, C, H, W] of the cpu in channels_last memory: its own, or a copy made by numpy."""
    if tensor.is_contiguous(memory_format=torch.channels_last) and not tensor.is_neg():
        return tensor
    copy = empty_channels_last(tensor.shape, tensor.dtype)
    _bits(copy)[...] = _bits(tensor.detach().resolve_neg())
    return copy


def require_apart(written: Mapping[str, Tensor], read: Mapping[str, Tensor]) -> None:
    """Raise ValueError naming a tensor that is written to and another one that it shares memory with."""
    names = list(written)
    for i, name in enumerate(names):
        others = {**{other: written[other] for other in names[:i]}, **read}
        for other, tensor in others.items():
            if _shared(written[name], tensor):
                raise ValueError(f"{name} is written to and must share no memory with {other}")


def _shared(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors share memory; what takes numpy long to find out counts as shared."""
    if (
        not (one.numel() and other.numel())
        or one.device != other.device
        or _ends_before(one, other)
        or _ends_before(other, one)
    ):
        return False
    if not one.is_cpu:
        return True
    try:
        return np.shares_memory(_bits(one.detach()), _bits(other.detach()), _MOST_WORK)  # type: ignore[arg-type]
    except np.exceptions.TooHardError:
        return True


def _ends_before(one: Tensor, other: Tensor) -> bool:
    """Whether a tensor's memory ends before that of another begins. Not for empty ones."""
    last = sum((size - 1) * stride for size, stride in zip(one.shape, one.stride(), strict=True))
    return one.data_ptr() + (last + 1) * one.itemsize <= other.data_ptr()


def _bits(tensor: Tensor) -> np.ndarray:
    """The tensor's memory, of values that numpy need not know."""
    return tensor.view(torch.int16).numpy() if tensor.dtype == torch.bfloat16 else tensor.numpy()
