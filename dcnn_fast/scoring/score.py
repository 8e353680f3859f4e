"""The result of scoring one image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

CSV_FIELDS = ("path", "mean", "std", "label", "views", "seed", "error", "percentile")


@dataclass(frozen=True)
class Score:
    """What fifty views say about one image (design.md section 3).

    probs: label -> probability, averaged over the views. For two labels, mean is the probability of "high" (of the second
    where none has that name) and std its standard deviation over the views (of the population, not a sample); otherwise both
    are None.
    percentile: how many of a hundred photographs of the model's reference collection score lower, for a model that has one.
    label: the most probable one. views, seed, plan: how the score was made. path: as it was given, None for arrays.
    error: None, or why the image could not be scored; then everything measured is None or empty.
    notes: what a user should know about the reading or the views, e.g. that a small image was enlarged.
    """

    probs: dict[str, float] = field(default_factory=dict)
    mean: float | None = None
    std: float | None = None
    label: str | None = None
    views: int = 0
    seed: int = 0
    plan: str | None = None
    path: str | None = None
    error: str | None = None
    notes: tuple[str, ...] = ()
    percentile: float | None = None

    def csv_row(self) -> dict[str, str]:
        """One CSV row: `CSV_FIELDS` as text, probabilities with six decimals, empty where there is none."""
        values = asdict(self)
        return {name: _text(values[name]) for name in CSV_FIELDS}

    def as_dict(self) -> dict[str, Any]:
        """A JSON-ready dict of all fields."""
        return asdict(self)


def _text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6f}" if isinstance(value, float) else str(value)


def summarise(probabilities: np.ndarray, labels: Sequence[str], **fields: Any) -> Score:
    """The score of one image from its views' probabilities: [views, labels] float64."""
    average = probabilities.mean(axis=0)
    high = probabilities[:, labels.index("high") if "high" in labels else 1] if len(labels) == 2 else None
    return Score(
        probs=dict(zip(labels, average.tolist(), strict=True)),
        mean=None if high is None else float(high.mean()),
        std=None if high is None else float(high.std()),
        label=labels[int(average.argmax())],
        views=len(probabilities),
        **fields,
    )
