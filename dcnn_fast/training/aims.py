"""The label layer's target for each training example, and its loss: by label, by rating or by votes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from dcnn_fast.data import DataSet, Example
from dcnn_fast.training.settings import Settings

STEEPNESS = 2.0  # a rating one deviation above the threshold is high with probability 0.88
_SHORTEST = 1e-6  # a smaller deviation of ratings counts as zero
Numbers = Sequence[int] | Tensor  # indices of examples in the training set; a tensor lies on the logits' device
_there: Any = WeakTensorKeyDictionary()  # copies of tensors on devices, by device
_GUESSES = 2001  # odds of "high" that are tried as the best constant


class Aim(Protocol):
    """The targets of the training examples, in their order."""

    def summed(self, logits: Tensor, labels: Tensor, numbers: Numbers) -> Tensor:
        """The summed loss of the examples with these numbers; their logits are [n, labels], their labels [n] int64."""

    def guessing(self) -> float:
        """The mean loss of the best constant answer."""


@dataclass(frozen=True)
class ByLabel:
    """The negative log-likelihood of each example's label (paper eq. 1); no label, -1, costs nothing.

    weights: one for each label, with mean 1 over the examples; None: all count alike.
    """

    labels: tuple[int, ...] = ()
    weights: tuple[float, ...] | None = None

    def summed(self, logits: Tensor, labels: Tensor, numbers: Numbers) -> Tensor:
        """See `Aim`."""
        weights = _weights_on(self.weights, logits.dtype, logits.device)
        return F.cross_entropy(logits, labels, weights, ignore_index=-1, reduction="sum")

    def guessing(self) -> float:
        """The weighted entropy of the labels' shares."""
        counts = Counter(label for label in self.labels if label >= 0)
        heavy = {label: count * (1.0 if self.weights is None else self.weights[label]) for label, count in counts.items()}
        whole = sum(heavy.values())
        if not whole:
            return 0.0
        return -sum(each * math.log(each / whole) for each in heavy.values() if each) / counts.total()


@dataclass(frozen=True)
class BySoftLabel:
    """The cross-entropy with a probability of "high" that is a smooth step of the rating.

    high: [n] probability of each example. label: the number of "high", 0 or 1.
    """

    high: Tensor
    weights: tuple[float, ...] | None = None
    label: int = 1

    def summed(self, logits: Tensor, labels: Tensor, numbers: Numbers) -> Tensor:
        """See `Aim`."""
        high = _rows(self.high, numbers, logits)
        weights = _weights_on(self.weights, logits.dtype, logits.device)
        return F.cross_entropy(logits, self._both(high), weights, reduction="sum")

    def guessing(self) -> float:
        """The weighted entropy of the mean probability."""
        share = self._both(self.high.double().mean(dim=0, keepdim=True))[0].numpy()
        heavy = share * (np.ones(2) if self.weights is None else np.array(self.weights))
        return -sum(float(each) * math.log(each / heavy.sum()) for each in heavy if each)

    def _both(self, high: Tensor) -> Tensor:
        """Probabilities of "high", [n], as those of both labels, [n, 2]."""
        return torch.stack([1 - high, high] if self.label == 1 else [high, 1 - high], dim=1)


@dataclass(frozen=True)
class ByRating:
    """The squared error, in deviations of the ratings, of the log-odds of "high".

    odds: [n] target of each example. label: the number of "high", 0 or 1.
    """

    odds: Tensor
    label: int = 1

    def summed(self, logits: Tensor, labels: Tensor, numbers: Numbers) -> Tensor:
        """See `Aim`."""
        return ((_odds(logits, self.label) - _rows(self.odds, numbers, logits)) / STEEPNESS).square().sum()

    def guessing(self) -> float:
        """The variance of the target odds."""
        return float((self.odds.double() / STEEPNESS).var(correction=0))


@dataclass(frozen=True)
class ByVotes:
    """The squared earth mover's distance (Hou et al. 2016) between the predicted and the given votes.

    The log-odds of a vote above k are those of "high" less a cut point of k's (proportional odds, McCullagh 1980), so that two
    labels determine all ten ratings. below: [n, 9] the share of votes of at most 1 to 9. cuts: [9], 0 at the threshold. label:
    the number of "high", 0 or 1.
    """

    below: Tensor
    cuts: Tensor
    label: int = 1

    def summed(self, logits: Tensor, labels: Tensor, numbers: Numbers) -> Tensor:
        """See `Aim`."""
        return self._distances(_odds(logits, self.label), _rows(self.below, numbers, logits)).sum()

    def guessing(self) -> float:
        """The least mean distance of one constant distribution, found among the odds from -10 to 10."""
        mean, square = self.below.double().mean(dim=0), self.below.double().square().mean(dim=0)
        foretold = torch.sigmoid(self.cuts.double() - torch.linspace(-10, 10, _GUESSES, dtype=torch.float64)[:, None])
        return float((foretold.square() - 2 * foretold * mean + square).mean(dim=1).min())

    def _distances(self, odds: Tensor, below: Tensor) -> Tensor:
        foretold = torch.sigmoid(_moved(self.cuts, odds.device).to(odds) - odds[:, None])
        return (foretold - below).square().mean(dim=1)


