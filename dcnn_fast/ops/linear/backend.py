"""The contract of the fully-connected layer's backends."""

from __future__ import annotations

from abc import abstractmethod
from typing import Protocol

from torch import Tensor

from dcnn_fast.ops.backend import Backend
from dcnn_fast.ops.linear.params import LinearParams


class LinearBackend(Backend[LinearParams], Protocol):
    """A backend of the layer."""

    @abstractmethod
    def forward(self, params: LinearParams, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """x [rows, inputs], weight [outputs, inputs], bias [outputs] -> [rows, outputs] in x's dtype."""
