"""Examples for training and evaluation: photographs with labels and ratings, in parts to train on and to hold out."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Example:
    """One photograph and its known labels, ratings and votes.

    Args:
        source: Anything that `data.read` takes, a path where it lies on a disk.
        key: Its name in reports, unique in its set (an image id, a path below the set's folder).
        label: Its index in `DataSet.labels`, -1 where it has none.
        rating: The mean rating, NaN where it has none.
        truth: Every label that is right, where several may be (AVA's style test); empty means `label` alone.
        attribute: A second label, an index in `DataSet.attributes`, -1 where it has none (the multi-task loss, paper eq. 3).
        category: The name of its subject's category, empty where it is not known.
        group: The name of its group, empty for none; examples of one group are never split between parts.
        votes: The number of people who gave each of the ratings 1 to 10, or their shares; empty where that is not known.
    """

    source: Any
    key: str
    label: int
    rating: float = math.nan
    truth: tuple[int, ...] = ()
    attribute: int = -1
    category: str = ""
    group: str = ""
    votes: tuple[float, ...] = ()


@dataclass(frozen=True)
class Fold:
    """The part of a set that is held out.

    Attributes:
        number: The part's number, counted from 0.
        of: The number of parts.
        seed: The seed that deals them.
    """

    number: int
    of: int
    seed: int


@dataclass(frozen=True)
class DataSet:
    """Examples to train on, to choose by (`val`, which few sets have) and to test on.

    Args:
        labels: The classes by name.
        train: The examples to train on.
        test: The examples to test on.
        attributes: The labels of the second task by name, or none.
        missing: The keys of listed photographs that are not there.
        notes: Remarks for the user on how the set was read.
        threshold: Ratings above it have the label `high`; None where labels are not made of ratings, or not by one threshold.
        positive: The better one of two labels where it is known or told; sets are read with it as the last one, a model may
            have it first.
        fold: The part that is held out, None where the set has a split of its own or is all one part.
        val: The examples for validation, often none.
    """

    labels: tuple[str, ...]
    train: tuple[Example, ...]
    test: tuple[Example, ...]
    attributes: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    threshold: float | None = None
    positive: str | None = None
    fold: Fold | None = None
    val: tuple[Example, ...] = ()

    @property
    def parts(self) -> dict[str, tuple[Example, ...]]:
        """The parts by name, "train", "val" and "test"; "val" is absent where no examples are for validation."""
        return {"train": self.train, **({"val": self.val} if self.val else {}), "test": self.test}

    @property
    def high(self) -> int:
        """The index of the better one of two labels: `positive`, or the last one where that is not known."""
        return len(self.labels) - 1 if self.positive is None else self.labels.index(self.positive)

    @property
    def examples(self) -> tuple[Example, ...]:
        """The examples of all parts, part after part."""
        return (*self.train, *self.val, *self.test)

    @property
    def categories(self) -> tuple[str, ...]:
        """The names of the photographs' categories, sorted."""
        return tuple(sorted({example.category for example in self.examples} - {""}))


def by_category(data: DataSet) -> DataSet:
    """Make a photograph's category its label; photographs without a known category are left out, and so are ratings.

    Args:
        data: A set whose examples have categories.

    Returns:
        A set with the categories as its labels.

    Raises:
        ValueError: Fewer than two categories are known.
    """
    labels = data.categories
    if len(labels) < 2:
        raise ValueError(f"the set must say of its photographs which of two categories or more they show, got {len(labels)}")
    number = {label: index for index, label in enumerate(labels)}
    train, val, test = (
        tuple(
            replace(e, label=number[e.category], truth=(), attribute=-1, rating=math.nan, votes=()) for e in part if e.category
        )
        for part in (data.train, data.val, data.test)
    )
    return DataSet(labels, train, test, missing=data.missing, fold=data.fold, val=val)
