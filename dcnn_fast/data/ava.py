"""AVA (Murray et al. 2012): ratings, lists and splits as its files have them, with either line ending (docs/ava.md).

A copy of AVA is a folder with AVA.txt, aesthetics_image_lists, style_image_lists and, somewhere below it or elsewhere, the
photographs, each named by its id.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dcnn_fast.data.examples import DataSet, Example
from dcnn_fast.data.folders import named_photographs
from dcnn_fast.data.names import CATEGORIES, LISTS, STYLE_LISTS
from dcnn_fast.data.splits import DEALT, PARTS, Parts, drawn_notes
from dcnn_fast.networks import STYLES

THRESHOLD = 5.0  # a mean above it is high, any other low
LABELS = ("low", "high")
_COLUMNS = 15
_LONGEST_LINE = 2000  # bytes
_MOST_DIGITS = 18  # digits of an id, which must fit 64 bits
_MOST_VOTES = 2**31 - 1


@dataclass(frozen=True)
class Ratings:
    """AVA.txt. ids: [n] int64. votes: [n, 10] int64, how many people gave 1 to 10."""

    ids: np.ndarray
    votes: np.ndarray

    @property
    def means(self) -> np.ndarray:
        """The photographs' mean ratings: [n] float64."""
        means: np.ndarray = self.votes @ np.arange(1, 11) / self.votes.sum(axis=1)
        return means


def read_ratings(path: Path) -> Ratings:
    """AVA.txt: 15 integers a line, index, id, counts of ratings 1 to 10, two tags, challenge.

    Raises ValueError naming the first line of another form, an image without votes, or an id that occurs twice.
    """
    if line := _first_long_line(path):
        raise ValueError(f"{path}: line {line} must be {_COLUMNS} integers, and is too long for them")
    try:
        table = np.loadtxt(path, dtype=np.int64, ndmin=2, comments=None, encoding="utf-8-sig")
    except ValueError:
        table = np.zeros((0, 0), np.int64)
    if table.shape[1] != _COLUMNS:
        raise ValueError(f"{path}: {_first_bad_line(path)}")
    ids, votes = table[:, 1], table[:, 2:12]
    many = np.flatnonzero((votes > _MOST_VOTES).any(axis=1))  # their sums would overflow
    if len(many):
        raise ValueError(f"{path}: image {ids[many[0]]} must have at most {_MOST_VOTES} votes each, got {votes[many[0]].max()}")
    wrong = np.flatnonzero((votes < 0).any(axis=1) | (votes.sum(axis=1) < 1))
    if len(wrong):
        raise ValueError(f"{path}: image {ids[wrong[0]]} must have votes, none negative, got {votes[wrong[0]].tolist()}")
    unique, counts = np.unique(ids, return_counts=True)
    if len(unique) != len(ids):
        raise ValueError(f"{path}: an id must occur once, got {unique[counts > 1][0]} {counts.max()} times")
    return Ratings(ids, votes)


def image_id(text: str) -> int | None:
    """The id written as text, in decimal digits alone; None where the text is no id."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS else None


def read_list(path: Path) -> list[int]:
    """A list of one id a line. Raises ValueError naming the line that is no id."""
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig", errors="replace").splitlines(), 1):
        if line.strip():
            image = image_id(line.strip())
            if image is None:
                raise ValueError(f"{path}: line {number} must be an image id, got {line.strip()[:40]!r}")
            found.append(image)
    return found


def photographs(folder: Path) -> dict[int, str]:
    """The paths of all photographs below `folder` whose names are ids, by id (`named_photographs`)."""
    found: dict[int, str] = {}
    for at, name in named_photographs(folder):
        image = image_id(os.path.splitext(name)[0])
        if image is not None:
            found.setdefault(image, os.path.join(at, name))
    return found


def categories(root: Path) -> dict[int, str]:
    """The content category of every id in a category's list."""
    found = {}
    for category in CATEGORIES:
        for part in ("train", "test"):
            path = root / LISTS / f"{category}_{part}.jpgl"
            if path.is_file():
                found.update(dict.fromkeys(read_list(path), category))
    return found


