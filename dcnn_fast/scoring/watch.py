"""Whether a network's weights are still those that something was made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

_COMPARED = 2**12  # values of a tensor, evenly spread, that are compared; smaller tensors are compared whole


class WeightsError(ValueError):
    """A network's weights are not, or no longer, what a scorer can use; the message says why and what to do."""


class Watch:
    """A network's weights at one moment, so that a change is noticed.

    Seen are: another tensor or module in a weight's place (`p.data = ...`, `to`), every write that torch counts
    (`load_state_dict`, `copy_`, an optimiser's step), and, of those that it does not count (through `.data` or numpy), the ones
    that touch any of 4,096 evenly spread values of a tensor.
    """

    def __init__(self, net: nn.Module) -> None:
        self._seen = {name: _seen(parameter) for name, parameter in net.named_parameters()}
        self._net = net

    def changed(self) -> bool:
        """Whether any weight has changed since this was made."""
        now = dict(self._net.named_parameters())
        return now.keys() != self._seen.keys() or any(_seen(now[name]) != seen for name, seen in self._seen.items())


@dataclass(frozen=True)
class _Seen:
    address: int
    version: int
    kind: tuple[object, ...]
    values: bytes


def _seen(tensor: Tensor) -> _Seen:
    kind = tensor.dtype, tensor.device, tensor.shape, tensor.stride()
    version = 0 if tensor.is_inference() else tensor._version  # inference tensors have none
    return _Seen(tensor.data_ptr(), version, kind, _some_values(tensor))


def _some_values(tensor: Tensor) -> bytes:
    if tensor.device.type != "cpu" or tensor.dtype not in (torch.float32, torch.float64, torch.float16):
        return b""
    values = tensor.detach().numpy().ravel(order="K")  # no copy where the memory is dense
    return np.ascontiguousarray(values[:: max(1, values.size // _COMPARED)]).tobytes()


def require_float32_on_cpu(net: nn.Module) -> None:
    """Raise WeightsError unless every weight is float32 in the host's memory."""
    for name, parameter in net.named_parameters():
        if parameter.dtype != torch.float32 or parameter.device.type != "cpu":
            raise WeightsError(
                f"the model's weights must be float32 on the cpu to score there; {name} is "
                f"{str(parameter.dtype).removeprefix('torch.')} on {parameter.device.type}: use net.float().cpu()"
            )
