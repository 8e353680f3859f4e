"""Fields of a CSV file by the meanings of their column names (`Table`); two columns for one meaning are refused."""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from dcnn_fast.data.spreadsheets import Row, plain, read_sheet
from dcnn_fast.printable import quoted, shortened

HISTOGRAM = tuple(f"r{i}" for i in range(1, 11))
NAMES: Mapping[str, tuple[str, ...]] = {
    "path": ("path", "file", "image", "filename", "file_name", "image_name", "img_name", "image_path"),
    "label": ("label",),
    "rating": ("rating", "score", "mean", "mos"),
    "group": ("group", "theme"),
    "category": ("category",),
    "split": ("split",),
    "attribute": ("attribute", "style"),
    "source": ("source",),
}
"""Accepted column names by meaning, in any case. Where several are present the list's first name wins; without it
the file is refused."""

_LARGEST = 1e100  # largest rating: sums and squares of many stay finite
_THOUSANDS = re.compile(r"[0-9]{1,3}(,[0-9]{3})+")
_BESIDE = 0.1  # points by which a rating may differ from the mean of its votes, through rounding


class Table:
    """The rows of a CSV file with a head, by the columns' meanings. notes: remarks for the user on the choice of columns."""

    def __init__(self, path: Path, columns: Mapping[str, str] | None = None) -> None:
        """Raises ValueError naming the fault: no rows, no column for the path, a named column that is absent, or one twice."""
        sheet = read_sheet(path, {*NAMES["path"], *(columns or {}).values()})
        self.head, self.rows, self._decimal_comma = sheet.head, sheet.rows, sheet.decimal_comma
        self.path, self.notes = path, list[str]()
        self._votes: np.ndarray | None = None
        self._columns = self._chosen(columns or {})
        if not self.rows:
            raise ValueError(f"{path}: must have a row for each photograph, got none")
        if "path" not in self._columns:
            wanted = " or ".join(NAMES["path"][:3])
            hint = "; --field path=NAME says which it is, and `data import` reads many others"
            raise ValueError(f"{path}: must have a column {wanted}, got {shortened(self.head)}{hint}")
        require_once(path, self.head, self._columns.values())

    def has(self, what: str) -> bool:
        """Whether a column has that meaning."""
        return what in self._columns

    def values(self, what: str) -> list[str]:
        """The column's texts, stripped."""
        return [(row[self._columns[what]] or "").strip() for row in self.rows]

    def paths(self) -> list[str]:
        """Paths as written. Raises ValueError naming a row without a path, or with the path of another row, in any spelling."""
        found, seen = self.values("path"), set[str]()
        for number, name in enumerate(found, 2):
            same = os.path.normpath(name)
            if same in seen or not name:
                raise ValueError(
                    f"{self.path}: row {number} must name a photograph that no other row names, got {quoted(name)}"
                )
            seen.add(same)
        return found

    def numbers(self, what: str) -> np.ndarray:
        """The column's numbers [n]. Raises ValueError naming a row without a number."""
        return numbers_of(self.path, self.rows, self._columns[what], decimal_comma=self._decimal_comma)

    def histograms(self) -> np.ndarray | None:
        """Votes or shares [n, 10], None without columns r1 to r10. Raises ValueError naming a row without votes."""
        if self._votes is not None or not set(HISTOGRAM) <= set(self.head):
            return self._votes
        more = [name for name in ("r0", "r11") if name in self.head]
        if more:
            raise ValueError(f"{self.path}: votes must be ten, r1 to r10, got {more[0]} too")
        require_once(self.path, self.head, HISTOGRAM)
        self._votes = votes_of(self.path, self.rows, HISTOGRAM, decimal_comma=self._decimal_comma)
        return self._votes

    def _chosen(self, columns: Mapping[str, str]) -> dict[str, str]:
        unknown = sorted(set(columns) - set(NAMES))
        if unknown:
            raise ValueError(f"columns must name meanings of {', '.join(NAMES)}; got {', '.join(unknown)}")
        absent = [name for name in columns.values() if name not in self.head]
        if absent:
            raise ValueError(f"{self.path}: has no column {shortened(absent)}; it has {shortened(self.head)}")
        found = {}
        for what, names in NAMES.items():
            name = columns.get(what) or self._by_name(what, names)
            if name is not None:
                found[what] = name
        return found

    def _by_name(self, what: str, names: Sequence[str]) -> str | None:
        there = [name for name in self.head if plain(name) in names]
        first = [name for name in there if plain(name) == names[0]]
        if len(there) > 1 and len(first) != 1:
            raise ValueError(
                f"{self.path}: must have one column for the {what}, got {shortened(there)}; --field {what}=NAME says which"
            )
        if len(there) > 1:
            left = shortened([name for name in there if name not in first])
            self.notes.append(f"column {first[0]} is the {what}; not used: {left}")
        return next(iter(first or there), None)


def contradicting(ratings: np.ndarray, means: np.ndarray) -> np.ndarray:
    """The rows [k] whose rating differs from the mean of their votes by more than rounding."""
    return np.flatnonzero(np.abs(ratings - means) > _BESIDE)


def require_once(path: Path, head: Collection[str], names: Collection[str]) -> None:
    """Require that no column of these names occurs twice. Raises ValueError naming it."""
    counts = Counter(head)
    twice = sorted({name for name in names if counts[name] > 1})
    if twice:
        raise ValueError(f"{path}: a column that is used must be there once, got {shortened(twice)} {counts[twice[0]]} times")


def numbers_of(path: Path, rows: Sequence[Row], column: str, *, decimal_comma: bool) -> np.ndarray:
    """A column's numbers [n].

    decimal_comma: numbers may have a decimal comma, but one column may not mix commas and points. Raises ValueError naming a
    row without a number.
    """
    values, points = [], set[str]()
    for row in rows:
        text = (row[column] or "").strip()
        points |= {mark for mark in ",." if mark in text}
        if len(points) > 1:
            raise ValueError(
                f"{path}: row {row.number} must have a number in column {column} with the decimal sign of those above it, "
                f"got {quoted(text)}"
            )
        values.append(_number(text.replace(",", ".") if decimal_comma else text))
        if not abs(values[-1]) <= _LARGEST:
            raise ValueError(f"{path}: row {row.number} must have a number in column {column}, got {quoted(row[column])}")
    return np.array(values)


def votes_of(path: Path, rows: Sequence[Row], columns: Sequence[str], *, decimal_comma: bool) -> np.ndarray:
    """Votes or shares [n, columns]. Raises ValueError naming a row without votes, or with a negative number."""
    for name in columns if decimal_comma else ():
        thousands = next((row[name] for row in rows if _THOUSANDS.fullmatch((row[name] or "").strip())), None)
        if thousands is not None:
            raise ValueError(f"{path}: votes must be written without commas, got {quoted(thousands)} in column {name}")
    votes = np.stack([numbers_of(path, rows, name, decimal_comma=decimal_comma) for name in columns], axis=1)
    wrong = np.flatnonzero((votes < 0).any(axis=1) | (votes.sum(axis=1) <= 0))
    if len(wrong):
        raise ValueError(f"{path}: row {rows[wrong[0]].number} must have votes, none negative")
    return votes


def _number(text: str) -> float:
    try:
        return math.nan if "_" in text else float(text)  # Python reads 1_0 as ten
    except ValueError:
        return math.nan
