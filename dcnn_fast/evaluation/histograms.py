"""Predicted shares of the ratings 1 to 10, and their distance from the given ratings (EMD)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from dcnn_fast.data import DataSet
from dcnn_fast.evaluation.predict import Predictions

RATINGS = np.arange(1, 11)
_NUMBERED = re.compile(r"(.*?)([0-9]+)")


def are_ratings(labels: Sequence[str]) -> bool:
    """Whether labels are the ratings 1 to 10 in order, with the same prefix, such as r1 to r10."""
    found = [_NUMBERED.fullmatch(label) for label in labels]
    if len(found) != len(RATINGS) or None in found:
        return False
    pairs = [(match[1], int(match[2])) for match in found if match is not None]
    return pairs == [(pairs[0][0], number) for number in RATINGS.tolist()]


def why_no_emd(predictions: Predictions) -> str | None:
    """Why there is no EMD of these predictions, in words; None where there is one."""
    if predictions.histograms is None:
        return f"predictions must be of the ten ratings 1 to 10 for an EMD, got those of {', '.join(predictions.labels[:3])}"
    if not any(example.votes for example in predictions.examples):
        return "the set must have votes, r1 to r10, for an EMD, got none"
    return None


def emd(predictions: Predictions, *, power: int = 1) -> float:
    """Compute the mean earth mover's distance between the predicted and the given shares of the ratings.

    The mean is over examples with votes. An example's distance is the mean over the ten ratings of the absolute difference of
    the cumulative shares to the power, and then the root.

    Args:
        predictions: Predictions of ratings, for examples some of which have votes.
        power: 1, as results are reported, or 2, as NIMA learns.

    Returns:
        From 0 to 1; 0 is best.

    Raises:
        ValueError: The predictions are not of ratings, or no example has votes.

    Source:
        Talebi and Milanfar, NIMA (2018), equation 1; docs/ava.md#nima.
    """
    why = why_no_emd(predictions)
    if why is not None:
        raise ValueError(why)
    return float(distances(predictions, power)[has_votes(predictions)].mean())


def has_votes(predictions: Predictions) -> np.ndarray:
    """Which examples have votes: [n] bool."""
    return np.array([bool(example.votes) for example in predictions.examples], bool)


def distances(predictions: Predictions, power: int = 1) -> np.ndarray:
    """The distance of each example: [n] float64, NaN where it has no votes. `emd` defines it and takes the mean."""
    assert predictions.histograms is not None
    given = np.array([example.votes or (np.nan,) * len(RATINGS) for example in predictions.examples], float)
    apart = np.cumsum(shares(given), axis=1) - np.cumsum(shares(predictions.histograms), axis=1)
    found: np.ndarray = (np.abs(apart) ** power).mean(axis=1) ** (1 / power)
    return found


def shares(votes: np.ndarray) -> np.ndarray:
    """[n, 10] votes as shares, which sum to 1."""
    found: np.ndarray = votes / votes.sum(axis=1, keepdims=True)
    return found


def of_ratings(scores: np.ndarray, threshold: float, high: int = 1, widest: float | None = None) -> np.ndarray:
    """[n, 2] probabilities for ratings [n]: linear in the rating, one half at the threshold.

    high: the index of the label for ratings above the threshold. widest: the distance from the threshold that changes P by one
    half, from `width_of`; None for ratings from 1 to 10, whose width follows from the threshold alone, so that predictions for
    other photographs or by other models are on the same scale.
    """
    widest = max(threshold - 1, 10 - threshold) if widest is None else widest
    above = 0.5 + (scores - threshold) / (2 * widest) if widest > 0 else np.full(len(scores), 0.5)
    return np.stack([1 - above, above] if high == 1 else [above, 1 - above], axis=1)


def width_of(scores: np.ndarray, data: DataSet) -> float | None:
    """The width of scores [n] for `of_ratings`: None where scores and ratings are all from 1 to 10, else the greatest distance
    of any score or rating from the threshold.
    """
    assert data.threshold is not None
    every = np.concatenate([scores, [example.rating for example in data.examples if np.isfinite(example.rating)]])
    if every.size and every.min() >= RATINGS[0] and every.max() <= RATINGS[-1]:
        return None
    return float(np.abs(every - data.threshold).max(initial=0.0))


def for_labels(predictions: Predictions, data: DataSet) -> Predictions:
    """Predictions of the ratings 1 to 10 as those of a set's two labels, by its threshold; others unchanged.

    Raises ValueError where the set's labels do not come from ratings.
    """
    if predictions.labels == data.labels or not are_ratings(predictions.labels):
        return predictions
    if data.threshold is None:
        raise ValueError(
            f"predictions of ratings need a set whose labels are made of ratings, got labels {', '.join(data.labels)}"
        )
    probs = of_ratings(predictions.probs @ RATINGS, data.threshold, data.high)
    spread = np.full(len(probs), np.nan)
    return replace(predictions, labels=data.labels, probs=probs, spread=spread, histograms=predictions.probs)
