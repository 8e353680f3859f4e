"""CSV files of ratings as other projects publish them: the head must reveal the columns' meanings, or the file is refused."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dcnn_fast.data.ava import image_id
from dcnn_fast.data.fields import HISTOGRAM, contradicting, numbers_of, require_once, votes_of
from dcnn_fast.data.folders import named_photographs
from dcnn_fast.data.splits import part_named
from dcnn_fast.data.spreadsheets import Row, Sheet, plain, read_sheet
from dcnn_fast.data.tables import is_file, require_written_here
from dcnn_fast.printable import quoted, shortened

MEANINGS = ("path", "rating", "votes", "split")
"""Meanings that a user can give to a column; for votes, the user names the part of their names before the number."""

_PATHS = frozenset(
    [
        "path",
        "file",
        "image",
        "img",
        "photo",
        "photograph",
        "picture",
        "filename",
        "file_name",
        "imagename",
        "image_name",
        "img_name",
        "imgname",
        "photo_name",
        "picture_name",
        "imageid",
        "image_id",
        "img_id",
        "photo_id",
        "picture_id",
        "imagenum",
        "image_num",
        "image_number",
        "image_path",
        "img_path",
        "file_path",
        "filepath",
        "photo_path",
        "image_file",
        "ava_id",
        "flickr_photo_id",
    ]
)
_SECOND = frozenset(("id", "name", "key"))  # names of columns taken for the path where no other column is
_RATINGS = frozenset(
    [
        "rating",
        "score",
        "mean",
        "mos",
        "mean_score",
        "score_mean",
        "mean_rating",
        "rating_mean",
        "average_score",
        "avg_score",
        "average_rating",
        "avg_rating",
        "mean_opinion_score",
        "aesthetic_score",
        "aesthetics_score",
        "aesthetic_mean",
        "overall_score",
        "gt_mean",
        "gt_score",
    ]
)
# Numbered columns of these names are no votes: most hold one person's ratings each.
_PEOPLE = frozenset("rater user annotator judge observer worker subject voter person tag label".split())  # noqa: SIM905
_STARTS = (0, 1, 2)  # first numbers of ten columns of votes: AVA.txt's are columns 2 to 11, counted from 0
_NUMBERED = re.compile(r"(.*?)([0-9]{1,3})")
_ID = re.compile(r"([0-9]+)(\.0+)?")
_LONGEST = 100  # columns that a message lists


@dataclass(frozen=True)
class Matched:
    """The columns by meaning. votes: the columns of votes 1 to 10, or none. unused: all other columns."""

    path: str
    rating: str | None
    votes: tuple[str, ...]
    split: str | None
    unused: tuple[str, ...]

    def __str__(self) -> str:
        parts = [f"{_shown(self.path)} names the photographs"]
        if self.votes:
            parts.append(f"{self.votes[0]} to {self.votes[-1]} are the votes for 1 to {len(self.votes)}")
        if self.rating is not None:
            parts.append(f"{_shown(self.rating)} is the rating")
        if self.split is not None:
            parts.append(f"{_shown(self.split)} is the split")
        parts.append(f"not used: {shortened([_shown(name) for name in self.unused])}" if self.unused else "no other column")
        return "; ".join(parts)


@dataclass
class Found:
    """The head and the rows of an import. notes: the matched columns, and other remarks for the user."""

    head: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    notes: list[str] = field(default_factory=list)


def read_foreign(path: Path, images: Path, columns: Mapping[str, str] | None = None) -> Found:
    """Photographs with votes or ratings from a CSV file; `matched` finds the columns.

    images: the folder in which photographs are looked up by path, name or id; a missing one keeps its name. Raises ValueError
    naming the file and the fault: a head with missing or ambiguous columns, or a faulty row.
    """
    sheet = read_sheet(path, {*_PATHS, *_SECOND, *(columns or {}).values()})
    if not sheet.head:
        raise ValueError(f"{path}: must list photographs, got none")
    columns_are = matched(path, sheet.head, columns or {})
    names = _names(path, images, sheet.rows, columns_are.path)
    files = _Files(path, images).of(names)
    _require_each_once(path, names, files)
    fields: list[tuple[str, Sequence[Any]]] = [("path", files)]
    notes = [str(columns_are)]
    ratings, votes = _numbers(path, sheet, columns_are)
    if ratings is not None:
        fields.append(("rating", ratings.tolist()))
    if votes is not None:
        fields += zip(HISTOGRAM, votes.T.tolist(), strict=True)
    if ratings is not None and votes is not None:
        notes += _differing(path, names, ratings, votes, columns_are, told=bool({"rating", "votes"} <= set(columns or {})))
    if columns_are.split is not None:
        fields.append(("split", _split(path, sheet.rows, columns_are.split)))
    if votes is None:
        fields.append(("rated_in", [path.name] * len(names)))
    return Found(tuple(name for name, _ in fields), list(zip(*(values for _, values in fields), strict=True)), notes)


def matched(path: Path, head: Sequence[str], columns: Mapping[str, str]) -> Matched:
    """The columns of a head by meaning, as `columns` says (from a meaning of `MEANINGS` to a name), else by their names.

    Votes are ten columns of one name with the numbers 1 to 10, 0 to 9 or 2 to 11 at its end, in any order. Raises ValueError
    where no column names the photographs, none rates them, or two columns could.
    """
    unknown = sorted(set(columns) - set(MEANINGS))
    if unknown:
        raise ValueError(f"columns must name meanings of {', '.join(MEANINGS)}; got {shortened(unknown)}")
    absent = [name for what, name in columns.items() if what != "votes" and name not in head]
    if absent:
        raise ValueError(f"{path}: has no column {shortened(absent)}; it has {shortened(head)}")
    votes = _votes(path, head, columns.get("votes"), wanted="rating" not in columns or "votes" in columns)
    rating = columns.get("rating") or (None if "votes" in columns else _one(path, head, "rating", _RATINGS))
    named = columns.get("path") or _one(path, head, "path", _PATHS) or _one(path, head, "path", _SECOND)
    if named is None:
        raise ValueError(
            f"{path}: must have a head with a column that names the photographs, as image_id, got {shortened(head)}"
        )
    if not votes and rating is None:
        raise ValueError(
            f"{path}: must have a column of ratings, as mean, or ten of votes, as vote_1 to vote_10, got {shortened(head)}"
        )
    split = columns.get("split") or _one(path, head, "split", frozenset(("split",)))
    used = [name for name in (named, rating, split, *votes) if name is not None]
    require_once(path, head, used)
    if len(set(used)) != len(used):
        raise ValueError(f"{path}: a column must be one thing, got {shortened(used)}")
    taken = set(used)
    return Matched(named, rating, votes, split, tuple(name for name in head[:_LONGEST] if name and name not in taken))


def _one(path: Path, head: Sequence[str], what: str, names: frozenset[str]) -> str | None:
    found = [name for name in head if plain(name) in names]
    if len(found) > 1:
        raise ValueError(f"{path}: must have one column for the {what}, got {shortened(found)}; --field {what}=NAME says which")
    return found[0] if found else None


def columns_of_votes(head: Sequence[str]) -> tuple[str, ...]:
    """The ten columns of one name with the numbers 1 to 10, 0 to 9 or 2 to 11 in a head, in order; none where no or several
    such groups exist.
    """
    try:
        return _votes(Path("head"), head, None, wanted=True)
    except ValueError:
        return ()


def _votes(path: Path, head: Sequence[str], prefix: str | None, *, wanted: bool) -> tuple[str, ...]:
    """The ten columns of votes in order, or none. prefix: the part of their names before the number, if the user gave it."""
    if not wanted:
        return ()
    groups: dict[str, dict[int, list[str]]] = {}
    for name in head:
        match = _NUMBERED.fullmatch(name)
        if match is not None:
            groups.setdefault(match[1].casefold(), {}).setdefault(int(match[2]), []).append(name)
    if prefix is not None:
        groups = {each: numbers for each, numbers in groups.items() if each == prefix.casefold()}
    groups = {each: numbers for each, numbers in groups.items() if prefix is not None or plain(each) not in _PEOPLE}
    found = [numbers for numbers in groups.values() if len(numbers) == 10 and _is_run(numbers)]
    if len(found) > 1:
        shown = shortened([f"{_at(numbers, 0)} to {_at(numbers, -1)}" for numbers in found])
        raise ValueError(f"{path}: must have one histogram of votes, got {shown}; --field votes=PREFIX says which")
    if not found:
        wide = [numbers for numbers in groups.values() if len(numbers) > 10 or (prefix is not None and numbers)]
        if prefix is not None or (wide and not any(plain(name) in _RATINGS for name in head)):
            shown = f"{len(wide[0])}, {_at(wide[0], 0)} to {_at(wide[0], -1)}" if wide else "none"
            raise ValueError(f"{path}: votes must be ten columns with consecutive numbers from 0, 1 or 2 on, got {shown}")
        return ()
    (numbers,) = found
    require_once(path, head, [name for names in numbers.values() for name in names])
    if any(len(names) > 1 for names in numbers.values()):
        twice = next(names for names in numbers.values() if len(names) > 1)
        raise ValueError(f"{path}: votes must be ten columns, got {shortened(twice)} for one rating")
    return tuple(numbers[number][0] for number in sorted(numbers))


def _is_run(numbers: Mapping[int, list[str]]) -> bool:
    first = min(numbers)
    return first in _STARTS and max(numbers) == first + len(numbers) - 1


def _at(numbers: Mapping[int, list[str]], place: int) -> str:
    return numbers[sorted(numbers)[place]][0]


def _names(path: Path, images: Path, rows: Sequence[Row], column: str) -> list[str]:
    """The photographs' names as written. Raises ValueError for a row without a name, or with the name of another row."""
    if not rows:
        raise ValueError(f"{path}: must list photographs, got none")
    found, seen = [(row[column] or "").strip() for row in rows], set[str]()
    for number, name in enumerate(found, 2):
        require_written_here(path, number, name, images)
        if not name or name in seen:
            raise ValueError(f"{path}: row {number} must name a photograph that no other row names, got {quoted(name)}")
        seen.add(name)
    return found