def aim_of(data: DataSet, examples: Sequence[Example], settings: Settings) -> Aim:
    """The aim of these examples of a set.

    Raises ValueError where the set's labels do not come from ratings by a threshold, an example lacks the rating or votes for
    its target, or the class weights are not one for each label.
    """
    weights = _weights(data, examples, settings.class_weights)
    if settings.targets == "labels":
        return ByLabel(tuple(example.label for example in examples), weights)
    threshold = _threshold(data, examples, settings.targets)
    if settings.targets == "emd":
        return _by_votes(examples, threshold, data.high)
    odds = _odds_of(examples, threshold)
    return BySoftLabel(odds.sigmoid(), weights, data.high) if settings.targets == "soft" else ByRating(odds, data.high)


def _threshold(data: DataSet, examples: Sequence[Example], targets: str) -> float:
    """The rating above which photographs are high."""
    if data.threshold is None or len(data.labels) != 2:
        raise ValueError(f"targets must be labels where labels are not made of ratings by one threshold, got {targets}")
    unrated = [example.key for example in examples if not math.isfinite(example.rating)]
    if unrated:
        raise ValueError(f"targets must be labels where photographs have no rating, got {targets}; {unrated[0]} has none")
    return data.threshold


def _odds_of(examples: Sequence[Example], threshold: float) -> Tensor:
    """[n] float32: the log-odds of "high" for each rating, 2 for each deviation above the threshold."""
    ratings = np.array([example.rating for example in examples])
    spread = float(ratings.std())
    if spread < _SHORTEST:
        raise ValueError(f"targets by rating must be of ratings that differ, got {ratings[0]:g} for all")
    return torch.from_numpy((STEEPNESS * (ratings - threshold) / spread).astype(np.float32))


def _by_votes(examples: Sequence[Example], threshold: float, high: int) -> ByVotes:
    without = [example.key for example in examples if not example.votes]
    if without:
        raise ValueError(f"targets must not be emd without a histogram of votes for each photograph, {without[0]} has none")
    votes = np.array([example.votes for example in examples], float)
    below = np.cumsum(votes / votes.sum(axis=1, keepdims=True), axis=1)[:, :-1]
    share = below.mean(axis=0).clip(1e-4, 1 - 1e-4)
    cuts = np.log(share / (1 - share))
    between = np.arange(1, votes.shape[1]) + 0.5  # a vote of k stands for ratings of k - 0.5 to k + 0.5
    cuts = cuts - np.interp(threshold, between, cuts)
    return ByVotes(torch.from_numpy(below.astype(np.float32)), torch.from_numpy(cuts.astype(np.float32)), high)


def _weights(data: DataSet, examples: Sequence[Example], asked: tuple[float, ...] | str) -> tuple[float, ...] | None:
    """Weights of the labels, with mean 1 over the examples; None where all count alike."""
    if not asked:
        return None
    counts = np.bincount([example.label for example in examples if example.label >= 0], minlength=len(data.labels))
    if asked == "balanced":
        weights = np.where(counts > 0, 1 / np.maximum(counts, 1), 0.0)
    elif len(asked) != len(data.labels):
        raise ValueError(f"class_weights must be one for each of {len(data.labels)} labels, got {len(asked)}")
    else:
        weights = np.array(asked, float)
    whole = float(weights @ counts)
    if not whole:
        raise ValueError("class_weights must leave a label that counts, got 0 for all that there are")
    return tuple((weights * counts.sum() / whole).tolist())


def _odds(logits: Tensor, label: int) -> Tensor:
    """The log-odds of one of two labels, given its number: [n, 2] -> [n]."""
    return logits[:, label] - logits[:, 1 - label]


def _rows(values: Tensor, numbers: Numbers, like: Tensor) -> Tensor:
    if isinstance(numbers, Tensor):
        return _moved(values, numbers.device)[numbers].to(like)
    return values[list(numbers)].to(like)


def _moved(values: Tensor, device: torch.device) -> Tensor:
    """The values on a device, copied there once: a recorded step needs them at a fixed address."""
    if values.device == device:
        return values
    known: dict[torch.device, Tensor] = _there.setdefault(values, {})
    if device not in known:
        known[device] = values.to(device)
    return known[device]


@lru_cache(maxsize=16)
def _weights_on(weights: tuple[float, ...] | None, dtype: torch.dtype, device: torch.device) -> Tensor | None:
    return None if weights is None else torch.tensor(weights, dtype=dtype, device=device)
