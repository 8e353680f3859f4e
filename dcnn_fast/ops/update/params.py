"""One update of parameters as data, and how tensors lie in memory."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class UpdateParams:
    """One problem of the update, without its values.

    Args:
        counts: Values of each parameter.
        dtype: The parameters' dtype.
        step_dtype: The increments' dtype.
        in_step: Whether every parameter fills its memory without gaps, and its increment lies in memory as it does.
    """

    counts: tuple[int, ...]
    dtype: torch.dtype = torch.float32
    step_dtype: torch.dtype = torch.float32
    in_step: bool = True

    @property
    def values(self) -> int:
        """Values in all parameters."""
        return sum(self.counts)

    @property
    def bytes(self) -> int:
        """Bytes that must move: parameters and increments read and written, gradients read."""
        return self.values * (3 * self.dtype.itemsize + 2 * self.step_dtype.itemsize)

    def tolerance(self) -> float:
        """Largest allowed error of an increment.

        Three products and two sums round once each, and so do the rates and momenta: at most 4 roundings lie on any path.

        Returns:
            The error relative to the sum of the increment's three terms' magnitudes.
        """
        return float(4 * torch.finfo(self.step_dtype).eps)

    def __str__(self) -> str:
        dtype, step = (str(each).removeprefix("torch.") for each in (self.dtype, self.step_dtype))
        return f"{len(self.counts)} parameters of {self.values} values-{dtype}-{step}{'' if self.in_step else '-gaps'}"


def same_order(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors of one shape lie in memory in the same way.

    Args:
        one: A tensor of any shape.
        other: A tensor of the same shape.

    Returns:
        True where their strides are equal; strides along an axis of one value do not matter.

    Example:
        >>> same_order(torch.empty(2, 3), torch.empty(3, 2).T)
        False
    """
    pairs = zip(one.shape, one.stride(), other.stride(), strict=True)
    return all(size == 1 or first == second for size, first, second in pairs)


def dense(tensor: Tensor) -> bool:
    """Whether the values fill their memory without gaps or overlap, in any order of the axes."""
    expected = 1
    for stride, size in sorted((stride, size) for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if size > 1):
        if stride != expected:
            return False
        expected *= size
    return True


def laid_like(tensor: Tensor, other: Tensor) -> Tensor:
    """The tensor, or a copy if its memory layout differs from `other`'s. Raises ValueError for another shape."""
    if tensor.shape != other.shape:
        raise ValueError(f"gradients must have their parameters' shapes, got {list(tensor.shape)} for {list(other.shape)}")
    if same_order(tensor, other):
        return tensor
    return torch.empty_strided(other.shape, other.stride(), dtype=tensor.dtype, device=tensor.device).copy_(tensor)
