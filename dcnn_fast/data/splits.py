"""Splits into parts for training, validation and test: stratified by label, seeded, and never through a group."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dcnn_fast.data.examples import Fold

_MANY = 5000  # groups: beyond it scikit-learn's choice, group by group, would take minutes

PARTS = ("train", "val", "test")
"""The parts of a set by their names."""
_SPELT = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}

Unsplit = Literal["fold", "train", "test"]
UNSPLIT: tuple[Unsplit, ...] = ("fold", "train", "test")


@dataclass(frozen=True)
class Parts:
    """The part to hold out of a set that has no split of its own, and the share that any set's training part gives to "val".

    Args:
        fold: The part to hold out, counted from 0, as the seed deals them; None is 0.
        folds: The number of parts; None is 5.
        seed: The seed of the deal and of the draw; None is 0.
        unsplit: "fold", or "train" or "test" where all of such a set is that.
        val: The share of the training part for validation, above 0 and below 1, drawn by the seed as well; None draws nothing.

    Raises:
        ValueError: Both a fold and `unsplit` are asked for, or the share is none.
    """

    fold: int | None = None
    folds: int | None = None
    seed: int | None = None
    unsplit: Unsplit = "fold"
    val: float | None = None

    def __post_init__(self) -> None:
        if self.unsplit not in UNSPLIT:
            raise ValueError(f"unsplit must be one of {', '.join(UNSPLIT)}; got {self.unsplit!r}")
        if self.val is not None and not 0 < self.val < 1:
            raise ValueError(f"val must be a share above 0 and below 1, got {self.val:g}")
        if self.val is not None and self.unsplit == "test":
            raise ValueError("val must not be given for a set that is all test")
        if self.unsplit != "fold" and self._of_folds:
            raise ValueError(f"{self._of_folds[0]} must not be given for a set that is all {self.unsplit}")

    @property
    def given(self) -> list[str]:
        """The names of the fields that were given."""
        return [name for name in ("fold", "folds", "seed") if getattr(self, name) is not None]

    @property
    def _of_folds(self) -> list[str]:
        """The names of given fields that deal folds; with `val`, a seed alone belongs to its draw."""
        return [name for name in self.given if name != "seed" or self.val is None]

    @property
    def chosen(self) -> Fold | None:
        """The part that is held out, None where the whole set is one part."""
        return Fold(self.fold or 0, 5 if self.folds is None else self.folds, self.seed or 0) if self.unsplit == "fold" else None

    def require_none(self, where: object) -> None:
        """Require that no part was asked for, as `where` has a split of its own. Raises ValueError naming the option."""
        if self._of_folds:
            raise ValueError(f"{where}: {self._of_folds[0]} must not be given for a set with a split of its own")

    def of(self, labels: Sequence[int], groups: Sequence[str], names: Sequence[str]) -> np.ndarray:
        """The part of each example of a set without a split of its own: [n] of `PARTS`.

        names: unique names of the examples, such as paths. Raises ValueError as `split` and `drawn` do.
        """
        chosen = self.chosen
        if chosen is None:
            part = np.full(len(labels), self.unsplit, dtype=object)
        else:
            held = split(labels, groups, fold=chosen.number, folds=chosen.of, seed=chosen.seed)
            part = np.where(held, "test", "train").astype(object)
        return self.with_val(part, labels, groups, names)

    def with_val(
        self, part: np.ndarray, labels: Sequence[int], groups: Sequence[str], names: Sequence[str]
    ) -> np.ndarray:  # fmt: skip
        """`part` [n] with the requested share of "train" turned into "val".

        Raises ValueError if there is a "val" already, and as `drawn` does.
        """
        if self.val is None:
            return part
        if (part == "val").any():
            raise ValueError(f"val must not be given for a set with a part for validation of its own, got {self.val:g}")
        rows = np.flatnonzero(part == "train").tolist()
        texts = [groups[row] for row in rows], [names[row] for row in rows]
        taken = drawn([labels[row] for row in rows], *texts, share=self.val, seed=self.seed or 0)
        found = part.copy()
        found[np.array(rows, dtype=int)[taken]] = "val"
        return found


DEALT = Parts()


def part_named(text: str) -> str | None:
    """The part, one of `PARTS`, that files call `text`; None if it is no part's name."""
    return _SPELT.get(text)


