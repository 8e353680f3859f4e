"""The contract of the inverted residual block's backends."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from dcnn_fast.ops.backend import Backend
from dcnn_fast.ops.mbconv.params import MbConvParams


@dataclass(frozen=True)
class MbConvWeights:
    """Weights and biases of the three layers. Batch norms are folded into them.

    Args:
        expand: [expanded, channels] and [expanded], None without an expansion.
        depthwise: [expanded, size, size] and [expanded].
        project: [filters, expanded] and [filters].
    """

    expand: tuple[Tensor, Tensor] | None
    depthwise: tuple[Tensor, Tensor]
    project: tuple[Tensor, Tensor]


class PreparedMbConv(Protocol):
    """A block's weights in one backend's layout."""

    @abstractmethod
    def run(self, x: Tensor) -> Tensor:
        """x: [N, channels, height, width] -> [N, filters, out_height, out_width] in channels_last memory, of any extents."""


class MbConvBackend(Backend[MbConvParams], Protocol):
    """A backend of the block."""

    @abstractmethod
    def prepare(self, params: MbConvParams, weights: MbConvWeights) -> PreparedMbConv:
        """The weights in this backend's layout, which may share their memory. The extents in `params` do not matter."""
