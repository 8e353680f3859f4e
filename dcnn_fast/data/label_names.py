"""Finds the better one of two labels and orders it last: scores, AUC and correlations are those of the last label."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from dcnn_fast.data.examples import DataSet
from dcnn_fast.printable import shortened

_BETTER = frozenset(
    [
        "high",
        "good",
        "positive",
        "pos",
        "yes",
        "true",
        "beautiful",
        "better",
        "best",
        "like",
        "liked",
        "pick",
        "picked",
        "keep",
        "kept",
        "accept",
        "accepted",
        "pass",
        "aesthetic",
        "highquality",
        "goodquality",
        "hq",
        "professional",
        "pretty",
    ]
)
_WORSE = frozenset(
    [
        "low",
        "bad",
        "negative",
        "neg",
        "no",
        "false",
        "ugly",
        "worse",
        "worst",
        "dislike",
        "disliked",
        "reject",
        "rejected",
        "discard",
        "fail",
        "poor",
        "unaesthetic",
        "lowquality",
        "badquality",
        "poorquality",
        "lq",
        "amateur",
    ]
)

_NOT = ("not", "non", "un", "no")
_REST = frozenset(("rest", "remaining", "other", "others"))
_NUMBER = re.compile(r"[+-]?[0-9]{1,9}(\.[0-9]{1,9})?")


@dataclass(frozen=True)
class Order:
    """Labels in a set's order. positive: the better one of two, the last; None if unknown. why: the reason for the order."""

    labels: tuple[str, ...]
    positive: str | None = None
    why: str = ""

    @property
    def notes(self) -> tuple[str, ...]:
        """A note on the order of two labels; none for more labels."""
        if len(self.labels) != 2 or not self.why:
            return ()
        return (f"labels {', '.join(self.labels)}: scores, AUC and correlations are those of {self.labels[-1]} ({self.why})",)


def known_positive(labels: Collection[str]) -> str | None:
    """The better one of two labels by their names, in any case; None where the names do not tell."""
    if len(labels) != 2:
        return None
    first, second = labels
    found = [label for label, other in ((first, second), (second, first)) if _is_better(_plain(label), _plain(other))]
    return found[0] if len(found) == 1 else None


def _is_better(label: str, other: str) -> bool:
    """Whether both names agree that `label` is the better: "very low" beside "low", or "great" beside "good", leave it open."""
    if label in _BETTER:
        return other in _WORSE | _REST or other in {before + label for before in _NOT}
    return other in _WORSE and (label in _REST or label in {before + other for before in _NOT})


def in_order(names: Collection[str], positive: str | None = None) -> Order:
    """Labels sorted by name, except that the better one of two comes last.

    positive: the better one, where the user named it. Raises ValueError if it is not a label, or there are not two labels.
    """
    labels = tuple(sorted(names, key=_by_number if all(_NUMBER.fullmatch(name) for name in names) else str))
    if positive is not None:
        if len(labels) != 2 or positive not in labels:
            raise ValueError(f"positive must be one of two labels, got {positive!r} of {shortened(labels)}")
        return _with_last(labels, positive, "as told")
    known = known_positive(labels)
    if known is not None:
        ours = set(labels) == {"low", "high"}  # this program's own names need no note
        return _with_last(labels, known, "" if ours else "by their names")
    return Order(labels, None, "the last by name; --positive NAME says which is the better one")


def require_distinct(names: Collection[str]) -> None:
    """Require labels that differ in more than case or, as 1 and 1.0, in the spelling of a number. Raises ValueError."""
    counts = Counter(map(_same, names))
    twice = sorted(name for name in names if counts[_same(name)] > 1)
    if twice:
        raise ValueError(f"labels must differ in more than their writing, got {shortened(twice)}")


def with_labels(data: DataSet, labels: tuple[str, ...]) -> DataSet:
    """The set with a model's labels: equal names in the model's order, or of two labels better for better and worse for worse.

    Raises ValueError where the names differ and the better label of the set or of the model is unknown.
    """
    if data.labels == labels:
        return data
    if sorted(data.labels) == sorted(labels):
        found = _renumbered(data, labels, {index: labels.index(name) for index, name in enumerate(data.labels)})
        guessed = in_order(data.labels).notes if data.positive is None else ()
        kept = [note for note in data.notes if note not in guessed]
        # In a set whose better label is not known, ratings above the threshold have the last label.
        positive = data.labels[-1] if data.positive is None and data.threshold is not None else data.positive
        return replace(found, positive=positive, notes=(*kept, *_of_order(positive, labels)))
    theirs = known_positive(labels)
    if data.positive is None or theirs is None or len(labels) != 2:
        told = "; --positive NAME says which of the data's is the better one" if _are_two(data.labels, labels) else ""
        raise ValueError(f"labels must be the data's, {shortened(data.labels)}; got {shortened(labels)}{told}")
    mine = data.labels.index(data.positive)
    found = _renumbered(data, labels, {mine: labels.index(theirs), 1 - mine: 1 - labels.index(theirs)})
    worse = data.labels[1 - mine]
    note = f"{worse} and {data.positive} of the data are {labels[1 - labels.index(theirs)]} and {theirs} of the model"
    return replace(found, positive=theirs, notes=(*data.notes, note, *_of_order(theirs, labels)))


def _renumbered(data: DataSet, labels: tuple[str, ...], number: Mapping[int, int]) -> DataSet:
    train, val, test = (
        tuple(replace(e, label=number.get(e.label, -1), truth=tuple(number[each] for each in e.truth)) for e in part)
        for part in (data.train, data.val, data.test)
    )
    return replace(data, labels=labels, train=train, val=val, test=test)


def _of_order(positive: str | None, labels: tuple[str, ...]) -> list[str]:
    """A note for a model of two labels if its last one is not known to be the better."""
    if len(labels) != 2 or positive == labels[-1]:
        return []
    if positive is None:
        return [f"the model has {labels[-1]} last: its scores and correlations are those of {labels[-1]}"]
    return [f"the model has {positive} first: its scores and correlations are those of {labels[-1]}"]


def _are_two(ours: Sequence[str], theirs: Sequence[str]) -> bool:
    return len(ours) == 2 == len(theirs)


def _with_last(labels: tuple[str, ...], positive: str, why: str) -> Order:
    return Order((*(label for label in labels if label != positive), positive), positive, why)


def _by_number(label: str) -> float:
    return float(label)


def _plain(label: str) -> str:
    return re.sub(r"[\W_]+", "", label.casefold())


def _same(label: str) -> str:
    """A text that is equal for different spellings of a label."""
    text = label.strip().casefold()
    return f"{float(text):g}" if re.fullmatch(r"[+-]?[0-9]{1,15}(\.[0-9]{0,15})?", text) else text
