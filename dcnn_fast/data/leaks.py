"""Photographs that are in training and test at once: of one name, of one file under two names, or of the same pixels."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping
from dataclasses import dataclass

from dcnn_fast.data.examples import DataSet, Example
from dcnn_fast.printable import quoted


@dataclass(frozen=True)
class Twins:
    """Two entries of a set that are one photograph. parted: one is trained on, one held out. differ: their labels do."""

    first: Example
    second: Example
    parted: bool
    differ: bool

    def text(self, labels: tuple[str, ...]) -> str:
        """Their fault in words, on one line."""
        where = "in training and test" if self.parted else "twice in one part"
        said = f", as {_named(self.first, labels)} and as {_named(self.second, labels)}" if self.differ else ""
        return f"the same photograph is {where}{said}: {quoted(self.first.key)} and {quoted(self.second.key)}"


def require_apart(data: DataSet, *, files: bool) -> None:
    """That no photograph is in training and test at once, by its name or, where `files`, by the file that its path leads to.

    Raises ValueError naming the first one.
    """
    seen = {mark: example for example in data.train for mark in _marks(example, files)}
    for example in data.test:
        for mark in _marks(example, files):
            if mark in seen:
                twins = Twins(seen[mark], example, parted=True, differ=False)
                raise ValueError(f"training and test must not share photographs: {twins.text(data.labels)}")


def twins_by_digest(data: DataSet, digests: Mapping[str, str]) -> list[Twins]:
    """Entries of the same pixels that spoil what is measured: in both parts, or with two labels.

    digests: `Photo.digest` of each photograph that could be read, by its key.
    """
    first: dict[str, tuple[Example, bool]] = {}
    found = []
    for trained, part in ((True, data.train), (False, data.test)):
        for example in part:
            if example.key not in digests:
                continue
            other, theirs = first.setdefault(digests[example.key], (example, trained))
            differ = (other.label, other.truth) != (example.label, example.truth)
            if other is not example and (theirs != trained or differ):
                found.append(Twins(other, example, theirs != trained, differ))
    return found


def _marks(example: Example, files: bool) -> list[Hashable]:
    marks: list[Hashable] = [example.key]
    if files and isinstance(example.source, str):
        try:
            status = os.stat(example.source)
        except (OSError, ValueError):  # it has gone meanwhile
            return marks
        marks.append((status.st_dev, status.st_ino))
    return marks


def _named(example: Example, labels: tuple[str, ...]) -> str:
    named = example.truth or ((example.label,) if example.label >= 0 else ())
    return "+".join(labels[label] for label in named) or "nothing"
