"""Measures the difference between one pass and fifty samples on photographs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from dcnn_fast.data import reading
from dcnn_fast.export.about import GRID, SAMPLES, SEED, Difference
from dcnn_fast.export.expected import given_of, probabilities
from dcnn_fast.nets import Model
from dcnn_fast.scoring import Scorer


def measured_difference(model: Model, photographs: Iterable[Path]) -> Difference:
    """Compare the centre window with fifty samples, over the readable photographs.

    For a model without two labels, the largest difference over the labels counts.

    Args:
        model: The model to export.
        photographs: Paths of files; those that cannot be read are left out.

    Returns:
        The differences of the photographs that were read.

    Raises:
        ValueError: No photograph can be read, or one has no score.
    """
    scorer, distances = Scorer(model, samples=SAMPLES, seed=SEED, grid=GRID), []
    for path in photographs:
        try:
            pixels = reading.read(path).pixels
            score = scorer.score(pixels)
        except reading.ReadError:
            continue
        if score.error is not None:
            raise ValueError(f"{path}: {score.error}")
        found = probabilities(model, tuple(each.centre for each in given_of(model, pixels, 1)))[0]
        means = np.array([score.probs[label] for label in model.spec.labels])
        distances.append(float(np.abs(found - means).max()))
    if not distances:
        raise ValueError("photographs: none could be read, to measure how far one pass is from fifty samples")
    return Difference(len(distances), float(np.mean(distances)), max(distances))
