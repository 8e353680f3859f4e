"""Records of a data set's path and of how to read it, one class for each kind; `sets.open_dataset` opens it."""

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
    """A data set at a path; `Ava`, `AvaStyle`, `Iad`, `Folders` and `Csv` are its kinds.

    Args:
        path: A folder or a file, as the kind has it; here and in images text is taken for the path that it names.
        parts: The part to hold out of a set without a split of its own, and the share of the training part that is drawn for
            validation.
        by: "quality", or "category" for a set whose labels are the categories of its photographs (`by_category`).

    Raises:
        TypeError: A value is neither a path nor text; the message names the argument.
    """

    kind: ClassVar[str]
    is_file: ClassVar[bool] = False  # false: the path is a folder
    is_dealt: ClassVar[bool] = True  # false: the set has a split of its own
    is_listed: ClassVar[bool] = True  # whether a list may name one photograph twice, under two names

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
        """Read the set as its files have it, unchecked.

        Returns:
            The set.

        Raises:
            ValueError: A file or an argument is wrong; the message names it.
            FileNotFoundError: A file of the set is missing.
        """
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Ava(Source):
    """AVA's folder, with AVA.txt and the lists of photographs: high where the mean rating is above 5.

    The split is the official one: generic_test against all other ids. A list generic_val.jpgl beside it (of a category
    CATEGORY_val.jpgl) is the part for validation, or `parts.val` draws one from the training ids.

    Args:
        path: The folder with AVA.txt.
        parts: Its `val` is the share of the training ids to draw for validation, where no list names them.
        by: "quality", or "category" as in `Source`.
        images: The folder of the photographs; None is `path`.
        delta: Training photographs with a mean within (5 - delta, 5 + delta) are left out; the test set and the part for
            validation keep all (docs/ava.md#labels).
        category: One of the eight, with its own lists; None takes the generic ones.
        attributes: The style of those photographs of the style lists' training part is a second label (paper eq. 3).

    Source:
        docs/ava.md#labels
    """

    kind = "ava"
    is_dealt = is_listed = False
    images: Path | None = None
    delta: float = 0.0
    category: str | None = None
    attributes: bool = False

    def load(self) -> DataSet:
        """Read the set, as `Source.load`.

        Returns:
            The set, unchecked.
        """
        return load_ava(
            self.path, self.images, delta=self.delta, category=self.category, attributes=self.attributes, parts=self.parts
        )


@dataclass(frozen=True, kw_only=True)
class AvaStyle(Source):
    """AVA's folder, for its style lists: 14 classes, one label a training photograph, any number a test photograph.

    The labels of a test photograph are its `Example.truth`.

    Args:
        path: The folder with the style lists.
        parts: Its `val` is the share of the training photographs to draw for validation.
        by: "quality", or "category" as in `Source`.
        images: The folder of the photographs; None is `path`.
        exclude_test_overlap: Leave out training photographs that are in the aesthetics test set, on which a network with a
            frozen style column is measured (docs/ava.md#styles); a note gives their number.
        drop_unlabelled: Leave out test photographs without any style, whose predictions are never right (their `label` is -1).

    Source:
        docs/ava.md#styles
    """

    kind = "ava-style"
    is_dealt = is_listed = False
    images: Path | None = None
    exclude_test_overlap: bool = False
    drop_unlabelled: bool = False

    def load(self) -> DataSet:
        """Read the set, as `Source.load`.

        Returns:
            The set, unchecked.
        """
        return load_ava_style(
            self.path, self.images, exclude_test_overlap=self.exclude_test_overlap, drop_unlabelled=self.drop_unlabelled,
            parts=self.parts,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Iad(Source):
    """IAD's CSV file (paper III-F): path, source ("photonet" or "dpchallenge"), rating, and perhaps split.

    A photograph's category is its source, unless there is a column for it.

    Args:
        path: The CSV file.
        parts: The part to hold out where there is no split column, and the share of the training part to draw for validation.
        by: "quality", or "category" as in `Source`.
        images: The folder of the photographs; None is the file's.
        columns: The names of columns, from a meaning to the file's own name for it.
        variant: "threshold" is high above 4.88 of PHOTO.NET's 1 to 7 and above 5 of DPChallenge's 1 to 10. "extremes" keeps in
            the training part each source's best and worst fifth as high and low (the paper does not say whether it took them
            source by source; their scales differ), and in the parts held out everything, labelled by the thresholds.
    """

    kind = "iad"
    is_file = True
    images: Path | None = None
    columns: Mapping[str, str] | None = None
    variant: str = "threshold"

    def load(self) -> DataSet:
        """Read the set, as `Source.load`.

        Returns:
            The set, unchecked.
        """
        return load_iad(self.path, self.images, columns=self.columns, variant=self.variant, parts=self.parts)


@dataclass(frozen=True, kw_only=True)
class Folders(Source):
    """A folder with one for each label, directly below it or below its train and test, and perhaps val (or valid, validation).

    Labels are in the order of their names, but of two the better one is last. Photographs may lie in subfolders.

    Args:
        path: The folder.
        parts: The part to hold out where the set has no folders train and test, and the share of the training part to draw for
            validation.
        by: "quality", or "category" as in `Source`.
        positive: The better one of two labels; None: by their names, where these tell.
    """

    kind = "folders"
    positive: str | None = None

    def load(self) -> DataSet:
        """Read the set, as `Source.load`.

        Returns:
            The set, unchecked.
        """
        return load_folders(self.path, positive=self.positive, parts=self.parts)


@dataclass(frozen=True, kw_only=True)
class Csv(Source):
    """A CSV file of labels, ratings or votes, with a row for each photograph.

    Its columns are path; then label, or rating, or r1 to r10, a histogram of votes; and, where there, group, category, split
    ("train", "val" or "test") and attribute.

    Args:
        path: The CSV file.
        parts: The part to hold out where there is no split column, and the share of the training part to draw for validation.
        by: "quality", or "category" as in `Source`.
        images: The folder that paths start from; None is the file's.
        columns: The names of columns, from a meaning to the file's own name for it.
        threshold: Ratings above it are high. None is the median of the training part as it is listed, photographs that are not
            there included, or of the whole set where all of it is held out, which a note tells; where every row says "test"
            there is none, and no photograph has a label.
        positive: The better one of two labels; None: by their names, where these tell.
        category: Take only its rows, with the whole set's split and threshold; None takes all.
        attributes: The attribute column is a second label (paper eq. 3).
    """

    kind = "csv"
    is_file = True
    images: Path | None = None
    columns: Mapping[str, str] | None = None
    threshold: float | None = None
    positive: str | None = None
    category: str | None = None
    attributes: bool = False

    def load(self) -> DataSet:
        """Read the set, as `Source.load`.

        Returns:
            The set, unchecked.
        """
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
