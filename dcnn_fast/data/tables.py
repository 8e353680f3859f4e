"""Ratings or labels in a CSV file, one row a photograph (`load_table`), and the paper's IAD, which is one (`load_iad`)."""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from dcnn_fast.data.examples import DataSet, Example
from dcnn_fast.data.splits import split
from dcnn_fast.data.spreadsheets import read_sheet
from dcnn_fast.printable import quoted, shortened

LABELS = ("low", "high")
HISTOGRAM = tuple(f"r{i}" for i in range(1, 11))
# What a column is called unless `columns` says otherwise; the first name that is there counts.
NAMES: Mapping[str, tuple[str, ...]] = {
    "path": ("path", "file", "image"),
    "label": ("label",),
    "rating": ("rating", "score", "mean"),
    "group": ("group", "theme"),
    "category": ("category",),
    "split": ("split",),
    "attribute": ("attribute", "style"),
    "source": ("source",),
}
IAD_THRESHOLDS = {"photonet": 4.88, "dpchallenge": 5.0}  # paper III-F
_LARGEST = 1e100  # of a rating: sums and squares of many are numbers too
IAD_SHARE = 0.2  # of the best and of the worst, in the variant


class Table:
    """The rows of a CSV file with a head, by what their columns mean."""

    def __init__(self, path: Path, columns: Mapping[str, str] | None = None) -> None:
        """Raises ValueError naming what is wrong: no head, no column for the path, a column that is not there."""
        sheet = read_sheet(path, {*NAMES["path"], *(columns or {}).values()})
        self.head, self.rows, self._decimal_comma = sheet.head, sheet.rows, sheet.decimal_comma
        self.path = path
        self._columns = self._chosen(columns or {})
        if not self.rows:
            raise ValueError(f"{path}: must have a row for each photograph, got none")
        if "path" not in self._columns:
            raise ValueError(f"{path}: must have a column {' or '.join(NAMES['path'])}, got {shortened(self.head)}")

    def has(self, what: str) -> bool:
        """Whether there is a column of that meaning."""
        return what in self._columns

    def values(self, what: str) -> list[str]:
        """The column's texts."""
        return [(row[self._columns[what]] or "").strip() for row in self.rows]

    def numbers(self, what: str) -> np.ndarray:
        """The column's numbers [n]. Raises ValueError naming the row that has none."""
        return np.array([self._number(number, row, self._columns[what]) for number, row in enumerate(self.rows, 2)])

    def histograms(self) -> np.ndarray | None:
        """[n, 10] of votes or shares where there are columns r1 to r10."""
        if not set(HISTOGRAM) <= set(self.head):
            return None
        votes = np.array([[self._number(n, row, name) for name in HISTOGRAM] for n, row in enumerate(self.rows, 2)])
        votes = votes.reshape(-1, len(HISTOGRAM))
        wrong = np.flatnonzero((votes < 0).any(axis=1) | (votes.sum(axis=1) <= 0))
        if len(wrong):
            raise ValueError(f"{self.path}: row {wrong[0] + 2} must have votes, none negative")
        return votes

    def _number(self, number: int, row: Mapping[str, str | None], column: str) -> float:
        text = row[column] or ""
        try:
            value = float(text.replace(",", ".") if self._decimal_comma else text)
        except (TypeError, ValueError):
            value = math.nan
        if not abs(value) <= _LARGEST:
            raise ValueError(f"{self.path}: row {number} must have a number in column {column}, got {quoted(row[column])}")
        return value

    def _chosen(self, columns: Mapping[str, str]) -> dict[str, str]:
        unknown = sorted(set(columns) - set(NAMES))
        if unknown:
            raise ValueError(f"columns must name meanings of {', '.join(NAMES)}; got {', '.join(unknown)}")
        absent = [name for name in columns.values() if name not in self.head]
        if absent:
            raise ValueError(f"{self.path}: has no column {shortened(absent)}; it has {shortened(self.head)}")
        found = {}
        for what, names in NAMES.items():
            name = columns.get(what) or next((name for name in names if name in self.head), None)
            if name is not None:
                found[what] = name
        return found


