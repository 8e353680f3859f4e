"""Finds photographs in two parts of a set: the same name, the same file under two names, or the same pixels."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping
from dataclasses import dataclass

from dcnn_fast.data.examples import DataSet, Example
from dcnn_fast.printable import quoted


@dataclass(frozen=True)
class Twins:
    """Two entries of a set that are one photograph. parts: each entry's part, as in `DataSet.parts`. differ: labels differ."""

    first: Example
    second: Example
    parts: tuple[str, str]
    differ: bool

    @property
    def parted(self) -> bool:
        """Whether the two are in different parts."""
        return self.parts[0] != self.parts[1]

    def text(self, labels: tuple[str, ...]) -> str:
        """The fault in words, on one line."""
        where = f"in {both(self.parts)}" if self.parted else "twice in one part"
        said = f", as {_named(self.first, labels)} and as {_named(self.second, labels)}" if self.differ else ""
        return f"the same photograph is {where}{said}: {quoted(self.first.key)} and {quoted(self.second.key)}"


def both(parts: tuple[str, str]) -> str:
    """Two parts in words."""
    first, second = ({"train": "training", "val": "validation"}.get(part, part) for part in parts)
    return f"{first} and {second}"


def require_apart(data: DataSet, *, files: bool) -> None:
    """Require that no photograph is in two parts, by its name or, with `files`, by the file that its path leads to.

    Raises ValueError naming the first one found.
    """
    seen: dict[Hashable, tuple[Example, str]] = {}
    for part, examples in data.parts.items():
        for example in examples:
            for mark in _marks(example, files):
                other, theirs = seen.setdefault(mark, (example, part))
                twins = Twins(other, example, (theirs, part), differ=False)
                if twins.parted:
                    raise ValueError(f"{both(twins.parts)} must not share photographs: {twins.text(data.labels)}")


def twins_by_digest(data: DataSet, digests: Mapping[str, str]) -> list[Twins]:
    """Pairs of entries with the same pixels that falsify measurements: in two parts, or with different labels.

    digests: `Photo.digest` of each readable photograph, by key.
    """
    first: dict[str, tuple[Example, str]] = {}
    found = []
    for part, examples in data.parts.items():
        for example in examples:
            if example.key not in digests:
                continue
            other, theirs = first.setdefault(digests[example.key], (example, part))
            differ = (other.label, other.truth) != (example.label, example.truth)
            if other is not example and (theirs != part or differ):
                found.append(Twins(other, example, (theirs, part), differ))
    return found


def _marks(example: Example, files: bool) -> list[Hashable]:
    marks: list[Hashable] = [example.key]
    if files and isinstance(example.source, str):
        try:
            status = os.stat(example.source)
        except (OSError, ValueError):  # the file has vanished meanwhile
            return marks
        marks.append((status.st_dev, status.st_ino))
    return marks


def _named(example: Example, labels: tuple[str, ...]) -> str:
    named = example.truth or ((example.label,) if example.label >= 0 else ())
    return "+".join(labels[label] for label in named) or "nothing"
