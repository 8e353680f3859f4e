"""Reads ratings or labels from a CSV file, one row a photograph (`load_table`), and the paper's IAD (`load_iad`)."""

from __future__ import annotations

import math
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dcnn_fast.data.examples import DataSet, Example
from dcnn_fast.data.fields import Table, contradicting
from dcnn_fast.data.label_names import Order, in_order, require_distinct
from dcnn_fast.data.splits import DEALT, PARTS, Parts, drawn_notes, part_named
from dcnn_fast.printable import quoted, shortened

LABELS = ("low", "high")
IAD_THRESHOLDS = {"photonet": 4.88, "dpchallenge": 5.0}  # paper III-F
IAD_SHARE = 0.2  # share of the best and of the worst, in the variant
_EXACT = 2.0**53  # below it whole float64 numbers are exact
_BY_RATING = Order(LABELS, LABELS[1])


def load_table(
    path: Path,
    images: Path | None = None,
    *,
    columns: Mapping[str, str] | None = None,
    threshold: float | None = None,
    positive: str | None = None,
    category: str | None = None,
    attributes: bool = False,
    parts: Parts = DEALT,
) -> DataSet:
    """Read a CSV file with a row for each photograph.

    Its columns are path, below `images` or the file's folder; then label, or rating, or r1 to r10, a histogram of votes; and,
    where there, group, category, split ("train", "val" or "test") and attribute.

    Args:
        path: The CSV file.
        images: The folder that paths start from; None is the file's.
        columns: Other names of columns, from a meaning (`fields.NAMES`) to the file's own name for it.
        threshold: Ratings above it are high. None is the median of the training part as it is listed, photographs that are not
            there included, or of the whole set where all of it is held out, which a note tells; where every row says "test"
            there is none, and no photograph has a label.
        positive: The better one of two labels, where `label_names` does not know it.
        category: Take only its rows, with the whole set's split and threshold; None takes all.
        attributes: The attribute column is a second label (paper eq. 3).
        parts: The part to hold out without a split column.

    Returns:
        The set.

    Raises:
        ValueError: The message names the fault, an option that has no place here, too.
    """
    table = _table(path, images, columns)
    ratings, notes = _ratings(table)
    _require_of_use(table, threshold, positive)
    chosen = _rows_of(table, category)
    order, of_label = _labels(table, ratings, threshold, positive)
    part = _parts(table, of_label, parts)
    limit = None
    if not table.has("label"):
        limit, told = _limit(ratings, part, threshold, parts)
        of_label = np.full(len(ratings), -1) if limit is None else (ratings > limit).astype(int)
        notes += told
    if attributes and not table.has("attribute"):
        raise ValueError(f"{path}: must have a column for the attribute, got {shortened(table.head)}")
    names = tuple(sorted(set(table.values("attribute")) - {""})) if attributes else ()
    rows = _Rows(of_label, ratings, chosen, part)
    notes += [*order.notes, *_of_labels(table, order, rows), *_of_groups(table, part), *drawn_notes(part, parts), *table.notes]
    found = _data_set(table, images, rows, names)
    return replace(
        found, labels=order.labels, notes=tuple(notes), threshold=limit, positive=order.positive,
        fold=None if table.has("split") else parts.chosen,
    )  # fmt: skip


def load_iad(
    path: Path,
    images: Path | None = None,
    *,
    columns: Mapping[str, str] | None = None,
    variant: str = "threshold",
    parts: Parts = DEALT,
) -> DataSet:
    """Read IAD (paper III-F) as a CSV file: path, source ("photonet" or "dpchallenge"), rating, and perhaps split.

    A photograph's category is its source, unless there is a column for it.

    Args:
        path: The CSV file.
        images: The folder that paths start from; None is the file's.
        columns: Other names of columns, from a meaning to the file's own name for it.
        variant: "threshold": high above 4.88 of PHOTO.NET's 1 to 7 and above 5 of DPChallenge's 1 to 10. "extremes": the
            training part keeps each source's best and worst fifth as high and low (the paper does not say whether it took them
            source by source; their scales differ); the parts held out keep everything, labelled by the thresholds.
        parts: The part to hold out without a split column.

    Returns:
        The set.

    Raises:
        ValueError: `variant` is an unknown name, or the file lacks a column or has an unknown source.
    """
    if variant not in ("threshold", "extremes"):
        raise ValueError(f"variant must be threshold or extremes, got {variant!r}")
    table = _table(path, images, columns)
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
    part = _parts(table, labels, parts)
    notes = [*drawn_notes(part, parts), *table.notes]
    if variant == "extremes":
        for source in IAD_THRESHOLDS:
            mine = np.flatnonzero((sources == source) & (part == "train"))
            if len(mine):
                low, high = np.quantile(ratings[mine], [IAD_SHARE, 1 - IAD_SHARE])
                middle = mine[(ratings[mine] > low) & (ratings[mine] < high)]
                chosen[middle] = False
                labels[mine] = ratings[mine] >= high
        kept = int((chosen & (part == "train")).sum())
        notes.append(f"the best and the worst {IAD_SHARE:.0%} of each source: {kept} to train on")
    found = _data_set(table, images, _Rows(labels, ratings, chosen, part), (), named)
    fold = None if table.has("split") else parts.chosen
    return replace(found, labels=LABELS, notes=tuple(notes), positive=LABELS[1], fold=fold)