def load_table(
    path: Path,
    images: Path | None = None,
    *,
    columns: Mapping[str, str] | None = None,
    threshold: float | None = None,
    category: str | None = None,
    attributes: bool = False,
    fold: int = 0,
    folds: int = 5,
    seed: int = 0,
) -> DataSet:
    """A CSV file with a row for each photograph.

    Columns (`NAMES`; `columns` maps a meaning to another name): path, below `images` or the file's folder; then label, or
    rating, or r1 to r10, a histogram of votes; and, where there, group, category, split ("train" or "test"), attribute.
    threshold: ratings above it are high; default: the median of the training part as it is listed, photographs that are not
    there included, which a note tells. category: only its rows, of the whole set's split and threshold. attributes: the
    attribute column as a second label (paper eq. 3).
    Without a split column, part `fold` of `folds` is held out (`splits.split`). Raises ValueError naming what is wrong.
    """
    table = Table(path, columns)
    histograms = table.histograms()
    if histograms is not None and not table.has("rating"):
        ratings = histograms @ np.arange(1, 11) / histograms.sum(axis=1)
    elif table.has("rating"):
        ratings = table.numbers("rating")
    else:
        ratings = np.full(len(table.rows), math.nan)
    chosen = _rows_of(table, category)
    notes: list[str] = []
    labels, of_label = _labels(table, ratings, threshold)
    held = _held_out(table, of_label, fold, folds, seed)
    if threshold is not None and not math.isfinite(threshold):
        raise ValueError(f"threshold must be finite, got {threshold}")
    if labels == LABELS and not table.has("label"):
        training = ratings[~held]
        limit = float(np.median(training)) if threshold is None else threshold
        of_label = (ratings > limit).astype(int)
        where = "the median of the training part" if threshold is None else "as asked"
        notes.append(f"a rating above {limit:g} is high ({where})")
    if attributes and not table.has("attribute"):
        raise ValueError(f"{path}: must have a column for the attribute, got {shortened(table.head)}")
    names = tuple(sorted(set(table.values("attribute")) - {""})) if attributes else ()
    return _data_set(table, images, labels, of_label, ratings, chosen, held, names, notes)


def load_iad(
    path: Path,
    images: Path | None = None,
    *,
    columns: Mapping[str, str] | None = None,
    variant: str = "threshold",
    fold: int = 0,
    folds: int = 5,
    seed: int = 0,
) -> DataSet:
    """IAD (paper III-F) as a CSV file: path, source ("photonet" or "dpchallenge"), rating, and perhaps split.

    variant "threshold": high above 4.88 of PHOTO.NET's 1 to 7 and above 5 of DPChallenge's 1 to 10. "extremes": the training
    part keeps each source's best and worst fifth as high and low (the paper does not say whether it took them source by
    source; their scales differ); what is held out keeps everything, labelled by the thresholds. A photograph's category is its
    source, unless there is a column for it.
    """
    if variant not in ("threshold", "extremes"):
        raise ValueError(f"variant must be threshold or extremes, got {variant!r}")
    table = Table(path, columns)
    for what in ("source", "rating"):
        if not table.has(what):
            raise ValueError(f"{path}: must have a column for the {what}, got {shortened(table.head)}")
    named, ratings = table.values("source"), table.numbers("rating")
    unknown = sorted(set(named) - set(IAD_THRESHOLDS))
    if unknown:
        raise ValueError(f"{path}: source must be one of {', '.join(IAD_THRESHOLDS)}; got {shortened(unknown)}")
    sources = np.array(named)
    labels = (ratings > np.array([IAD_THRESHOLDS[source] for source in named])).astype(int)
    chosen = np.ones(len(ratings), bool)
    held = _held_out(table, labels, fold, folds, seed)
    notes = []
    if variant == "extremes":
        for source in IAD_THRESHOLDS:
            mine = np.flatnonzero((sources == source) & ~held)
            if len(mine):
                low, high = np.quantile(ratings[mine], [IAD_SHARE, 1 - IAD_SHARE])
                middle = mine[(ratings[mine] > low) & (ratings[mine] < high)]
                chosen[middle] = False
                labels[mine] = ratings[mine] >= high
        notes.append(f"the best and the worst {IAD_SHARE:.0%} of each source: {int((chosen & ~held).sum())} to train on")
    return _data_set(table, images, LABELS, labels, ratings, chosen, held, (), notes, sources.tolist())


