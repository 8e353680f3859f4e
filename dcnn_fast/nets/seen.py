"""Detects changes of a tensor from which something was derived.

Detected: another tensor or memory in its place (`p.data = ...`, `to`), every write that torch counts (`load_state_dict`,
`copy_`, an optimiser's step), and uncounted writes (through `.data` or numpy) in tensors of up to a million values; in larger
ones, only those that touch any of 16,384 places spread over the tensor.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

_WHOLE = 2**20  # the largest number of values of which all are compared
_COMPARED = 2**14  # the number of compared values of a larger tensor
_INTEGERS = {torch.float16: np.int16, torch.float32: np.int32, torch.float64: np.int64}


@dataclass(frozen=True)
class Seen:
    """A snapshot of a tensor, by which a change is noticed.

    address, version, kind: the tensor's. values: the compared ones, as bytes."""

    address: int
    version: int
    kind: tuple[object, ...]
    values: np.ndarray

    @classmethod
    def of(cls, tensor: Tensor) -> Seen:
        """A snapshot of the tensor."""
        return cls(tensor.data_ptr(), version_of(tensor), _kind(tensor), _compared(tensor).copy())

    def is_still(self, tensor: Tensor, values: bool = True) -> bool:
        """Whether nothing about the tensor has changed. values: also compare values; else only writes that torch counts are
        noticed.
        """
        same = (self.address, self.version, self.kind) == (tensor.data_ptr(), version_of(tensor), _kind(tensor))
        return same and (not values or np.array_equal(self.values, _compared(tensor)))

    def is_like(self, other: Seen) -> bool:
        """Whether both have the same values, at any address."""
        return self.kind == other.kind and np.array_equal(self.values, other.values)


def version_of(tensor: Tensor) -> int:
    """The number of writes that torch counted."""
    return 0 if tensor.is_inference() else tensor._version  # inference tensors have none


def _kind(tensor: Tensor) -> tuple[object, ...]:
    return tensor.dtype, tensor.device, tensor.shape, tensor.stride(), tensor.is_neg()


def _compared(tensor: Tensor) -> np.ndarray:
    """The tensor's bits as integers, so that NaN equals itself; for a large tensor, only some places."""
    if tensor.device.type != "cpu" or tensor.dtype not in _INTEGERS:
        return np.zeros(0, np.int8)
    values = tensor.detach().resolve_neg().numpy().ravel(order="K")  # no copy where the memory is dense
    return (values[_places(values.size)] if values.size > _WHOLE else values).view(_INTEGERS[tensor.dtype])


@lru_cache(maxsize=16)
def _places(size: int) -> np.ndarray:
    """The compared places among `size` values: random, as even steps would always hit the same columns of a matrix."""
    return np.sort(np.random.default_rng(size).integers(0, size, _COMPARED))