def _numbers(path: Path, sheet: Sheet, columns: Matched) -> tuple[np.ndarray | None, np.ndarray | None]:
    comma = sheet.decimal_comma
    ratings = None if columns.rating is None else numbers_of(path, sheet.rows, columns.rating, decimal_comma=comma)
    return ratings, votes_of(path, sheet.rows, columns.votes, decimal_comma=comma) if columns.votes else None


def _differing(
    path: Path, names: Sequence[str], ratings: np.ndarray, votes: np.ndarray, columns: Matched, *, told: bool
) -> list[str]:  # fmt: skip
    """The note on ratings that differ from their votes' mean. Raises ValueError where most do, unless both columns are told."""
    means = votes @ np.arange(1, 11) / votes.sum(axis=1)
    wrong = contradicting(ratings, means)
    if not len(wrong):
        return []
    at = int(wrong[0])
    first = f"{quoted(names[at])} has {ratings[at]:g} and votes of the mean {means[at]:g}"
    if 2 * len(wrong) > len(names) and not told:
        raise ValueError(
            f"{path}: {columns.rating} contradicts the votes {columns.votes[0]} to {columns.votes[-1]} in {len(wrong)} of "
            f"{len(names)} rows, {first}; --field rating=NAME or --field votes=PREFIX says which counts"
        )
    return [f"{len(wrong)} of {len(names)} ratings, which count, are contradicted by the votes beside them: {first}"]


