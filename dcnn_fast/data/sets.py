"""Opens data sets by path; the kind follows from the files found there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dcnn_fast.data.examples import DataSet, by_category
from dcnn_fast.data.fields import NAMES, Table
from dcnn_fast.data.leaks import require_apart
from dcnn_fast.data.sources import SOURCES, Csv, Source, SourceOptions
from dcnn_fast.data.splits import Parts
from dcnn_fast.data.spreadsheets import read_sheet
from dcnn_fast.data.tables import IAD_THRESHOLDS, written_elsewhere
from dcnn_fast.printable import quoted

if TYPE_CHECKING:
    from typing_extensions import Unpack

KINDS = tuple(SOURCES)
_LABELS = ("quality", "category")
_MOST_SEED = 2**32 - 1  # scikit-learn's bound
_SPLIT = tuple(field.name for field in fields(Parts))
_OTHERWISE = ("path", "parts")  # fields of a source that are no options; `parts` is made of its fields' options


def kind_of(path: Path, columns: Mapping[str, str] | None = None) -> str:
    """The kind of set at `path`: "iad" for a CSV file with IAD's sources, else "csv"; "ava" or "folders" for a folder.

    columns: names of a CSV file's columns, as `load_set` takes them. Raises ValueError where `path` is neither a folder nor a
    CSV file.
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
    """Whether one threshold, which may be chosen, makes labels of ratings: for a CSV file without a column of labels."""
    if by != "quality" or not path.is_file() or (kind_of(path, columns) if kind is None else kind) != "csv":
        return False
    return not Table(path, columns).has("label")


def open_dataset(source: Source) -> DataSet:
    """Read and check the data set of a source.

    Photographs that are listed and not there are named in `missing`.

    Args:
        source: An `Ava`, `AvaStyle`, `Iad`, `Folders` or `Csv`.

    Returns:
        The set.

    Raises:
        ValueError: The message names the field of the source or the file: a path that is none of its kind, a field that would
            change nothing, a photograph that is in two parts, ratings that have no threshold, and a set without any
            photograph, too.
    """
    _require_sense(source)
    try:
        found = source.load()
    except FileNotFoundError as error:
        raise ValueError(f"{error.filename}: a set of kind {source.kind} must have this file") from None
    _require_photographs(source.path, found)
    require_apart(found, files=source.is_listed)
    if source.by == "category":
        return by_category(found)
    if isinstance(source, Csv) and all(example.label < 0 for example in found.examples):
        raise ValueError(
            f"{source.path}: threshold must say which ratings are high, as no row to train on has a median; got none"
        )
    return replace(found, notes=(*found.notes, *_of_labels(source.kind, found)))


def source_at(path: str | os.PathLike[str], kind: str | None = None, **options: Unpack[SourceOptions]) -> Source:
    """Make the source for the data set at `path`.

    Args:
        path: A folder or a CSV file, which must exist.
        kind: One of `KINDS`: "ava", "ava-style", "iad", "folders" or "csv"; None: the kind found at `path`.
        **options: Fields of the kind's source, except that the fields of its `Parts` stand directly beside them.

    Returns:
        An `Ava`, `AvaStyle`, `Iad`, `Folders` or `Csv`.

    Raises:
        ValueError: The path does not exist or has no set, the kind is none, or an option that only other kinds have differs
            from its default.
        TypeError: No kind has an option of this name.
    """
    where = Path(path)
    if not where.exists():
        raise ValueError(f"path must exist, got {where}")
    kind = kind_of(where, options.get("columns")) if kind is None else kind
    if kind not in SOURCES:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}; got {kind!r}")
    given: dict[str, Any] = dict(options)
    parts = {name: given.pop(name) for name in _SPLIT if name in given}
    own = {field.name for field in fields(SOURCES[kind])}
    neutral = {field.name: field.default for each in SOURCES.values() for field in fields(each) if field.name not in _OTHERWISE}
    for name, value in given.items():
        if name not in neutral:
            raise TypeError(f"an option of a data set must be one of {', '.join(sorted({*neutral, *_SPLIT}))}; got {name!r}")
        if name not in own and value != neutral[name]:
            raise ValueError(f"{name} must not be given for a set of kind {kind}, got {quoted(value)}")
    return SOURCES[kind](where, parts=Parts(**parts), **{name: value for name, value in given.items() if name in own})


def load_set(path: str | os.PathLike[str], kind: str | None = None, **options: Unpack[SourceOptions]) -> DataSet:
    """Read the set at `path`: AVA or its styles, IAD, a folder for each label or a CSV file.

    The same as `open_dataset` of `source_at`.

    Args:
        path: A folder or a CSV file.
        kind: One of `KINDS`: "ava", "ava-style", "iad", "folders" or "csv"; None: the kind found at `path`.
        **options: by: "quality", or "category" for a set whose labels are the categories of its photographs (`by_category`).
            fold, folds, seed: the part to hold out of a set without a split of its own, part 0 of 5 by the seed 0 unless they
            say otherwise; the seed is one from 0 to 2**32 - 1. val: the share of the training part that is drawn, by the seed
            and never through a group, as a part for validation, of a set that has none of its own. unsplit: "fold" deals a set
            without a split so, "train" and "test" take all of it as that. Other options are the fields of `Ava`, `AvaStyle`,
            `Iad`, `Folders` and `Csv`.

    Returns:
        The set.

    Raises:
        ValueError: As `source_at` and `open_dataset` raise it.
        TypeError: As `source_at` raises it.
    """
    return open_dataset(source_at(path, kind, **options))


def _require_sense(source: Source) -> None:
    """Require a path and fields that suit the source's kind. Raises ValueError naming the first that does not."""
    kind, parts, where = source.kind, source.parts, source.path
    if source.by not in _LABELS:
        raise ValueError(f"by must be one of {', '.join(_LABELS)}; got {source.by!r}")
    if not (where.is_file() if source.is_file else where.is_dir()):
        wanted = "file" if source.is_file else "folder"
        raise ValueError(f"path must be a {wanted} for a set of kind {kind}, got {where}")
    if parts.seed is not None and not 0 <= parts.seed <= _MOST_SEED:
        raise ValueError(f"seed must be an integer from 0 to {_MOST_SEED}, got {parts.seed}")
    for name in parts.given if not source.is_dealt else ():
        if name != "seed" or parts.val is None:
            raise ValueError(f"{name} must not be given for a set of kind {kind}, got {quoted(getattr(parts, name))}")
    for name in ("threshold", "positive") if source.by == "category" else ():
        if getattr(source, name, None) is not None:
            raise ValueError(f"{name} must not be given for labels by category, got {quoted(getattr(source, name))}")


def _require_photographs(where: Path, found: DataSet) -> None:
    if found.examples:
        return
    first = f"; the first is {quoted(found.missing[0])}{written_elsewhere(found.missing[0])}" if found.missing else ""
    raise ValueError(f"{where}: must have photographs, got none of {len(found.missing)} listed{first}")


def _of_labels(kind: str, found: DataSet) -> list[str]:
    """Notes on parts whose photographs all have one label."""
    notes = []
    train, val, test = ({example.label for example in part} - {-1} for part in (found.train, found.val, found.test))
    if len(train) == 1 and kind != "ava-style":
        notes.append(f"every photograph to train on is {found.labels[next(iter(train))]}")
    if len(val) == 1 and kind != "ava-style":
        notes.append(f"every photograph for validation is {found.labels[next(iter(val))]}: there is no AUC of them")
    if len(test) == 1 and kind != "ava-style":
        notes.append(f"every photograph that is held out is {found.labels[next(iter(test))]}: there is no AUC of them")
    return notes
