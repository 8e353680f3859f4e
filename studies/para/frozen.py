"""The simplest use of a frozen column: ridge regression of the mean ratings on EfficientNet-Lite0's features."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import RidgeCV

from dcnn_fast.data.reading import read
from dcnn_fast.nets import BackboneColumn, load_model
from dcnn_fast.ops import views
from studies.para.collection import Collection
from studies.para.recipe import Recipe
from studies.para.running import Place
from studies.processes import spread

_STRENGTHS = np.logspace(0, 5, 11)  # of the ridge, on features of deviation 1; chosen by the training photographs
STEEPNESS = 4.0  # of P(high), a smooth step of the predicted rating
_FLOOR = 0.1  # share of the usual deviation: keeps features that hardly vary in training from dominating elsewhere
_PART = 32


def ridge(collection: Collection, recipe: Recipe, place: Place) -> None:
    """Fit and predict for every size of every seed; files with key and score, like a step's predictions."""
    values: np.ndarray | None = None
    for seed in range(recipe.seeds):
        for size in (*recipe.sizes, len(collection.train)):
            path = place.predictions(f"ridge-{size}-seed{seed}")
            if path.exists() or size > len(collection.train) or (seed and size == len(collection.train)):
                continue
            values = features(collection, place) if values is None else values
            rows = collection.drawn(size, seed)
            middle, deviation = values[rows].mean(axis=0), values[rows].std(axis=0)
            standard = (values - middle) / (deviation + _FLOOR * np.median(deviation))
            fitted = RidgeCV(_STRENGTHS).fit(standard[rows], collection.ratings[rows])
            _write(path, collection, fitted.predict(standard[collection.test]))


def features(collection: Collection, place: Place) -> np.ndarray:
    """Every photograph's features: [photographs, features] float32, cached in the file features.npy."""
    kept = place.out / "features.npy"
    if not kept.exists():
        parts = [collection.files[start : start + _PART] for start in range(0, len(collection.files), _PART)]
        found = np.concatenate(spread(_means, parts, place.workers, 8, _begin, place.imagenet))
        partial = kept.with_suffix(".partial.npy")
        np.save(partial, found)
        partial.replace(kept)
    held = np.load(kept)
    if len(held) != len(collection.files):
        raise ValueError(f"{kept}: must have the features of {len(collection.files)} photographs, got {len(held)}")
    return np.asarray(held)


_COLUMN: list[BackboneColumn] = []  # this process's column


def _begin(imagenet: Path) -> None:
    torch.set_num_threads(1)
    column = load_model(imagenet).net.columns[0]
    assert isinstance(column, BackboneColumn)
    _COLUMN[:] = [column]


def _means(paths: Sequence[str]) -> np.ndarray:
    (column,) = _COLUMN
    planes = [views.plane(read(path).pixels, column.spec.view, column.spec.plane).pixels for path in paths]
    return np.asarray(column.means(torch.from_numpy(np.stack(planes)).permute(0, 3, 1, 2)).numpy())


def _write(path: Path, collection: Collection, scores: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"partial-{path.name}")
    with partial.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("key", "p_high"))
        for row, score in zip(collection.test, scores, strict=True):
            high = 1 / (1 + np.exp(STEEPNESS * (collection.threshold - score)))
            writer.writerow((collection.files[row], f"{high:.6f}"))
    partial.replace(path)
