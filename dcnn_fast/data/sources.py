"""Where a data set lies and how it is read, a record for each kind: `sets.open_dataset` opens it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import ClassVar, TypedDict

from dcnn_fast.data.ava import load_ava, load_ava_style
from dcnn_fast.data.class_folders import load_folders
from dcnn_fast.data.examples import DataSet
from dcnn_fast.data.splits import DEALT, Parts, Unsplit
from dcnn_fast.data.tables import load_iad, load_table


@dataclass(frozen=True)
class Source:
    """A data set at a path.

    path: a folder or a file, as the kind has it; here and in images text is taken for the path that it names. parts: the part
    to hold out of a set without a split of its own, and the share of the training part that is drawn for validation. by:
    "quality", or "category" for a set whose labels are what photographs show (`examples.by_category`).
    """

    kind: ClassVar[str]
    is_file: ClassVar[bool] = False  # otherwise it is a folder
    is_dealt: ClassVar[bool] = True  # otherwise it has a split of its own
    is_listed: ClassVar[bool] = True  # whether anybody may have listed a photograph under two names

    path: Path
    _: KW_ONLY
    parts: Parts = DEALT
    by: str = "quality"

    def __post_init__(self) -> None:
        """Make paths of texts. Raises TypeError for a value that is neither, by its name."""
        for name in ("path", "images"):
            value = getattr(self, name, None)
            if value is not None or name == "path":
                object.__setattr__(self, name, _path(name, value))

    def load(self) -> DataSet:
        """The set as its files have it, unchecked. Raises ValueError naming a file or an argument, or FileNotFoundError."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Ava(Source):
    """AVA's folder, with AVA.txt and the lists of photographs: `load_ava` says what the options mean."""

    kind = "ava"
    is_dealt = is_listed = False
    images: Path | None = None
    delta: float = 0.0
    category: str | None = None
    attributes: bool = False

    def load(self) -> DataSet:
        """As of the class."""
        return load_ava(
            self.path, self.images, delta=self.delta, category=self.category, attributes=self.attributes, parts=self.parts
        )


@dataclass(frozen=True, kw_only=True)
class AvaStyle(Source):
    """AVA's folder, for its style lists: `load_ava_style` says what the options mean."""

    kind = "ava-style"
    is_dealt = is_listed = False
    images: Path | None = None
    exclude_test_overlap: bool = False
    drop_unlabelled: bool = False

    def load(self) -> DataSet:
        """As of the class."""
        return load_ava_style(
            self.path, self.images, exclude_test_overlap=self.exclude_test_overlap, drop_unlabelled=self.drop_unlabelled,
            parts=self.parts,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Iad(Source):
    """IAD's CSV file: `load_iad` says what the options mean."""

    kind = "iad"
    is_file = True
    images: Path | None = None
    columns: Mapping[str, str] | None = None
    variant: str = "threshold"

    def load(self) -> DataSet:
        """As of the class."""
        return load_iad(self.path, self.images, columns=self.columns, variant=self.variant, parts=self.parts)


@dataclass(frozen=True, kw_only=True)
class Folders(Source):
    """A folder with one for each label: `load_folders` says what the options mean."""

    kind = "folders"
    positive: str | None = None

    def load(self) -> DataSet:
        """As of the class."""
        return load_folders(self.path, positive=self.positive, parts=self.parts)


@dataclass(frozen=True, kw_only=True)
class Csv(Source):
    """A CSV file of labels, ratings or votes: `load_table` says what the options mean."""

    kind = "csv"
    is_file = True
    images: Path | None = None
    columns: Mapping[str, str] | None = None
    threshold: float | None = None
    positive: str | None = None
    category: str | None = None
    attributes: bool = False

    def load(self) -> DataSet:
        """As of the class."""
        return load_table(
            self.path, self.images, columns=self.columns, threshold=self.threshold, positive=self.positive,
            category=self.category, attributes=self.attributes, parts=self.parts,
        )  # fmt: skip


def _path(name: str, value: object) -> Path:
    if not isinstance(value, str | os.PathLike) or not isinstance(os.fspath(value), str):
        raise TypeError(f"{name} must be a path or its text, got {type(value).__name__}")
    return Path(value)


class SourceOptions(TypedDict, total=False):
    """The options of `sets.source_at` and `sets.load_set`: fields of the sources, and those of their `Parts` beside them."""

    by: str
    images: str | os.PathLike[str] | None
    columns: Mapping[str, str] | None
    delta: float
    category: str | None
    attributes: bool
    exclude_test_overlap: bool
    drop_unlabelled: bool
    variant: str
    threshold: float | None
    positive: str | None
    fold: int | None
    folds: int | None
    seed: int | None
    unsplit: Unsplit
    val: float | None


SOURCES: Mapping[str, type[Source]] = {each.kind: each for each in (Ava, AvaStyle, Iad, Folders, Csv)}