def drawn_notes(part: np.ndarray, parts: Parts) -> list[str]:
    """A note on the part drawn for validation, if one was."""
    if parts.val is None:
        return []
    count, of = int((part == "val").sum()), int((part != "test").sum())
    share = f"a share of {parts.val:g}, seed {parts.seed or 0}"
    return [f"{count} of {of} listed photographs to train on are drawn for validation ({share})"]


def drawn(labels: Sequence[int], groups: Sequence[str], names: Sequence[str], *, share: float, seed: int) -> np.ndarray:
    """Draw about `share` of each label's examples: [n] bool, true for drawn ones; a group is drawn whole or not at all.

    Groups, and single examples without a group, are visited in an order that depends only on the seed and their names, not on
    the examples' order; each is drawn if that brings the labels' counts nearer to their shares. Raises ValueError where one
    side is left empty.

    Example:
        >>> int(drawn([0, 0, 0, 0, 1, 1, 1, 1], ["a", "a", "", "", "b", "b", "", ""], "stuvwxyz", share=0.5, seed=0).sum())
        4
    """
    numbers = np.unique(np.asarray(labels, dtype=int), return_inverse=True)[1]
    of_group: dict[str, list[int]] = {}
    for index, (group, name) in enumerate(zip(groups, names, strict=True)):
        of_group.setdefault(f"group {group}" if group else f"example {name}", []).append(index)
    counts = np.bincount(numbers)
    missing, taken = share * counts, np.zeros(len(numbers), bool)
    for group in sorted(of_group, key=lambda name: _place(name, seed)):
        more = np.bincount(numbers[of_group[group]], minlength=len(counts))
        if (more * (2 * missing - more) / np.maximum(counts, 1)).sum() > 0:  # the decrease of the missing counts' squares
            taken[of_group[group]] = True
            missing = missing - more
    if not taken.any() or taken.all():
        raise ValueError(
            f"val must be a share that leaves photographs on both sides, got {share:g} of {len(numbers)} photographs in "
            f"{len(of_group)} groups"
        )
    return taken


def _place(name: str, seed: int) -> bytes:
    return hashlib.sha256(f"dcnn_fast val 1|{seed}|{name}".encode("utf-8", "surrogateescape")).digest()


def split(labels: Sequence[int], groups: Sequence[str], *, fold: int, folds: int, seed: int) -> np.ndarray:
    """Mark the examples held out in `fold` of `folds`: [n] bool. An example without a group, "", is a group of its own.

    With more than 5,000 groups, groups with the same labels are dealt to the folds in turn; otherwise scikit-learn chooses.

    Raises ValueError for a fold out of range, or a label with fewer examples than folds.
    """
    if folds < 2 or not 0 <= fold < folds:
        raise ValueError(f"fold must lie in 0 to folds - 1 and folds be at least 2, got fold {fold} of {folds}")
    counts = np.unique(labels, return_counts=True)[1]
    if len(labels) < 1 or counts.min() < folds:
        least = f"{counts.min()} of one of {len(counts)} labels" if len(labels) else "none"
        raise ValueError(f"every label must have at least {folds} examples to be split into {folds} folds, got {least}")
    held = np.zeros(len(labels), bool)
    own = [group or f"\0{index}" for index, group in enumerate(groups)] if any(groups) else []
    if len(set(own)) > _MANY:
        return np.asarray(_dealt(labels, own, folds, seed) == fold)
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold  # noqa: PLC0415 - optional dependency

    if own:
        parts = StratifiedGroupKFold(folds, shuffle=True, random_state=seed).split(labels, labels, own)
    else:
        parts = StratifiedKFold(folds, shuffle=True, random_state=seed).split(labels, labels)
    held[list(parts)[fold][1]] = True
    return held


def _dealt(labels: Sequence[int], groups: Sequence[str], folds: int, seed: int) -> np.ndarray:
    """The fold of each example, [n]: groups with the same labels are dealt to the folds in turn, in an order by the seed."""
    of_group: dict[str, list[int]] = {}
    for label, group in zip(labels, groups, strict=True):
        of_group.setdefault(group, []).append(label)
    names = list(of_group)
    kinds: dict[tuple[int, ...], int] = {}
    kind = np.array([kinds.setdefault(tuple(sorted(of_group[name])), len(kinds)) for name in names])
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(names))
    order = order[np.argsort(rng.permutation(len(kinds))[kind][order], kind="stable")]
    fold_of = {names[group]: place % folds for place, group in enumerate(order)}
    return np.array([fold_of[group] for group in groups])