def _split(path: Path, rows: Sequence[Row], column: str) -> list[str]:
    said = [(row[column] or "").strip() for row in rows]
    unknown = sorted(name for name in set(said) if part_named(name) is None)
    if unknown:
        raise ValueError(
            f"{path}: column {column} must say train, val or test, got {shortened([repr(each) for each in unknown], 3)}"
        )
    return [part_named(name) or name for name in said]


class _Files:
    """The photographs below a folder by path, name and id; walks the folder at the first id, or path at which none is."""

    def __init__(self, path: Path, images: Path) -> None:
        self.path, self.images = path, images
        self._by_name: dict[str, list[str]] | None = None

    def of(self, names: Sequence[str]) -> list[str]:
        """The photographs' paths; a missing one keeps its name, an id gets .jpg. Raises ValueError for an ambiguous name."""
        return [self._one(name) for name in names]

    def _one(self, name: str) -> str:
        match = _ID.fullmatch(name)
        number = None if match is None else image_id(match[1])
        stated = os.path.join(self.images, name)
        if number is None and is_file(stated):
            return stated
        wanted = str(number) if number is not None else os.path.basename(name)
        found = self._walked().get(wanted, [])
        if number is None and os.path.basename(name) != name:
            found = [each for each in found if _parts(each)[-len(_parts(name)) :] == _parts(name)]
        if len(found) > 1:
            shown = shortened([os.path.relpath(each, self.images) for each in found], 2)
            raise ValueError(f"{self.path}: {quoted(name)} must be one photograph, got {shown}")
        if found:
            return found[0]
        return name if number is None else f"{number}.jpg"

    def _walked(self) -> dict[str, list[str]]:
        if self._by_name is None:
            self._by_name = {}
            for at, name in named_photographs(self.images):
                stem = os.path.splitext(name)[0]
                number = image_id(stem)
                for key in {name, stem if number is None else str(number)}:
                    self._by_name.setdefault(key, []).append(os.path.join(at, name))
        return self._by_name


def _parts(path: str) -> list[str]:
    return os.path.abspath(path).split(os.sep) if os.path.isabs(path) else os.path.normpath(path).split(os.sep)


def _require_each_once(path: Path, names: Sequence[str], files: Sequence[str]) -> None:
    """Require that no two rows name the same photograph in any spelling."""
    rows: dict[str, int] = {}
    for number, (name, file) in enumerate(zip(names, files, strict=True), 2):
        first = rows.setdefault(os.path.normpath(file), number)
        if first != number:
            raise ValueError(
                f"{path}: row {number} must name a photograph that no other row names, {quoted(name)} is that of row {first}"
            )


def _shown(name: str) -> str:
    return quoted(name) if not name.isidentifier() else shortened([name])
