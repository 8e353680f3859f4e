"""Tensors in new memory, made without torch's threads: a forked process does not have these threads, and elsewhere they would
keep spinning beside the engine's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

_ALIGNMENT = 64  # bytes, as for torch's own memory: a cache line, the widest vector
_MOST = 2**47  # bytes: kMostBytes of csrc/core/sizes.h
_MOST_WORK = 10_000  # limit on numpy's search for an address that two tensors share
_SERIAL = 16384  # values: torch runs an operation on 32768 or more values on several threads


def order_of(tensor: Tensor) -> tuple[int, ...]:
    """The axes of a tensor from the outermost in memory to the innermost."""
    strides = tensor.stride()
    return tuple(sorted(range(tensor.ndim), key=lambda axis: (-strides[axis], axis)))


def empty(shape: Sequence[int], dtype: torch.dtype = torch.float32, order: Sequence[int] | None = None) -> Tensor:
    """An uninitialised tensor on the cpu. (torch.empty would fill it, on torch's threads, where the program asks torch to be
    deterministic.)

    order: the axes from the outermost in memory to the innermost; default: the shape's order.
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
    """A float32 copy of the values in memory that nothing else writes to or frees. order: as in `empty`."""
    tensor = empty(values.shape, torch.float32, order)
    tensor.numpy()[...] = values
    return tensor


def copied(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """A copy in `dtype` of a cpu tensor, with its axes in the same order in memory."""
    order = order_of(tensor)
    copy = empty(tensor.shape, dtype, order)
    dense = tensor.detach().resolve_neg().permute(order)
    source = dense.reshape(-1) if dense.is_contiguous() else torch.from_numpy(dense.numpy().reshape(-1))
    pieces = zip(torch.split(source, _SERIAL), torch.split(copy.permute(order).view(-1), _SERIAL), strict=True)
    for piece, target in pieces:
        target.copy_(piece)
    return copy


def contiguous(tensor: Tensor) -> Tensor:
    """A cpu tensor's values in contiguous memory: the tensor's own, or a copy made by numpy."""
    if tensor.is_contiguous() and not tensor.is_neg():
        return tensor
    copy = empty(tensor.shape, tensor.dtype)
    _bits(copy)[...] = _bits(tensor.detach().resolve_neg())
    return copy


def channels_last(tensor: Tensor) -> Tensor:
    """The values of a cpu tensor [N, C, H, W] in channels_last memory: the tensor's own, or a copy made by numpy."""
    if tensor.is_contiguous(memory_format=torch.channels_last) and not tensor.is_neg():
        return tensor
    copy = empty_channels_last(tensor.shape, tensor.dtype)
    _bits(copy)[...] = _bits(tensor.detach().resolve_neg())
    return copy


def require_apart(written: Mapping[str, Tensor], read: Mapping[str, Tensor]) -> None:
    """Raise ValueError where a written tensor shares memory with another tensor; the message names both."""
    names = list(written)
    for i, name in enumerate(names):
        others = {**{other: written[other] for other in names[:i]}, **read}
        for other, tensor in others.items():
            if _shared(written[name], tensor):
                raise ValueError(f"{name} is written to and must share no memory with {other}")


def _shared(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors share memory; they count as sharing it where numpy's search would take too long."""
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
    """Whether one tensor's memory ends before the other's begins. Not for empty tensors."""
    last = sum((size - 1) * stride for size, stride in zip(one.shape, one.stride(), strict=True))
    return one.data_ptr() + (last + 1) * one.itemsize <= other.data_ptr()


def _bits(tensor: Tensor) -> np.ndarray:
    """The tensor's memory as an array, for dtypes that numpy may not have."""
    return tensor.view(torch.int16).numpy() if tensor.dtype == torch.bfloat16 else tensor.numpy()