def is_file(path: str | Path) -> bool:
    """Whether the path is a regular file; false for an invalid path, too (a zero byte, a name that is too long)."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def require_written_here(path: Path, number: int, name: str, folder: Path) -> None:
    """Require that a row of `path` does not write its photograph's path as another system would. Raises ValueError."""
    said = written_elsewhere(name)
    if said and not is_file(os.path.join(folder, name)):
        raise ValueError(f"{path}: row {number} must name a photograph by its path, got {quoted(name)}{said}")


def written_elsewhere(name: str) -> str:
    """The end of a message on a missing path that is written as on another system; empty for any other path."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", name):
        return ", an address; a photograph is named by its path"
    if os.name != "nt" and ("\\" in name or re.match(r"[A-Za-z]:", name)):
        return ", as Windows writes paths; here / stands between folders"
    return ""


@dataclass(frozen=True)
class _Rows:
    """The facts on each row, [n]: its label or -1, its rating or NaN, whether it is asked for, its part (of `PARTS`)."""

    labels: np.ndarray
    ratings: np.ndarray
    chosen: np.ndarray
    part: np.ndarray


def _table(path: Path, images: Path | None, columns: Mapping[str, str] | None) -> Table:
    """The file's table. Raises ValueError as `Table` does, and naming a row with a path of another system."""
    table = Table(path, columns)
    for number, name in enumerate(table.values("path"), 2):
        require_written_here(path, number, name, images or path.parent)
    return table


def _ratings(table: Table) -> tuple[np.ndarray, list[str]]:
    """Each row's rating or its votes' mean, NaN without either; and a note where the two contradict each other."""
    votes = table.histograms()
    means = None if votes is None else votes @ np.arange(1, 11) / votes.sum(axis=1)
    if not table.has("rating"):
        return np.full(len(table.rows), math.nan) if means is None else means, []
    ratings = table.numbers("rating")
    wrong = [] if means is None else contradicting(ratings, means).tolist()
    if not wrong or means is None:
        return ratings, []
    first = f"row {wrong[0] + 2} has {ratings[wrong[0]]:g} and votes of the mean {means[wrong[0]]:g}"
    return ratings, [f"{len(wrong)} of {len(ratings)} ratings, which count, are contradicted by the votes beside them: {first}"]


def _require_of_use(table: Table, threshold: float | None, positive: str | None) -> None:
    """Require that a given threshold or positive label has a use for this table. Raises ValueError."""
    if threshold is not None and not math.isfinite(threshold):
        raise ValueError(f"threshold must be finite, got {threshold}")
    if threshold is not None and table.has("label"):
        raise ValueError(f"{table.path}: threshold must not be given for a set with a column of labels, got {threshold:g}")
    if positive is not None and not table.has("label"):
        raise ValueError(f"{table.path}: positive must not be given for a set without a column of labels, got {positive!r}")


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


def _labels(
    table: Table, ratings: np.ndarray, threshold: float | None, positive: str | None
) -> tuple[Order, np.ndarray]:  # fmt: skip
    """Labels and each row's index; ratings are high above the threshold or, only for stratifying, above the whole median."""
    if table.has("label"):
        values = table.values("label")
        names = set(values)
        if len(names) < 2 or "" in names:
            shown = shortened(sorted(names))
            raise ValueError(f"{table.path}: column label must have at least two values, none empty, got {shown}")
        try:
            require_distinct(names)
            order = in_order(names, positive)
        except ValueError as error:
            raise ValueError(f"{table.path}: {error}") from None
        number = {name: index for index, name in enumerate(order.labels)}
        return order, np.array([number[value] for value in values])
    if np.isnan(ratings).all():
        raise ValueError(f"{table.path}: must have a column label or rating, or r1 to r10, got {shortened(table.head)}")
    return _BY_RATING, (ratings > (np.median(ratings) if threshold is None else threshold)).astype(int)