def load_ava(
    root: Path, images: Path | None = None, *, delta: float = 0.0, category: str | None = None, attributes: bool = False,
    parts: Parts = DEALT,
) -> DataSet:  # fmt: skip
    """Read AVA's aesthetics: high where the mean rating is above 5.

    The split is the official one: generic_test against all other ids. A list generic_val.jpgl beside it (of a category
    CATEGORY_val.jpgl) is the part for validation, or `parts.val` draws one from the training ids; it keeps photographs of every
    mean, as the test set does.

    Args:
        root: AVA's folder.
        images: The folder of the photographs; None is `root`.
        delta: Training photographs with a mean within (5 - delta, 5 + delta) are left out; the test set keeps all
            (docs/ava.md#labels).
        category: One of the eight, with its own lists; None takes the generic ones.
        attributes: The style of those photographs of the style lists' training part is a second label (paper eq. 3).
        parts: Its `val` is the share to draw for validation.

    Returns:
        The set.

    Raises:
        ValueError: A file or an argument is wrong; the message names it.
        FileNotFoundError: A list is not there.
    """
    if not 0 <= delta <= 5:
        raise ValueError(f"delta must lie in 0 to 5, got {delta}")
    if category is not None and category not in CATEGORIES:
        raise ValueError(f"category must be one of {', '.join(CATEGORIES)}; got {category!r}")
    ratings = read_ratings(root / "AVA.txt")
    means = dict(zip(ratings.ids.tolist(), ratings.means.tolist(), strict=True))
    name = category or "generic"
    test = read_list(root / LISTS / f"{name}_test.jpgl")
    held_out = set(test)
    listed = [i for i in means if i not in held_out] if category is None else read_list(root / LISTS / f"{name}_train.jpgl")
    own = root / LISTS / f"{name}_val.jpgl"
    train, val, notes = _with_val(listed, read_list(own) if own.is_file() else [], parts, lambda i: means.get(i, 0) > THRESHOLD)
    unrated = [i for i in (*train, *val, *test) if i not in means]
    kept = [i for i in train if i in means and (delta == 0 or abs(means[i] - THRESHOLD) >= delta)]
    files, shown = photographs(images or root), categories(root)
    votes = dict(zip(ratings.ids.tolist(), ratings.votes, strict=True))
    styles = _single_styles(root) if attributes else {}
    missing: list[str] = []

    def examples(ids: list[int]) -> tuple[Example, ...]:
        made = []
        for i in ids:
            if i not in means:
                continue
            if i not in files:
                missing.append(str(i))
                continue
            mean = means[i]
            label, attribute = int(mean > THRESHOLD), styles.get(i, -1)
            given = tuple(votes[i].tolist())
            made.append(Example(files[i], str(i), label, mean, attribute=attribute, category=shown.get(i, ""), votes=given))
        return tuple(made)

    notes += [f"{len(unrated)} listed ids have no ratings"] if unrated else []
    ties = sum(means[i] == THRESHOLD for i in (*kept, *val, *test) if i in means)
    if ties:
        notes.append(f"{ties} photographs have a mean of exactly 5 and count as low")
    if delta:
        notes.append(f"delta {delta:g} leaves {len(kept)} of {len(train)} training photographs")
    made = examples(kept), examples(val), examples(test)
    return DataSet(
        LABELS, made[0], made[2], STYLES if attributes else (), tuple(missing), tuple(notes), threshold=THRESHOLD,
        positive=LABELS[1], val=made[1],
    )  # fmt: skip


def _with_val(
    train: list[int], val: list[int], parts: Parts, label: Callable[[int], int]
) -> tuple[list[int], list[int], list[str]]:
    """The ids to train on, those for validation (from their own list, or drawn as `parts` says), and the notes."""
    own = set(val)
    ids = [*val, *(i for i in train if i not in own)]
    part = np.array(["val"] * len(val) + ["train"] * (len(ids) - len(val)), dtype=object)
    part = parts.with_val(part, [int(label(i)) for i in ids], [""] * len(ids), list(map(str, ids)))
    found = {name: [i for i, its in zip(ids, part, strict=True) if its == name] for name in PARTS}
    return found["train"], found["val"], drawn_notes(part, parts)


@dataclass(frozen=True)
class StyleLists:
    """train: each id with its one style, 0 to 13. test: each id with all its styles, possibly none."""

    train: dict[int, int]
    test: dict[int, tuple[int, ...]]


