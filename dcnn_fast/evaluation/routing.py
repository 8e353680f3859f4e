"""Photographs of unknown category: a classifier predicts it, and that category's model scores them (paper III-C)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dcnn_fast.data import Example
from dcnn_fast.evaluation.predict import Predictions, joined

Predictor = Callable[[Sequence[Example]], Predictions]


def routed(categories: Predictions, examples: Sequence[Example], predictor: Callable[[str], Predictor | None]) -> Predictions:
    """Predict each example with the predictor of its most probable category.

    Photographs without a category are omitted.

    Args:
        categories: A classifier's predictions, whose labels are categories, for photographs with the same keys.
        examples: The photographs to predict.
        predictor: Gives a category's predictor, or None to omit the category.

    Returns:
        The predictions of all categories together, in the order of `categories.labels`.

    Raises:
        ValueError: Nothing is left.
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
