"""Metrics of a two-label scorer against ratings; scikit-learn and scipy compute them (extra `train`)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Agreement:
    """How P(high) agrees with labels and ratings on `count` images.

    accuracy and balanced_accuracy: at P(high) > 0.5. majority: the accuracy of always naming the commoner label.
    auc: area under the ROC curve. srcc: Spearman's rank correlation with the ratings.
    """

    count: int
    auc: float
    accuracy: float
    balanced_accuracy: float
    majority: float
    srcc: float


def agreement(high: np.ndarray, ratings: np.ndarray, threshold: float) -> Agreement:
    """Agreement of P(high) [n] with ratings [n]; an image is high when its rating exceeds `threshold` (facts.md 3.4).

    Raises ValueError when the shapes differ, when a value is not finite, or when only one label occurs.
    """
    from scipy.stats import spearmanr  # noqa: PLC0415 - optional dependency
    from sklearn.metrics import accuracy_score, balanced_accuracy_score, roc_auc_score  # noqa: PLC0415

    high, ratings = np.asarray(high, float), np.asarray(ratings, float)
    if high.ndim != 1 or high.shape != ratings.shape:
        raise ValueError(f"high and ratings must be vectors of one length, got {list(high.shape)} and {list(ratings.shape)}")
    if not (np.isfinite(high).all() and np.isfinite(ratings).all()):
        raise ValueError("high and ratings must be finite")
    labels = ratings > threshold
    if labels.all() or not labels.any():
        raise ValueError(f"both labels must occur, got {int(labels.sum())} high of {len(labels)} at threshold {threshold}")
    return Agreement(
        count=len(labels),
        auc=float(roc_auc_score(labels, high)),
        accuracy=float(accuracy_score(labels, high > 0.5)),
        balanced_accuracy=float(balanced_accuracy_score(labels, high > 0.5)),
        majority=float(max(labels.mean(), 1 - labels.mean())),
        srcc=float(spearmanr(high, ratings).statistic),
    )
