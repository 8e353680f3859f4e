"""A model file's account of the set that it learnt from: its threshold, and marks of the photographs that it has seen."""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dcnn_fast.data import DataSet, Example

_MARK = 10  # hexadecimal digits: among a million photographs, two share a mark with probability 0.4
_MOST = 50_000  # marks at most: half a megabyte of a model file


@dataclass(frozen=True)
class Learnt:
    """The set that a model learnt from.

    threshold: ratings above it were high; None where the file states none. seen: marks of photographs that it learnt from, at
    most 50,000, the least in order. whole: whether the marks are complete.
    """

    threshold: float | None = None
    seen: frozenset[str] = frozenset()
    whole: bool = True

    def seen_of(self, data: DataSet, examples: Iterable[Example]) -> list[Example]:
        """The examples that are marked."""
        return [example for example in examples if _mark(example, data.labels) in self.seen] if self.seen else []


def learnt_by(provenance: Mapping[str, Any]) -> Learnt:
    """The account in a model's provenance; empty for files of other programs or older versions."""
    training = provenance.get("training")
    data = training.get("data") if isinstance(training, dict) else None
    if not isinstance(data, dict):
        return Learnt()
    threshold, marks = data.get("threshold"), data.get("seen")
    known = isinstance(threshold, (int, float)) and not isinstance(threshold, bool) and math.isfinite(threshold)
    if not isinstance(marks, str) or not re.fullmatch(r"[0-9a-f]*", marks) or len(marks) % _MARK:
        marks = ""
    seen = frozenset(marks[at : at + _MARK] for at in range(0, len(marks), _MARK))
    return Learnt(float(threshold) if known else None, seen, len(seen) < _MOST)  # type: ignore[arg-type]


def summary_of(data: DataSet, examples: Sequence[Example], before: Collection[str] = ()) -> dict[str, Any]:
    """The account of a set for a model file, ready for JSON; `learnt_by` reads it.

    examples: the training examples; those of data.val, which choose the best epoch, are marked too. before: the marks of the
    starting model.
    """
    fold = data.fold
    marks = sorted({*before, *(_mark(example, data.labels) for example in (*examples, *data.val))})[:_MOST]
    return {
        "labels": list(data.labels), "train": len(data.train), "val": len(data.val), "test": len(data.test),
        "notes": list(data.notes), "threshold": data.threshold, "positive": data.positive,
        "fold": None if fold is None else [fold.number, fold.of, fold.seed], "seen": "".join(marks),
    }  # fmt: skip


def _mark(example: Example, labels: Sequence[str]) -> str:
    """A short digest of a photograph's name, file size and rating, or else label, equal in every copy of the set."""
    said = f"{example.rating:g}" if math.isfinite(example.rating) else labels[example.label] if example.label >= 0 else ""
    text = f"{example.key}\0{said}\0{_bytes_of(example)}"
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:_MARK]


def _bytes_of(example: Example) -> int:
    """The size of the photograph's file, which tells apart photographs of one name; 0 without a file."""
    if not isinstance(example.source, (str, os.PathLike)):
        return 0
    try:
        return os.stat(example.source).st_size
    except (OSError, ValueError):
        return 0
