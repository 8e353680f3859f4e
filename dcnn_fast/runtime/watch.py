"""Whether a network's weights are still those that something was made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn

from dcnn_fast.nets import MultiColumn, WeightsError, weights_of

__all__ = ["Watch", "WeightsError", "require_float32_on_cpu", "written"]

_WHOLE = 2**22  # values of a tensor up to which all are compared
_COMPARED = 2**16  # values of a larger one that are
_INTEGERS = {torch.float16: np.int16, torch.float32: np.int32, torch.float64: np.int64}


class Watch:
    """A network's weights and its spec at one moment, so that a change is noticed.

    Seen are: another spec (a mean, a scale), another tensor or module in a weight's place (`p.data = ...`, `to`), every write
    that torch counts (`load_state_dict`, `copy_`, an optimiser's step), and those that it does not count (through `.data` or
    numpy) in tensors of up to 4 million values; in larger ones, those that touch any of 65,536 places spread over it.
    """

    def __init__(self, net: MultiColumn) -> None:
        self._net, self._spec = net, net.spec
        self._seen = {name: _seen(weight) for name, weight in weights_of(net).items()}

    def __eq__(self, other: object) -> bool:
        """Whether both saw the same weights, wherever they lay."""
        if not isinstance(other, Watch) or self._spec != other._spec or self._seen.keys() != other._seen.keys():
            return False
        return all(seen.is_like(other._seen[name]) for name, seen in self._seen.items())

    __hash__ = None  # type: ignore[assignment]

    def changed(self, weights: Mapping[str, Tensor] | None = None) -> bool:
        """Whether anything has changed since this was made. weights: `weights_of` the network, where they are at hand."""
        if self._net.spec is not self._spec and self._net.spec != self._spec:
            return True
        now = weights_of(self._net) if weights is None else weights
        return now.keys() != self._seen.keys() or any(not seen.is_still(now[name]) for name, seen in self._seen.items())


@dataclass(frozen=True)
class _Seen:
    """address, version, kind: of a tensor. values: those that are compared, as bytes."""

    address: int
    version: int
    kind: tuple[object, ...]
    values: np.ndarray

    def is_still(self, tensor: Tensor) -> bool:
        """Whether nothing about the tensor has changed."""
        same = (self.address, self.version, self.kind) == (tensor.data_ptr(), _version(tensor), _kind(tensor))
        return same and np.array_equal(self.values, _compared(tensor))

    def is_like(self, other: _Seen) -> bool:
        """Whether both were the same values, wherever they lay."""
        return self.kind == other.kind and np.array_equal(self.values, other.values)


def _seen(tensor: Tensor) -> _Seen:
    return _Seen(tensor.data_ptr(), _version(tensor), _kind(tensor), _compared(tensor).copy())


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version  # inference tensors have none


def _kind(tensor: Tensor) -> tuple[object, ...]:
    return tensor.dtype, tensor.device, tensor.shape, tensor.stride(), tensor.is_neg()


def _compared(tensor: Tensor) -> np.ndarray:
    """The tensor's bits, of a large one in some places, as integers: NaN is like itself."""
    if tensor.device.type != "cpu" or tensor.dtype not in _INTEGERS:
        return np.zeros(0, np.int8)
    values = tensor.detach().resolve_neg().numpy().ravel(order="K")  # no copy where the memory is dense
    return (values[_places(values.size)] if values.size > _WHOLE else values).view(_INTEGERS[tensor.dtype])


@lru_cache(maxsize=16)
def _places(size: int) -> np.ndarray:
    """Where a tensor of so many values is compared: drawn, as even steps would always meet the same columns of a matrix."""
    return np.sort(np.random.default_rng(size).integers(0, size, _COMPARED))


def written(weights: Mapping[str, Tensor]) -> tuple[object, ...]:
    """Which parameters these weights are, and how often torch counted writes to them; made ones are not looked at."""
    return tuple((id(weight), _version(weight)) for weight in weights.values() if isinstance(weight, nn.Parameter))


def require_float32_on_cpu(weights: Mapping[str, Tensor]) -> None:
    """Raise WeightsError unless every weight is float32 in the host's memory."""
    for name, weight in weights.items():
        if weight.dtype != torch.float32 or weight.device.type != "cpu":
            raise WeightsError(
                f"the model's weights must be float32 on the cpu to score there; {name} is "
                f"{str(weight.dtype).removeprefix('torch.')} on {weight.device.type}: use net.float().cpu()"
            )
