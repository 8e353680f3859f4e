"""What training and evaluation are given: photographs with what is known of them, in parts to train on and to hold out."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Example:
    """One photograph and what is known of it.

    source: what `data.read` takes, a path where it lies on a disk. key: its name in reports, unique in its set (an image id, a
    path below the set's folder). label: its index in `DataSet.labels`, -1 where it has none. rating: the mean rating, NaN where
    it has none. truth: every label that is right, where several may be (AVA's style test); empty means `label` alone.
    attribute: a second label, an index in `DataSet.attributes`, -1 where it has none (the multi-task loss, paper eq. 3).
    category: what it shows. group: examples of one group are never split between parts. votes: how many people gave each of the
    ratings 1 to 10, or their shares; none where that is not known.
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
    """Part `number` of `of` parts, as `seed` deals them."""

    number: int
    of: int
    seed: int


@dataclass(frozen=True)
class DataSet:
    """Examples to train on, to choose by (`val`, which few sets have) and to test on.

    labels: the classes by name. attributes: those of the second task, or none. missing: the keys of listed photographs that are
    not there. notes: what a user should know about how the set was read. threshold: ratings above it have the label `high`,
    None where labels are not made of ratings, or not by one threshold. positive: the better one of two labels where it is known
    or told; sets are read with it as the last one, a model may have it first. fold: the part that is held out, None where the
    set has a split of its own or is all one part.
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
        """Its parts by their names, "train", "val" and "test"; there is no "val" where nothing is for validation."""
        return {"train": self.train, **({"val": self.val} if self.val else {}), "test": self.test}

    @property
    def high(self) -> int:
        """The number of the better one of two labels: of `positive`, the last one where that is not known."""
        return len(self.labels) - 1 if self.positive is None else self.labels.index(self.positive)

    @property
    def examples(self) -> tuple[Example, ...]:
        """Those of all parts, one part after the other."""
        return (*self.train, *self.val, *self.test)

    @property
    def categories(self) -> tuple[str, ...]:
        """What its photographs show, by name, in order."""
        return tuple(sorted({example.category for example in self.examples} - {""}))


def by_category(data: DataSet) -> DataSet:
    """What photographs show as their label, of those that it is known of, without ratings.

    Raises ValueError where fewer than two categories are known.
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
