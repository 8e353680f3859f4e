"""Data sets by what lies at a path."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from dcnn_fast.data.ava import load_ava, load_ava_style
from dcnn_fast.data.class_folders import load_folders
from dcnn_fast.data.columns import NAMES, Table
from dcnn_fast.data.examples import DataSet, by_category
from dcnn_fast.data.leaks import require_apart
from dcnn_fast.data.splits import Parts, Unsplit
from dcnn_fast.data.spreadsheets import read_sheet
from dcnn_fast.data.tables import IAD_THRESHOLDS, load_iad, load_table, written_elsewhere
from dcnn_fast.printable import quoted

KINDS = ("ava", "ava-style", "iad", "folders", "csv")
_LABELS = ("quality", "category")
_MOST_SEED = 2**32 - 1  # scikit-learn's
_SPLIT = {"fold": None, "folds": None, "seed": None, "val": None}
_LISTED = ("csv", "iad", "folders")  # kinds whose photographs anybody may have listed under two names
# What each kind takes beside the path, with what it is unless it is given.
_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "ava": {"images": None, "delta": 0.0, "category": None, "attributes": False, "val": None},
    "ava-style": {"images": None, "exclude_test_overlap": False, "drop_unlabelled": False, "val": None},
    "iad": {"images": None, "columns": None, "variant": "threshold", **_SPLIT},
    "folders": {"positive": None, **_SPLIT},
    "csv": {
        "images": None, "columns": None, "threshold": None, "positive": None, "category": None, "attributes": False, **_SPLIT,
    },
}  # fmt: skip
_LOADERS: Mapping[str, Any] = {
    "ava": load_ava, "ava-style": load_ava_style, "iad": load_iad, "folders": load_folders, "csv": load_table,
}  # fmt: skip


def kind_of(path: Path, columns: Mapping[str, str] | None = None) -> str:
    """The kind of set at `path`: a CSV file is "iad" where its sources are IAD's, else "csv"; a folder is "ava" or "folders".

    columns: names of a CSV file's columns, as `load_set` has them. Raises ValueError where it is neither, or the file no CSV
    file.
    """
    if path.is_file() and path.suffix.lower() == ".csv":
        rows = read_sheet(path, {*NAMES["path"], *(columns or {}).values()}).rows
        sources = {row["source"] for row in rows}
        return "iad" if sources and sources <= set(IAD_THRESHOLDS) else "csv"
    if (path / "AVA.txt").is_file():
        return "ava"
    if path.is_dir():
        return "folders"
    raise ValueError(f"path must be a folder or a CSV file, got {path}")


def is_rated(path: Path, kind: str | None, columns: Mapping[str, str] | None, by: str = "quality") -> bool:
    """Whether labels are made of ratings by one threshold that may be chosen: of a CSV file without a column of labels."""
    if by != "quality" or not path.is_file() or (kind_of(path, columns) if kind is None else kind) != "csv":
        return False
    return not Table(path, columns).has("label")


def load_set(
    path: str | os.PathLike[str],
    kind: str | None = None,
    *,
    images: str | os.PathLike[str] | None = None,
    delta: float = 0.0,
    category: str | None = None,
    attributes: bool = False,
    exclude_test_overlap: bool = False,
    drop_unlabelled: bool = False,
    threshold: float | None = None,
    positive: str | None = None,
    columns: Mapping[str, str] | None = None,
    variant: str = "threshold",
    fold: int | None = None,
    folds: int | None = None,
    seed: int | None = None,
    val: float | None = None,
    unsplit: Unsplit = "fold",
    by: str = "quality",
) -> DataSet:
    """The set at `path`: AVA or its styles (`load_ava`, `load_ava_style`), IAD (`load_iad`), a folder for each label
    (`load_folders`) or a CSV file (`load_table`), which say what the options mean.

    by: "quality", or "category" for a set whose labels are what photographs show (`by_category`). kind: one of `KINDS`; None is
    what lies there. fold, folds, seed: of a set without a split of its own, part 0 of 5 by the seed 0 unless they say
    otherwise; the seed is one from 0 to 2**32 - 1. val: the share of the training part that is drawn, by the seed and never
    through a group, as a part for validation, of a set that has none of its own. unsplit: "fold" deals a set without a split
    so, "train" and "test" take all of it as that. Photographs that are listed and not there are counted in `missing`. Raises
    ValueError naming the argument or the file: an option that the kind does not have or that would change nothing, a photograph
    that is in two parts, ratings that have no threshold, and a set without any photograph, too.
    """
    if by not in _LABELS:
        raise ValueError(f"by must be one of {', '.join(_LABELS)}; got {by!r}")
    where = Path(path)
    if not where.exists():
        raise ValueError(f"path must exist, got {where}")
    kind = kind_of(where, columns) if kind is None else kind
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}; got {kind!r}")
    given = {
        "images": None if images is None else Path(images), "delta": delta, "category": category, "attributes": attributes,
        "exclude_test_overlap": exclude_test_overlap, "drop_unlabelled": drop_unlabelled, "threshold": threshold,
        "positive": positive, "columns": columns, "variant": variant, "fold": fold, "folds": folds, "seed": seed, "val": val,
    }  # fmt: skip
    wanted = "file" if kind in ("csv", "iad") else "folder"
    if not (where.is_file() if wanted == "file" else where.is_dir()):
        raise ValueError(f"path must be a {wanted} for a set of kind {kind}, got {where}")
    if seed is not None and not 0 <= seed <= _MOST_SEED:
        raise ValueError(f"seed must be an integer from 0 to {_MOST_SEED}, got {seed}")
    _require_of_use(kind, by, given)
    try:
        found = _loaded(where, kind, given, unsplit)
    except FileNotFoundError as error:
        raise ValueError(f"{error.filename}: a set of kind {kind} must have this file") from None
    _require_photographs(where, found)
    require_apart(found, files=kind in _LISTED)
    if by == "category":
        return by_category(found)
    if kind == "csv" and all(example.label < 0 for example in found.examples):
        raise ValueError(f"{where}: threshold must say which ratings are high, as no row to train on has a median; got none")
    return replace(found, notes=(*found.notes, *_of_labels(kind, found)))


def _require_of_use(kind: str, by: str, given: Mapping[str, Any]) -> None:
    """That every option says something of this kind of set. Raises ValueError naming the first that does not."""
    known = {*_OPTIONS[kind], *(["seed"] if given["val"] is not None else [])}
    neutral = {name: value for options in _OPTIONS.values() for name, value in options.items()}
    for name, value in given.items():
        if name not in known and value != neutral[name]:
            raise ValueError(f"{name} must not be given for a set of kind {kind}, got {quoted(value)}")
        if by == "category" and name in ("threshold", "positive") and value is not None:
            raise ValueError(f"{name} must not be given for labels by category, got {quoted(value)}")


def _loaded(where: Path, kind: str, given: Mapping[str, Any], unsplit: Unsplit) -> DataSet:
    options = {name: given[name] for name in _OPTIONS[kind] if name not in _SPLIT}
    options["parts"] = Parts(**{name: given[name] for name in _SPLIT}, unsplit=unsplit)
    found: DataSet = _LOADERS[kind](where, **options)
    return found


def _require_photographs(where: Path, found: DataSet) -> None:
    if found.examples:
        return
    first = f"; the first is {quoted(found.missing[0])}{written_elsewhere(found.missing[0])}" if found.missing else ""
    raise ValueError(f"{where}: must have photographs, got none of {len(found.missing)} listed{first}")


def _of_labels(kind: str, found: DataSet) -> list[str]:
    """What to know of the labels that photographs have."""
    notes = []
    train, val, test = ({example.label for example in part} - {-1} for part in (found.train, found.val, found.test))
    if len(train) == 1 and kind != "ava-style":
        notes.append(f"every photograph to train on is {found.labels[next(iter(train))]}")
    if len(val) == 1 and kind != "ava-style":
        notes.append(f"every photograph for validation is {found.labels[next(iter(val))]}: there is no AUC of them")
    if len(test) == 1 and kind != "ava-style":
        notes.append(f"every photograph that is held out is {found.labels[next(iter(test))]}: there is no AUC of them")
    return notes
