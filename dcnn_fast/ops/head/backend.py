"""The contract of the head's backends."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from torch import Tensor

from dcnn_fast.ops.backend import Backend
from dcnn_fast.ops.head.params import HeadParams


@dataclass(frozen=True)
class Operands:
    """The operands of a head, as `ops.head` takes them: the columns' rows and layers, the label layer, and each image's number
    of samples. window_of: for each column the row of each sample, None where row i is sample i's.
    """

    features: Sequence[Tensor]
    weights: Sequence[Tensor]
    biases: Sequence[Tensor]
    label_weight: Tensor
    label_bias: Tensor
    counts: Sequence[int]
    window_of: Sequence[Tensor | None]


class Results(NamedTuple):
    """probs: [samples, labels]. mean, std: [images, labels]."""

    probs: Tensor
    mean: Tensor
    std: Tensor


class HeadBackend(Backend[HeadParams], Protocol):
    """A backend of the head."""

    @abstractmethod
    def forward(self, params: HeadParams, operands: Operands) -> Results:
        """Probabilities, and their means and standard deviations, in params.results."""