def _limit(
    ratings: np.ndarray, part: np.ndarray, threshold: float | None, parts: Parts
) -> tuple[float | None, list[str]]:  # fmt: skip
    """The rating above which photographs are high, and a note on it; None without a threshold or training part."""
    if threshold is not None:
        return threshold, [f"a rating above {threshold:g} is high (as told)"]
    whole = (part == "test").all() and parts.unsplit == "test"
    training = ratings if whole else ratings[part == "train"]
    if not len(training):
        return None, []
    limit, of = float(np.median(training)), "whole set" if whole else "training part"
    return limit, [f"a rating above {limit:g} is high (the median of the {of})"]


def _of_labels(table: Table, order: Order, rows: _Rows) -> list[str]:
    """A note if the better label has the lower mean rating."""
    if not table.has("label") or order.positive is None or np.isnan(rows.ratings).any():
        return []
    low, high = (float(rows.ratings[rows.labels == label].mean()) for label in (0, 1))
    if low <= high:
        return []
    return [f"photographs that are {order.labels[1]} have the lower mean rating, {high:.3g} against {low:.3g}"]


def _of_groups(table: Table, part: np.ndarray) -> list[str]:
    """A note if the set's own split divides groups."""
    if not (table.has("group") and table.has("split")):
        return []
    parts_of: dict[str, set[str]] = {}
    for group, name in zip(table.values("group"), part, strict=True):
        parts_of.setdefault(group, set()).add(name)
    shown = sorted(group for group, names in parts_of.items() if group and len(names) > 1)
    both = "both parts" if len(set(part)) == 2 else "more than one part"
    return [f"{len(shown)} groups are in {both} of the set's own split, {shown[0]} first"] if shown else []


def _parts(table: Table, labels: np.ndarray, parts: Parts) -> np.ndarray:
    """The part of each row: [n] of `PARTS`."""
    groups = table.values("group") if table.has("group") else [""] * len(table.rows)
    names = [os.path.normpath(name) for name in table.values("path")]
    if table.has("split"):
        parts.require_none(table.path)
        said = table.values("split")
        unknown = sorted(name for name in set(said) if part_named(name) is None)
        if unknown:
            raise ValueError(
                f"{table.path}: column split must say train, val or test, got {shortened([repr(each) for each in unknown], 3)}"
            )
        own = np.array([part_named(name) for name in said], dtype=object)
        return parts.with_val(own, labels.tolist(), groups, names)
    return parts.of(labels.tolist(), groups, names)


def _plain(votes: np.ndarray | None) -> np.ndarray | None:
    """Votes as integers if all are whole: as Python's ints they take a tenth of the memory."""
    whole = votes is not None and bool(((votes == votes.round()) & (votes < _EXACT)).all())
    return votes.astype(int) if votes is not None and whole else votes


def _data_set(
    table: Table, images: Path | None, rows: _Rows, attributes: tuple[str, ...], sources: list[str] | None = None
) -> DataSet:  # fmt: skip
    """The examples of the requested rows; the caller adds labels and notes."""
    folder = images or table.path.parent
    texts = {
        what: table.values(what) if table.has(what) else [""] * len(table.rows) for what in ("group", "category", "attribute")
    }
    if sources is not None and not table.has("category"):
        texts["category"] = sources
    attribute_number = {name: index for index, name in enumerate(attributes)}
    made: dict[str, list[Example]] = {name: [] for name in PARTS}
    votes = _plain(table.histograms())
    missing = []
    for i, name in enumerate(table.paths()):
        if not rows.chosen[i]:
            continue
        if not is_file(os.path.join(folder, name)):  # making a Path takes longer than the check of the file
            missing.append(name)
            continue
        attribute = texts["attribute"][i]
        made[rows.part[i]].append(
            Example(
                str(folder / name), name, int(rows.labels[i]), float(rows.ratings[i]),
                attribute=attribute_number.get(attribute, -1),
                category=texts["category"][i], group=texts["group"][i],
                votes=() if votes is None else tuple(votes[i].tolist()),
            )
        )  # fmt: skip
    train, val, test = (tuple(made[name]) for name in PARTS)
    return DataSet((), train, test, attributes, tuple(missing), val=val)