def read_styles(root: Path) -> StyleLists:
    """The style lists. Raises ValueError where the two files of a pair differ in length, or a line is wrong."""
    folder = root / STYLE_LISTS
    train, test = read_list(folder / "train.jpgl"), read_list(folder / "test.jpgl")
    labels = read_list(folder / "train.lab")
    lines = (folder / "test.multilab").read_text(encoding="utf-8-sig", errors="replace").splitlines()
    rows = [line.split() for line in lines if line.strip()]
    for name, ids, found in (("train.lab", train, labels), ("test.multilab", test, rows)):
        if len(ids) != len(found):
            raise ValueError(f"{folder / name}: must have a line for each of {len(ids)} ids, got {len(found)}")
    if any(not 1 <= label <= len(STYLES) for label in labels):
        raise ValueError(f"{folder / 'train.lab'}: styles must be 1 to {len(STYLES)}")
    if any(len(row) != len(STYLES) or set(row) - {"0", "1"} for row in rows):
        raise ValueError(f"{folder / 'test.multilab'}: every line must have {len(STYLES)} numbers 0 or 1")
    truth = [tuple(index for index, value in enumerate(row) if value == "1") for row in rows]
    return StyleLists({i: label - 1 for i, label in zip(train, labels, strict=True)}, dict(zip(test, truth, strict=True)))


def load_ava_style(
    root: Path, images: Path | None = None, *, exclude_test_overlap: bool = False, drop_unlabelled: bool = False,
    parts: Parts = DEALT,
) -> DataSet:  # fmt: skip
    """Read AVA's styles: 14 classes; one label a training photograph, any number a test photograph (`Example.truth`).

    Args:
        root: AVA's folder.
        images: The folder of the photographs; None is `root`.
        exclude_test_overlap: Leave out training photographs that are in the aesthetics test set, on which a network with a
            frozen style column is measured (docs/ava.md#styles); a note gives their number.
        drop_unlabelled: Leave out test photographs without any style, whose predictions are never right (their `label` is -1).
        parts: Its `val` draws some to train on for validation.

    Returns:
        The set.

    Raises:
        ValueError: A file or an argument is wrong; the message names it.
        FileNotFoundError: A list is not there.
    """
    lists, files, shown = read_styles(root), photographs(images or root), categories(root)
    path = root / LISTS / "generic_test.jpgl"
    generic = set(read_list(path)) if path.is_file() else set()
    overlap = generic & set(lists.train)
    notes = [
        f"{len(overlap)} training and {len(generic & set(lists.test))} test photographs are in the aesthetics test set"
        + (", the former left out" if exclude_test_overlap else "")
    ]
    unlabelled = sum(not truth for truth in lists.test.values())
    if unlabelled:
        notes.append(f"{unlabelled} test photographs have no style" + (", left out" if drop_unlabelled else ""))
    missing: list[str] = []

    def example(i: int, truth: tuple[int, ...]) -> Example | None:
        if i not in files:
            missing.append(str(i))
            return None
        return Example(files[i], str(i), truth[0] if truth else -1, truth=truth, category=shown.get(i, ""))

    listed = [i for i in lists.train if not (exclude_test_overlap and i in overlap)]
    chosen, drawn, told = _with_val(listed, [], parts, lists.train.__getitem__)
    train, val = ([example(i, (lists.train[i],)) for i in ids] for ids in (chosen, drawn))
    test = [example(i, truth) for i, truth in lists.test.items() if truth or not drop_unlabelled]
    return DataSet(
        STYLES, tuple(e for e in train if e), tuple(e for e in test if e), missing=tuple(missing), notes=(*notes, *told),
        val=tuple(e for e in val if e),
    )  # fmt: skip


def _single_styles(root: Path) -> Mapping[int, int]:
    return read_styles(root).train


def _first_long_line(path: Path) -> int:
    """The number of the first line too long for 15 integers, 0 where there is none."""
    with path.open("rb") as file:
        number = 0
        while line := file.readline(_LONGEST_LINE + 1):
            number += 1
            if len(line) > _LONGEST_LINE:
                return number
    return 0


def _is_int64(word: str) -> bool:
    digits = word.removeprefix("-").removeprefix("+")
    return digits.isascii() and digits.isdecimal() and len(digits) <= _MOST_DIGITS + 1 and -(2**63) <= int(word) < 2**63


def _first_bad_line(path: Path) -> str:
    """A description of the fault in the first line that is not 15 integers."""
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        for number, line in enumerate(file, 1):
            words = line.split()
            if words and (len(words) != _COLUMNS or not all(map(_is_int64, words))):
                return f"line {number} must be {_COLUMNS} integers, got {line.strip()[:60]!r}"
    return "the file must have a line of 15 integers for each image, got none"
