"""The result of scoring one image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from dcnn_fast import former
from dcnn_fast.photographs.look import Look
from dcnn_fast.scoring.samples import Samples

FIRST_CSV_FIELDS = ("path", "mean", "std", "label", "views", "seed", "error", "percentile")  # the first file format's
CSV_FIELDS = (
    *FIRST_CSV_FIELDS, "collection_percentile", "width", "height", "taken", "camera", "group", "best_of_group", "faults",
    "notes",
)  # fmt: skip
NO_FAULTS, BETWEEN_NOTES = "none", "; "


@former.taking(views="samples_count")
@dataclass(frozen=True)
class Score:
    """The result of fifty samples of one image (docs/design.md#scores).

    Attributes:
        probs: The probability of each label, averaged over the samples.
        mean: For two labels, the probability of "high" (or of the second label if none has that name), from 0 to 1; otherwise
            None.
        std: For two labels, its population standard deviation over the samples; otherwise None.
        label: The most probable label.
        samples_count: The number of samples; files and answers call it views.
        seed: The seed from which their windows were drawn.
        plan: The way they were computed: "sharing"; separately, "brute-force"; or separately by launches that are the same for
            all photographs, "fixed" (on a GPU); the columns' plans joined by +.
        path: The path as given, None for arrays.
        error: None, or why the image could not be scored; then all results are None or empty.
        notes: Remarks for the user about the reading or the views, e.g. that a small image was enlarged.
        percentile: The percentage of the model's reference collection that scores lower, if the model has one.
        collection_percentile: The percentage of the collection that scores lower; equal scores (to six decimals, including its
            own) count half. Known only for a whole collection (`scoring.completed`), otherwise None.
        width: The photograph's width in pixels, upright, before any reduction.
        height: Its height, likewise.
        taken: The EXIF time of exposure, ISO 8601, with the UTC offset if the file has one; None where the file does not say.
        camera: EXIF maker and model; None where the file does not say.
        group: The path of the first photograph in its group of near-duplicates; None for a photograph without near-duplicates.
            Known only for a whole collection, otherwise None.
        best_of_group: Whether it is the photograph of its group to keep; None as `group` is.
        faults: The names of technical faults (`photographs.faults`), None unless the scorer has that option. They do not
            influence mean.
        measures: The numbers behind the faults, None unless the scorer has that option.
        look: The input of grouping, None unless the scorer has the option `groups`.
        samples: The samples averaged in mean, None unless the scorer has the option `per_sample`.

    Source:
        docs/design.md#scores
    """

    probs: dict[str, float] = field(default_factory=dict)
    mean: float | None = None
    std: float | None = None
    label: str | None = None
    samples_count: int = 0
    seed: int = 0
    plan: str | None = None
    path: str | None = None
    error: str | None = None
    notes: tuple[str, ...] = ()
    percentile: float | None = None
    collection_percentile: float | None = None
    width: int | None = None
    height: int | None = None
    taken: str | None = None
    camera: str | None = None
    group: str | None = None
    best_of_group: bool | None = None
    faults: tuple[str, ...] | None = None
    measures: dict[str, float] | None = None
    look: Look | None = None
    samples: Samples | None = None

    views = former.attribute("Score", "views", "samples_count")

    def csv_row(self) -> dict[str, str]:
        """One CSV row of the score.

        Returns:
            `CSV_FIELDS` as text, numbers with six decimals, empty where None. best_of_group is yes or no; faults are names
            separated by spaces, "none" where none was found.
        """
        own = {
            "views": self.samples_count,
            "best_of_group": None if self.best_of_group is None else ("yes" if self.best_of_group else "no"),
            "faults": None if self.faults is None else " ".join(self.faults) or NO_FAULTS,
            "notes": BETWEEN_NOTES.join(self.notes),
        }
        return {name: _text(own[name] if name in own else vars(self)[name]) for name in CSV_FIELDS}

    def as_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON.

        Returns:
            A dict by the fields' names, samples_count as "views".
        """
        # dataclasses.asdict recurses into every field and takes half of a file's reading time
        found = {("views" if name == "samples_count" else name): value for name, value in vars(self).items()}
        for name in ("probs", "measures"):
            found[name] = None if found[name] is None else dict(found[name])
        for name in ("look", "samples"):
            found[name] = None if found[name] is None else asdict(found[name])
        return found


def _text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6f}" if isinstance(value, float) else str(value)


def summarise(probabilities: np.ndarray, labels: Sequence[str], **fields: Any) -> Score:
    """The score of one image from its samples' probabilities: [samples, labels] float64."""
    average = probabilities.mean(axis=0)
    high = probabilities[:, labels.index("high") if "high" in labels else 1] if len(labels) == 2 else None
    return Score(
        probs=dict(zip(labels, average.tolist(), strict=True)),
        mean=None if high is None else float(high.mean()),
        std=None if high is None else float(high.std()),
        label=labels[int(average.argmax())],
        samples_count=len(probabilities),
        **fields,
    )
