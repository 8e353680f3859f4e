"""Photographs of which nobody says what they show: a classifier does, and the model for that scores them (paper III-C)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dcnn_fast.data import Example
from dcnn_fast.evaluation.predict import Predictions, joined

Predictor = Callable[[Sequence[Example]], Predictions]


def routed(categories: Predictions, examples: Sequence[Example], predictor: Callable[[str], Predictor | None]) -> Predictions:
    """The predictions of `examples`, each by the predictor of the category that `categories` has as its most probable.

    categories: of a classifier, whose labels are categories, for photographs of the same keys. predictor: of a category, or
    None for one that is left out, as photographs without a category are. Raises ValueError where nothing is left.
    """
    named = {e.key: categories.labels[i] for e, i in zip(categories.examples, categories.named, strict=True)}
    parts = []
    for category in categories.labels:
        mine = [example for example in examples if named.get(example.key) == category]
        predict = predictor(category) if mine else None
        if predict is not None:
            parts.append(predict(mine))
    if not parts:
        raise ValueError("categories must be known of at least one of the examples")
    return joined(parts)
