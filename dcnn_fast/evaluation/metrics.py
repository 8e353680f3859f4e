"""Measures of agreement between predictions and labels or ratings, by scikit-learn and scipy where possible (extra `train`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from dcnn_fast import former
from dcnn_fast.evaluation.histograms import distances, emd, has_votes, why_no_emd
from dcnn_fast.evaluation.predict import Predictions

AveragePrecision = Literal["plain", "interpolated", "voc07"]
AVERAGE_PRECISIONS: tuple[AveragePrecision, ...] = ("plain", "interpolated", "voc07")


@dataclass(frozen=True)
class Measures:
    """The results of `measure`; None where a measure does not apply.

    Attributes:
        count: Examples with a label, over which accuracy and the other measures are taken.
        unlabelled: Examples without one, which count only in the average precisions.
        accuracy: The share of examples whose most probable label is right.
        balanced_accuracy: The mean, over the labels that occur, of the share of their examples that are named rightly.
        majority: The accuracy of always naming the most frequent label.
        auc: The area under the ROC curve for the last label's probability, with two labels.
        srcc: Spearman's correlation of that probability with the ratings, over the examples that have one.
        plcc: Pearson's correlation of the same.
        krcc: Kendall's correlation of the same.
        emd: `histograms.emd` with the power 1, where predictions are of the ratings 1 to 10 and examples have votes.
        emd_2: The same with the power 2.
        average_precision: The average precision by label.
        macro_map: The mean of the average precisions.
        micro_map: The average precision of all (example, label) pairs together.
        confusion: [labels, labels] counts, a row for each true label (of several, the named one or else the first).
        intervals: 95 % intervals by the measure's name, where requested.
    """

    count: int
    unlabelled: int
    accuracy: float
    balanced_accuracy: float
    majority: float
    auc: float | None
    srcc: float | None
    plcc: float | None
    krcc: float | None
    emd: float | None
    emd_2: float | None
    average_precision: dict[str, float]
    macro_map: float
    micro_map: float
    confusion: list[list[int]]
    intervals: dict[str, tuple[float, float]]

    def to_dict(self) -> dict[str, Any]:
        """Make a JSON-ready dict.

        Returns:
            Each measure by its field's name.
        """
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@former.renamed(draws="resamples")
@np.errstate(all="ignore")  # independent of the process's numpy settings; divisions by zero are handled here
def measure(predictions: Predictions, *, ap: AveragePrecision = "plain", resamples: int = 0, seed: int = 0) -> Measures:
    """Compute every measure of predictions.

    Args:
        predictions: A model's predictions, of which at least one example has a label.
        ap: The kind of average precision: "plain", the sum of precisions at each positive (scikit-learn's); "interpolated",
            with the best precision at or beyond each recall; "voc07", the interpolated one at eleven recalls
            (docs/ava.md#average-precision).
        resamples: The number of resamples of the bootstrap for intervals, 0 for no intervals; groups are resampled where the
            examples have them, else examples.
        seed: The seed of the resampling.

    Returns:
        The measures.

    Raises:
        ValueError: `ap` is an unknown name, or no example has a label.

    Source:
        docs/ava.md#average-precision
    """
    from sklearn.metrics import confusion_matrix, recall_score  # noqa: PLC0415 - optional dependency

    if ap not in AVERAGE_PRECISIONS:
        raise ValueError(f"ap must be one of {', '.join(AVERAGE_PRECISIONS)}; got {ap!r}")
    labelled = np.array([bool(truth) for truth in predictions.truth])
    if not labelled.any():
        raise ValueError("predictions must have examples with a label, got none")
    known = predictions.of(np.flatnonzero(labelled))
    truth, named = _true_labels(known), known.named
    precisions = average_precisions(predictions, ap)
    truths = _indicator(predictions)
    return Measures(
        count=len(truth),
        unlabelled=int((~labelled).sum()),
        accuracy=float(known.right.mean()),
        balanced_accuracy=float(recall_score(truth, named, labels=np.unique(truth), average="macro")),
        majority=float(_indicator(known).sum(axis=0).max() / len(truth)),
        auc=_auc(truth, known.probs),
        **_correlations(known),
        **_distances(predictions),
        average_precision=precisions,
        macro_map=float(np.mean(list(precisions.values()))),
        micro_map=_average_precision(truths.ravel(), predictions.probs.ravel(), ap),
        confusion=confusion_matrix(truth, named, labels=range(len(known.labels))).tolist(),
        intervals=intervals(known, resamples, seed) if resamples else {},
    )


def average_precisions(predictions: Predictions, ap: AveragePrecision = "plain") -> dict[str, float]:
    """Compute the average precision of each label that some example has.

    Args:
        predictions: A model's predictions.
        ap: The kind of average precision, as in `measure`.

    Returns:
        The average precision by label, from 0 to 1.
    """
    truths = _indicator(predictions)
    return {
        label: _average_precision(truths[:, index], predictions.probs[:, index], ap)
        for index, label in enumerate(predictions.labels)
        if truths[:, index].any()
    }


@former.renamed(draws="resamples")
def intervals(predictions: Predictions, resamples: int, seed: int = 0) -> dict[str, tuple[float, float]]:
    """Compute 95 % percentile intervals of accuracy, balanced_accuracy and, where defined, auc, srcc and emd.

    Args:
        predictions: Predictions of examples that all have a label.
        resamples: The number of resamples, drawn with replacement: of groups, or of examples where they have none.
        seed: The seed of the resampling.

    Returns:
        (lower end, upper end) by the measure's name.
    """
    truth, named, right = _true_labels(predictions), predictions.named, predictions.right
    of: dict[str, Callable[[np.ndarray], float | None]] = {
        "accuracy": lambda rows: float(right[rows].mean()),
        "balanced_accuracy": lambda rows: _mean_recall(truth[rows], named[rows]),
        "auc": lambda rows: _auc(truth[rows], predictions.probs[rows]),
        "srcc": lambda rows: _rank_correlation(predictions.ratings[rows], predictions.probs[rows]),
    }
    if why_no_emd(predictions) is None:
        apart = np.where(has_votes(predictions), distances(predictions), np.nan)
        of["emd"] = lambda rows: float(np.nanmean(apart[rows])) if np.isfinite(apart[rows]).any() else None
    found = {}
    resampled = list(_resampled(predictions, resamples, seed))
    for name, value in of.items():
        values = [each for each in map(value, resampled) if each is not None]
        if values:
            low, high = np.quantile(values, [0.025, 0.975])
            found[name] = float(low), float(high)
    return found


def _resampled(predictions: Predictions, resamples: int, seed: int) -> list[np.ndarray]:
    """Rows of groups, or of examples where they have none, drawn with replacement."""
    rng = np.random.default_rng(seed)
    names = [example.group or f"\0{i}" for i, example in enumerate(predictions.examples)]
    unique, group_of = np.unique(names, return_inverse=True)
    rows = [np.flatnonzero(group_of == group) for group in range(len(unique))]
    return [np.concatenate([rows[group] for group in rng.integers(len(unique), size=len(unique))]) for _ in range(resamples)]


def _true_labels(predictions: Predictions) -> np.ndarray:
    """[n]: each example's right label; of several, the named one or else the first."""
    pairs = zip(predictions.named.tolist(), predictions.truth, strict=True)
    return np.array([name if name in truth else truth[0] for name, truth in pairs])


def _indicator(predictions: Predictions) -> np.ndarray:
    """[n, labels] bool: which labels are right."""
    found = np.zeros(predictions.probs.shape, bool)
    for row, truth in zip(found, predictions.truth, strict=True):
        row[list(truth)] = True
    return found


def _mean_recall(truth: np.ndarray, named: np.ndarray) -> float:
    """Balanced accuracy over the labels that occur."""
    return float(np.mean([(named[truth == label] == label).mean() for label in np.unique(truth)]))


def _auc(truth: np.ndarray, probs: np.ndarray) -> float | None:
    from sklearn.metrics import roc_auc_score  # noqa: PLC0415

    if probs.shape[1] != 2 or len(np.unique(truth)) != 2:
        return None
    return float(roc_auc_score(truth, probs[:, 1]))


def _rank_correlation(ratings: np.ndarray, probs: np.ndarray) -> float | None:
    """Spearman's correlation for two labels and the rated rows: Pearson's of the ranks, without scipy's significance test."""
    from scipy.stats import rankdata  # noqa: PLC0415

    rated = np.isfinite(ratings)
    if probs.shape[1] != 2 or not rated.any() or np.ptp(ratings[rated]) == 0 or np.ptp(probs[rated, 1]) == 0:
        return None
    return float(np.corrcoef(rankdata(ratings[rated]), rankdata(probs[rated, 1]))[0, 1])


def _distances(predictions: Predictions) -> dict[str, float | None]:
    there = why_no_emd(predictions) is None
    return {name: emd(predictions, power=power) if there else None for name, power in (("emd", 1), ("emd_2", 2))}


def _correlations(predictions: Predictions) -> dict[str, float | None]:
    from scipy.stats import kendalltau, pearsonr, spearmanr  # noqa: PLC0415

    rated = np.isfinite(predictions.ratings)
    ratings, scores = predictions.ratings[rated], predictions.probs[rated, -1]
    usable = len(predictions.labels) == 2 and rated.any() and np.ptp(ratings) > 0 < np.ptp(scores)
    of: dict[str, Any] = {"srcc": spearmanr, "plcc": pearsonr, "krcc": kendalltau}
    return {name: float(test(scores, ratings).statistic) if usable else None for name, test in of.items()}


def _average_precision(truth: np.ndarray, scores: np.ndarray, ap: AveragePrecision) -> float:
    from sklearn.metrics import average_precision_score, precision_recall_curve  # noqa: PLC0415

    if ap == "plain":
        return float(average_precision_score(truth, scores))
    precision, recall, _ = precision_recall_curve(truth, scores)  # recall falls from 1 to 0
    best = np.maximum.accumulate(precision[:-1])  # without the last point, precision 1 at recall 0, which scikit-learn adds
    if ap == "interpolated":
        return float(-(np.diff(recall) * best).sum())
    levels = np.arange(11) / 10  # the doubles of exact tenths; linspace's differ
    return float(np.mean([best[recall[:-1] >= level].max() for level in levels]))
