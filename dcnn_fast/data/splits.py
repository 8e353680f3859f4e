"""Splits into training and held-out examples: stratified by label, seeded, and never through a group."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def split(labels: Sequence[int], groups: Sequence[str], *, fold: int, folds: int, seed: int) -> np.ndarray:
    """Which examples are held out in `fold` of `folds`: [n] bool. An example of no group, "", is a group of its own.

    Raises ValueError for a fold that is not there or labels of which one has fewer examples than there are folds.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold  # noqa: PLC0415 - optional dependency

    if folds < 2 or not 0 <= fold < folds:
        raise ValueError(f"fold must lie in 0 to folds - 1 and folds be at least 2, got fold {fold} of {folds}")
    counts = np.unique(labels, return_counts=True)[1]
    if len(labels) < 1 or counts.min() < folds:
        raise ValueError(
            f"every label must have at least {folds} examples to be split into {folds} folds, got {counts.tolist()}"
        )
    held = np.zeros(len(labels), bool)
    if any(groups):
        own = [group or f"\0{index}" for index, group in enumerate(groups)]
        parts = StratifiedGroupKFold(folds, shuffle=True, random_state=seed).split(labels, labels, own)
    else:
        parts = StratifiedKFold(folds, shuffle=True, random_state=seed).split(labels, labels)
    held[list(parts)[fold][1]] = True
    return held
