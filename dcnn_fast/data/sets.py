"""Data sets by what lies at a path."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from dcnn_fast.data.ava import load_ava, load_ava_style
from dcnn_fast.data.class_folders import load_folders
from dcnn_fast.data.examples import DataSet, by_category
from dcnn_fast.data.spreadsheets import read_sheet
from dcnn_fast.data.tables import IAD_THRESHOLDS, NAMES, load_iad, load_table

KINDS = ("ava", "ava-style", "iad", "folders", "csv")
_LABELS = ("quality", "category")
_MOST_SEED = 2**32 - 1  # scikit-learn's
_SPLIT = {"fold": 0, "folds": 5, "seed": 0}
# What each kind takes beside the path, with what it is unless it is given.
_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "ava": {"images": None, "delta": 0.0, "category": None, "attributes": False},
    "ava-style": {"images": None, "exclude_test_overlap": False, "drop_unlabelled": False},
    "iad": {"images": None, "columns": None, "variant": "threshold", **_SPLIT},
    "folders": {**_SPLIT},
    "csv": {"images": None, "columns": None, "threshold": None, "category": None, "attributes": False, **_SPLIT},
}
_LOADERS: Mapping[str, Any] = {
    "ava": load_ava, "ava-style": load_ava_style, "iad": load_iad, "folders": load_folders, "csv": load_table,
}  # fmt: skip


def kind_of(path: Path) -> str:
    """The kind of set at `path`: a CSV file is "iad" where its sources are IAD's, else "csv"; a folder is "ava" or "folders".

    Raises ValueError where it is neither, or the file no CSV file.
    """
    if path.is_file() and path.suffix.lower() == ".csv":
        rows = read_sheet(path, NAMES["path"]).rows
        sources = {row.get("source") for row in rows}
        return "iad" if sources and sources <= set(IAD_THRESHOLDS) else "csv"
    if (path / "AVA.txt").is_file():
        return "ava"
    if path.is_dir():
        return "folders"
    raise ValueError(f"path must be a folder or a CSV file, got {path}")


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
    columns: Mapping[str, str] | None = None,
    variant: str = "threshold",
    fold: int = 0,
    folds: int = 5,
    seed: int = 0,
    by: str = "quality",
) -> DataSet:
    """The set at `path`: AVA or its styles (`load_ava`, `load_ava_style`), IAD (`load_iad`), a folder for each label
    (`load_folders`) or a CSV file (`load_table`), which say what the options mean.

    by: "quality", or "category" for a set whose labels are what photographs show (`by_category`). kind: one of `KINDS`; None
    is what lies there. seed: of the parts that take turns, from 0 to 2**32 - 1. Photographs that are listed and not there are
    counted in `missing`. Raises ValueError naming the argument or the file: an option that the kind does not have, too, and a
    set without any photograph.
    """
    if by not in _LABELS:
        raise ValueError(f"by must be one of {', '.join(_LABELS)}; got {by!r}")
    where = Path(path)
    if not where.exists():
        raise ValueError(f"path must exist, got {where}")
    kind = kind_of(where) if kind is None else kind
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}; got {kind!r}")
    given = {
        "images": None if images is None else Path(images), "delta": delta, "category": category, "attributes": attributes,
        "exclude_test_overlap": exclude_test_overlap, "drop_unlabelled": drop_unlabelled, "threshold": threshold,
        "columns": columns, "variant": variant, "fold": fold, "folds": folds, "seed": seed,
    }  # fmt: skip
    wanted = "file" if kind in ("csv", "iad") else "folder"
    if not (where.is_file() if wanted == "file" else where.is_dir()):
        raise ValueError(f"path must be a {wanted} for a set of kind {kind}, got {where}")
    if not 0 <= seed <= _MOST_SEED:
        raise ValueError(f"seed must be an integer from 0 to {_MOST_SEED}, got {seed}")
    known = _OPTIONS[kind]
    neutral = {name: value for options in _OPTIONS.values() for name, value in options.items()}
    for name, value in given.items():
        if name not in known and name not in _SPLIT and value != neutral[name]:
            raise ValueError(f"{name} must not be given for a set of kind {kind}, got {value!r}")
    try:
        found: DataSet = _LOADERS[kind](where, **{name: given[name] for name in known})
    except FileNotFoundError as error:
        raise ValueError(f"{error.filename}: a set of kind {kind} must have this file") from None
    if not found.train and not found.test:
        raise ValueError(f"{where}: must have photographs, got none of {len(found.missing)} listed")
    if len({example.label for example in found.train}) == 1 and kind != "ava-style":
        (only,) = {example.label for example in found.train}
        found = replace(found, notes=(*found.notes, f"every photograph to train on is {found.labels[only]}"))
    return by_category(found) if by == "category" else found