def is_file(path: str | Path) -> bool:
    """Whether a photograph may be read there; not where the path cannot be one (a zero byte, a name that is too long)."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def _rows_of(table: Table, category: str | None) -> np.ndarray:
    if category is None:
        return np.ones(len(table.rows), bool)
    if not table.has("category"):
        raise ValueError(f"{table.path}: must have a column for the category, got {shortened(table.head)}")
    chosen = np.array([value == category for value in table.values("category")])
    if not chosen.any():
        known = sorted(set(table.values("category")))
        raise ValueError(f"category must be one of {shortened(known)}; got {category!r}")
    return chosen


def _labels(table: Table, ratings: np.ndarray, threshold: float | None) -> tuple[tuple[str, ...], np.ndarray]:
    """Names, and each row's; for ratings, high above the threshold or the median of all, which is only to stratify by."""
    if table.has("label"):
        values = table.values("label")
        names = tuple(sorted(set(values)))
        if set(names) == set(LABELS):
            names = LABELS
        if len(names) < 2 or "" in names:
            raise ValueError(f"{table.path}: column label must have at least two values, none empty, got {shortened(names)}")
        number = {name: index for index, name in enumerate(names)}
        return names, np.array([number[value] for value in values])
    if np.isnan(ratings).all():
        raise ValueError(f"{table.path}: must have a column label or rating, or r1 to r10, got {shortened(table.head)}")
    return LABELS, (ratings > (np.median(ratings) if threshold is None else threshold)).astype(int)


def _held_out(table: Table, labels: np.ndarray, fold: int, folds: int, seed: int) -> np.ndarray:
    if table.has("split"):
        parts = table.values("split")
        unknown = sorted(set(parts) - {"train", "test"})
        if unknown:
            raise ValueError(
                f"{table.path}: column split must say train or test, got {shortened([repr(each) for each in unknown], 3)}"
            )
        return np.array([part == "test" for part in parts])
    groups = table.values("group") if table.has("group") else [""] * len(table.rows)
    return split(labels.tolist(), groups, fold=fold, folds=folds, seed=seed)


def _data_set(
    table: Table, images: Path | None, labels: tuple[str, ...], of_label: np.ndarray, ratings: np.ndarray,
    chosen: np.ndarray, held: np.ndarray, attributes: tuple[str, ...], notes: Sequence[str], sources: list[str] | None = None,
) -> DataSet:  # fmt: skip
    folder = images or table.path.parent
    texts = {
        what: table.values(what) if table.has(what) else [""] * len(table.rows) for what in ("group", "category", "attribute")
    }
    if sources is not None and not table.has("category"):
        texts["category"] = sources
    attribute_number = {name: index for index, name in enumerate(attributes)}
    made: dict[bool, list[Example]] = {False: [], True: []}
    missing, seen = [], set()
    for i, name in enumerate(table.values("path")):
        if name in seen or not name:
            raise ValueError(f"{table.path}: row {i + 2} must name a photograph that no other row names, got {quoted(name)}")
        seen.add(name)
        if not chosen[i]:
            continue
        if not is_file(os.path.join(folder, name)):  # a Path takes longer to make than a look at the file
            missing.append(name)
            continue
        attribute = texts["attribute"][i]
        made[bool(held[i])].append(
            Example(
                str(folder / name), name, int(of_label[i]), float(ratings[i]),
                attribute=attribute_number.get(attribute, -1),
                category=texts["category"][i], group=texts["group"][i],
            )
        )  # fmt: skip
    return DataSet(labels, tuple(made[False]), tuple(made[True]), attributes, tuple(missing), tuple(notes))
