"""The contract of the backbone's backends."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from dcnn_fast.ops.backbone.params import BackboneParams
from dcnn_fast.ops.backend import Backend
from dcnn_fast.ops.mbconv import MbConvWeights


@dataclass(frozen=True)
class BackboneWeights:
    """Weights and biases in float32, batch norms folded into them.

    stem: [filters, channels, size, size] and [filters]. blocks: each block's. head: [outputs, filters of the last block] and
    [outputs].
    """

    stem: tuple[Tensor, Tensor]
    blocks: tuple[MbConvWeights, ...]
    head: tuple[Tensor, Tensor]


class PreparedBackbone(Protocol):
    """A backbone's weights in one backend's layout."""

    @abstractmethod
    def features(self, x: Tensor) -> Tensor:
        """x: [N, channels, height, width], bytes or float32, any strides, of any extents -> [N, features] float32."""


class BackboneBackend(Backend[BackboneParams], Protocol):
    """One way to compute a backbone."""

    @abstractmethod
    def prepare(self, params: BackboneParams, weights: BackboneWeights) -> PreparedBackbone:
        """The weights in this backend's layout, which may share their memory. images, extents and dtype are ignored."""
