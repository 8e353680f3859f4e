"""Heat maps of where in a photograph its score comes from: from the windows' scores, or by covering parts.

A model allows one of two kinds. Where windows differ, samples give the mean score of the windows over a place: the network's
judgement of its surroundings, not of the place. Where all windows are the whole view, occlusion says by how much the score
falls when a place is covered with the photograph's mean color (Zeiler and Fergus, "Visualizing and Understanding Convolutional
Networks", 2014): the effect of its absence, and also of a flat patch in a picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np

from dcnn_fast.data import reading
from dcnn_fast.data.reduction import reduced, reduced_size
from dcnn_fast.networks import View
from dcnn_fast.ops.views import ViewParams
from dcnn_fast.scoring.samples import ColumnWindows, Samples
from dcnn_fast.scoring.score import Score
from dcnn_fast.scoring.scorer import Scorer

LEAST_CELLS, MOST_CELLS = 2, 64  # along the long side
Kind = Literal["samples", "occlusion"]
Values = np.ndarray[Any, np.dtype[np.float64]]

ABOUT: dict[Kind, str] = {
    "occlusion": "red cells: the score falls when they are covered with the photograph's mean color; blue cells: it rises. "
    "That tells what the model misses, and also what a flat patch does to a picture; it names no cause.",
    "samples": "red cells: windows over them scored above the photograph's mean; blue cells: below. A window is much larger "
    "than a cell, so a cell tells of its surroundings; where no window looked it stays grey.",
}
"""The meaning and limits of each kind of heat map."""


@dataclass(frozen=True)
class HeatMap:
    """values: [rows, columns] float64 over the upright photograph, cells of equal size. Of kind samples: the mean P(high) of
    the windows over a cell's centre, NaN where there was none; of kind occlusion: the score minus the score with the cell
    covered. score: the photograph's. pixels: the photograph [H, W, 3] uint8, upright and reduced to the model's long side.
    """

    kind: Kind
    values: Values
    score: Score
    pixels: np.ndarray

    @property
    def middle(self) -> float:
        """The value of a cell that neither raises nor lowers the score."""
        return 0.0 if self.kind == "occlusion" else self.score.mean or 0.0

    def rows(self) -> list[list[float | None]]:
        """JSON-ready: rows of values from the top, None where there was no window."""
        return [[None if value != value else value for value in row] for row in self.values.tolist()]  # noqa: PLR0124 - NaN


def heat_map(scorer: Scorer, image: Any, *, cells: int = 12) -> HeatMap:
    """The heat map that the scorer's model allows: occlusion where all its windows show the same, else samples.

    scorer: made with `per_sample=True`. image: as for `Scorer.score`. cells: along the photograph's long side, 2 to 64, as
    square as the sides allow. Raises ReadError; ValueError for cells out of range, a scorer without samples, a model whose
    score is not P(high), and one without a finite score for the photograph.
    """
    if isinstance(cells, bool) or not isinstance(cells, int) or not LEAST_CELLS <= cells <= MOST_CELLS:
        raise ValueError(f"cells must be an integer from {LEAST_CELLS} to {MOST_CELLS}, got {cells!r}")
    if len(scorer.model.spec.labels) != 2:
        raise ValueError("the model must tell two labels apart: the score of others is no P(high)")
    if not scorer.extras.per_sample:
        raise ValueError("the scorer must be made with per_sample=True")
    options = scorer.read_options
    photo = reading.read(image, max_pixels=options.max_pixels, background=options.background, scaled_to=options.scaled_to)
    pixels = reduced(photo.pixels, scorer.long_side)
    height, width, _ = pixels.shape
    grid = reduced_size(height, width, cells)
    if not scorer.model.spec.windows_differ:
        return _occlusion(scorer, photo.pixels, pixels, grid)
    score, _ = _scored(scorer, photo.pixels)
    assert score.samples is not None
    return HeatMap("samples", over_windows(score.samples, (height, width), grid), score, pixels)


def over_windows(samples: Samples, size: tuple[int, int], grid: tuple[int, int]) -> Values:
    """The mean P(high) of the windows over each cell's centre: [rows, columns] float64, NaN where there is none.

    Each column's window of a sample counts, as the sample's probability depends on all. size: (height, width) of the photograph
    from which the views were made. grid: (rows, columns).
    """
    high = samples.labels.index("high") if "high" in samples.labels else 1
    total, count = np.zeros(grid), np.zeros(grid)
    for column in samples.columns:
        for (top, left), probs in zip(_places(column, size), samples.probs, strict=True):
            rows, columns = (_centres_within(span, cells) for span, cells in zip((top, left), grid, strict=True))
            total[rows, columns] += probs[high]
            count[rows, columns] += 1
    with np.errstate(invalid="ignore"):
        found: Values = np.where(count > 0, total / count, np.nan)
    return found


def _places(column: ColumnWindows, size: tuple[int, int]) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """Each window's rows and columns in the photograph, as shares of its height and width."""
    side = column.plane[0] if column.view != "local" else min(column.plane)
    view = ViewParams(*size, cast(View, column.view), side)  # which refuses an invalid view
    resized = column.plane if column.view == "local" else view.resized
    origin = (0, 0) if column.view == "local" else view.origin
    places = []
    for corner in column.corners:
        spans = [
            ((first + start) / side, (first + start + extent) / side)
            for first, start, extent, side in zip(corner, origin, column.window, resized, strict=True)
        ]
        places.append((spans[0], spans[1]))
    return places


def _centres_within(span: tuple[float, float], cells: int) -> slice:
    centres = (np.arange(cells) + 0.5) / cells
    first, last = np.searchsorted(centres, span[0], side="left"), np.searchsorted(centres, span[1], side="left")
    return slice(int(first), int(last))


def _occlusion(scorer: Scorer, whole: np.ndarray, pixels: np.ndarray, grid: tuple[int, int]) -> HeatMap:
    score, mean = _scored(scorer, whole)
    sides = zip(pixels.shape[:2], grid, strict=True)
    rows, columns = (np.linspace(0, side, count + 1).round().astype(int) for side, count in sides)
    flat = pixels.reshape(-1, 3).mean(axis=0).round().astype(np.uint8)
    values = np.empty(grid)
    for row, column in np.ndindex(*grid):
        covered = pixels.copy()
        covered[rows[row] : rows[row + 1], columns[column] : columns[column + 1]] = flat
        values[row, column] = mean - _scored(scorer, covered)[1]
    return HeatMap("occlusion", values, score, pixels)


def _scored(scorer: Scorer, pixels: np.ndarray) -> tuple[Score, float]:
    """The score of pixels and its P(high)."""
    score = scorer.score(pixels)
    if score.mean is None:
        raise ValueError(score.error or "the model gives no P(high)")
    return score, score.mean
