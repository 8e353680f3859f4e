"""Detects changes of a network's weights."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from dcnn_fast.nets import MultiColumn, WeightsError, weights_of
from dcnn_fast.nets.backbone import BACKBONE
from dcnn_fast.nets.seen import Seen, version_of

__all__ = ["Watch", "WeightsError", "require_float32_on_cpu", "written"]


class Watch:
    """A snapshot of a network's weights and spec, to detect changes.

    It detects another spec (a mean, a scale), another module in a weight's place, and changes that `Seen` detects in a weight.
    """

    def __init__(self, net: MultiColumn) -> None:
        self._net, self._spec = net, net.spec
        self._seen = {name: Seen.of(weight) for name, weight in weights_of(net).items()}

    def __eq__(self, other: object) -> bool:
        """Whether both snapshots have equal specs and weights, at any addresses."""
        if not isinstance(other, Watch) or self._spec != other._spec or self._seen.keys() != other._seen.keys():
            return False
        return all(seen.is_like(other._seen[name]) for name, seen in self._seen.items())

    __hash__ = None  # type: ignore[assignment]

    def changed(self, weights: Mapping[str, Tensor] | None = None, values: bool = True) -> bool:
        """Whether anything has changed since this was made. weights: `weights_of` the network, if the caller has them. values:
        as in `Seen.is_still`.
        """
        if self._net.spec is not self._spec and self._net.spec != self._spec:
            return True
        now = weights_of(self._net) if weights is None else weights
        return now.keys() != self._seen.keys() or any(not seen.is_still(now[name], values) for name, seen in self._seen.items())


def written(weights: Mapping[str, Tensor]) -> tuple[object, ...]:
    """Each stored weight's identity and torch's count of writes to it; computed weights are left out."""
    kept = (each for name, each in weights.items() if isinstance(each, nn.Parameter) or name.endswith(BACKBONE))
    return tuple((id(weight), version_of(weight)) for weight in kept)


def require_float32_on_cpu(weights: Mapping[str, Tensor]) -> None:
    """Raise WeightsError unless every weight is float32 in the host's memory."""
    for name, weight in weights.items():
        if weight.dtype != torch.float32 or weight.device.type != "cpu":
            raise WeightsError(
                f"the model's weights must be float32 on the cpu to score there; {name} is "
                f"{str(weight.dtype).removeprefix('torch.')} on {weight.device.type}: use net.float().cpu()"
            )
