"""Contents of pictures of predictions: the best and worst photographs (paper Fig. 7, 9), those where one model
is right and another is not (Fig. 8, 12, 13), and how ratings and predictions are distributed (Fig. 14)."""

from __future__ import annotations

import numpy as np

from dcnn_fast.data.tables import IAD_THRESHOLDS
from dcnn_fast.evaluation.predict import Predictions
from dcnn_fast.viz.distributions import Distribution
from dcnn_fast.viz.grid import Row


def best_and_worst(predictions: Predictions, count: int = 8) -> list[Row]:
    """The photographs with the highest probability of the last label, and those with the lowest.

    Args:
        predictions: A model's predictions.
        count: Photographs in a row; fewer where there are not so many.

    Returns:
        Two rows, one best first and one worst first. The caption is the probability and the true label.
    """
    order = _order(predictions)
    label = predictions.labels[-1]
    return [
        _row(f"highest P({label})", predictions, order[:count]),
        _row(f"lowest P({label})", predictions, order[::-1][:count]),
    ]


def best_by_category(predictions: Predictions, count: int = 8) -> list[Row]:
    """The photographs of each category with the highest probability of the last label.

    Args:
        predictions: A model's predictions.
        count: Photographs in a row; fewer where there are not so many.

    Returns:
        A row for each category, in the order of their names, best first; no row where the examples have no category. The
        caption is the probability and the true label.
    """
    categories = np.array([example.category for example in predictions.examples])
    order = _order(predictions)
    return [
        _row(name, predictions, [i for i in order if categories[i] == name][:count]) for name in sorted(set(categories) - {""})
    ]


def right_where_wrong(
    one: Predictions, other: Predictions, names: tuple[str, str] = ("one", "the other"), count: int = 8
) -> list[Row]:
    """The photographs that one model names rightly and another does not.

    Args:
        one: The predictions of the model that is right.
        other: Those of the other. Only photographs that both have count.
        names: The names of the two models, for the titles.
        count: Photographs in a row; fewer where there are not so many.

    Returns:
        A row for each label, with photographs of it, the surest first. The caption is the probability that each model gives to
        the true label.
    """
    theirs = {example.key: i for i, example in enumerate(other.examples)}
    pairs = [(i, theirs[example.key]) for i, example in enumerate(one.examples) if example.key in theirs]
    rows = []
    for label, name in enumerate(one.labels):
        chosen = [
            (i, j)
            for i, j in pairs
            if one.examples[i].label == label and one.right[i] and not other.right[j]
        ]  # fmt: skip
        chosen.sort(key=lambda pair: (-one.probs[pair[0], label], one.examples[pair[0]].key))
        photographs = [
            (one.examples[i].source, f"{one.probs[i, label]:.2f} / {other.probs[j, label]:.2f}") for i, j in chosen[:count]
        ]
        rows.append(Row(f"{name}: {names[0]} is right, {names[1]} is not ({len(chosen)})", photographs))
    return rows


def distributions(predictions: Predictions) -> list[Distribution]:
    """The distributions of the ratings, where there are any, and of the last label's probability, split by the true label.

    The ratings of IAD's two sources, whose scales differ, are apart, as in the paper's Fig. 14.

    Args:
        predictions: A model's predictions.

    Returns:
        A panel for each; those of ratings come first.
    """
    found = [("P(" + predictions.labels[-1] + ")", predictions.probs[:, -1])]
    if np.isfinite(predictions.ratings).any():
        taken = np.array([example.category for example in predictions.examples])
        sources = sorted(set(taken)) if set(taken) <= set(IAD_THRESHOLDS) else []
        of_sources = [(f"mean rating, {source}", np.where(taken == source, predictions.ratings, np.nan)) for source in sources]
        found = [*(of_sources or [("mean rating", predictions.ratings)]), *found]
    labels = np.array([example.label for example in predictions.examples])
    return [
        Distribution(
            title,
            {
                name: values[np.isfinite(values) & (labels == label)]
                for label, name in enumerate(predictions.labels)
            },
        )
        for title, values in found
    ]  # fmt: skip


def _order(predictions: Predictions) -> list[int]:
    """Rows by the last label's probability, highest first; of equals by their key."""
    return sorted(range(len(predictions.examples)), key=lambda i: (-predictions.probs[i, -1], predictions.examples[i].key))


def _row(title: str, predictions: Predictions, rows: list[int]) -> Row:
    examples = predictions.examples
    return Row(title, [(examples[i].source, f"{predictions.probs[i, -1]:.3f} {_true(predictions, i)}") for i in rows])


def _true(predictions: Predictions, row: int) -> str:
    return "+".join(predictions.labels[label] for label in predictions.truth[row])
