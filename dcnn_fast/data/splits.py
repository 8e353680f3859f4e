"""Splits into training and held-out examples: stratified by label, seeded, and never through a group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dcnn_fast.data.examples import Fold

_MANY = 5000  # groups, from which on scikit-learn's choice, group by group, would take minutes

Unsplit = Literal["fold", "train", "test"]
UNSPLIT: tuple[Unsplit, ...] = ("fold", "train", "test")


@dataclass(frozen=True)
class Parts:
    """The part to hold out of a set that has no split of its own.

    fold, folds, seed: part `fold` of `folds`, as the seed deals them; None is 0 of 5 and seed 0. unsplit: "fold", or "train" or
    "test" where all of such a set is that. Raises ValueError where both are asked for.
    """

    fold: int | None = None
    folds: int | None = None
    seed: int | None = None
    unsplit: Unsplit = "fold"

    def __post_init__(self) -> None:
        if self.unsplit not in UNSPLIT:
            raise ValueError(f"unsplit must be one of {', '.join(UNSPLIT)}; got {self.unsplit!r}")
        if self.unsplit != "fold" and self.given:
            raise ValueError(f"{self.given[0]} must not be given for a set that is all {self.unsplit}")

    @property
    def given(self) -> list[str]:
        """The names of what was asked for."""
        return [name for name in ("fold", "folds", "seed") if getattr(self, name) is not None]

    @property
    def chosen(self) -> Fold | None:
        """The part that is held out, None where all is of one part."""
        return Fold(self.fold or 0, 5 if self.folds is None else self.folds, self.seed or 0) if self.unsplit == "fold" else None

    def require_none(self, where: object) -> None:
        """That no part was asked for, as `where` has a split of its own. Raises ValueError naming the option."""
        if self.given:
            raise ValueError(f"{where}: {self.given[0]} must not be given for a set with a split of its own")

    def held(self, labels: Sequence[int], groups: Sequence[str]) -> np.ndarray:
        """Which examples are held out: [n] bool. Raises ValueError as `split` does."""
        chosen = self.chosen
        if chosen is None:
            return np.full(len(labels), self.unsplit == "test")
        return split(labels, groups, fold=chosen.number, folds=chosen.of, seed=chosen.seed)


DEALT = Parts()


def split(labels: Sequence[int], groups: Sequence[str], *, fold: int, folds: int, seed: int) -> np.ndarray:
    """Which examples are held out in `fold` of `folds`: [n] bool. An example of no group, "", is a group of its own.

    With more than 5,000 groups those with the same labels are dealt to the folds in turn; scikit-learn's choice else.

    Raises ValueError for a fold that is not there or labels of which one has fewer examples than there are folds.
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
    """The fold of each example, [n]: groups with the same labels are dealt to the folds in turn, in an order of the seed's."""
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
