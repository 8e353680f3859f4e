"""The contract of the update's backends."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from dcnn_fast.ops.backend import Backend
from dcnn_fast.ops.update.params import UpdateParams


@dataclass(frozen=True)
class Step:
    """One update: each parameter, its gradient and its increment, its rate, momentum and decay. Every rate is positive."""

    parameters: Sequence[Tensor]
    gradients: Sequence[Tensor]
    increments: Sequence[Tensor]
    rates: Sequence[float]
    momenta: Sequence[float]
    decays: Sequence[float]


class UpdateBackend(Backend[UpdateParams], Protocol):
    """A backend of the update."""

    @abstractmethod
    def update(self, params: UpdateParams, step: Step) -> None:
        """Change parameters and increments in place."""
