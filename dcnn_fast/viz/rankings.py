"""Which photographs to show of predictions: best and worst (paper Fig. 7, 9), and where one model is right and another is not
(Fig. 8, 12, 13); and how ratings and predictions are distributed (Fig. 14)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dcnn_fast.data.tables import IAD_THRESHOLDS
from dcnn_fast.evaluation.predict import Predictions
from dcnn_fast.printable import printable
from dcnn_fast.viz.files import save_figure
from dcnn_fast.viz.grid import Row


def best_and_worst(predictions: Predictions, count: int = 8) -> list[Row]:
    """The photographs with the highest probability of the last label, best first, and those with the lowest, worst first."""
    order = _order(predictions)
    label = predictions.labels[-1]
    return [
        _row(f"highest P({label})", predictions, order[:count]),
        _row(f"lowest P({label})", predictions, order[::-1][:count]),
    ]


def best_by_category(predictions: Predictions, count: int = 8) -> list[Row]:
    """The highest of each category, the categories in the order of their names; none where the examples have none."""
    categories = np.array([example.category for example in predictions.examples])
    order = _order(predictions)
    return [
        _row(name, predictions, [i for i in order if categories[i] == name][:count]) for name in sorted(set(categories) - {""})
    ]


def right_where_wrong(
    one: Predictions, other: Predictions, names: tuple[str, str] = ("one", "the other"), count: int = 8
) -> list[Row]:
    """A row for each label: photographs of it that `one` names rightly and `other` does not, the surest first.

    Only those that both have count. The caption is the probability that each gives to the true label.
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


def save_distributions(predictions: Predictions, path: Path) -> None:
    """Histograms of the ratings and of the last label's probabilities, split by the true label, as a PNG or SVG file.

    The ratings of IAD's two sources, whose scales differ, have a histogram each, as in the paper's Fig. 14.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 - optional dependency

    rated = np.isfinite(predictions.ratings)
    panels = [("P(" + predictions.labels[-1] + ")", predictions.probs[:, -1])]
    if rated.any():
        taken = np.array([example.category for example in predictions.examples])
        sources = sorted(set(taken)) if set(taken) <= set(IAD_THRESHOLDS) else []
        of_sources = [(f"mean rating, {source}", np.where(taken == source, predictions.ratings, np.nan)) for source in sources]
        panels = [*(of_sources or [("mean rating", predictions.ratings)]), *panels]
    figure = Figure(figsize=(4.5 * len(panels), 3.2), layout="constrained")
    labels = np.array([example.label for example in predictions.examples])
    for axes, (title, values) in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels, strict=True):
        known = np.isfinite(values)
        parts = [values[known & (labels == label)] for label in range(len(predictions.labels))]
        axes.hist(parts, bins=30, stacked=True, label=[printable(label) for label in predictions.labels])
        axes.set_xlabel(printable(title), parse_math=False)
        axes.set_ylabel("photographs")
    legend = axes.legend(fontsize="small", ncols=1 + len(predictions.labels) // 8)
    for text in legend.get_texts():
        text.set_parse_math(False)  # a label's dollars are dollars
    save_figure(figure, path)


def _order(predictions: Predictions) -> list[int]:
    """Rows by the last label's probability, highest first; of equals by their key."""
    return sorted(range(len(predictions.examples)), key=lambda i: (-predictions.probs[i, -1], predictions.examples[i].key))


def _row(title: str, predictions: Predictions, rows: list[int]) -> Row:
    examples = predictions.examples
    return Row(title, [(examples[i].source, f"{predictions.probs[i, -1]:.3f} {_true(predictions, i)}") for i in rows])


def _true(predictions: Predictions, row: int) -> str:
    return "+".join(predictions.labels[label] for label in predictions.truth[row])
