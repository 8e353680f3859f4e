"""Signs that a run learns nothing: no epoch is better than a guess that ignores the photographs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from dcnn_fast.data import Example
from dcnn_fast.training.aims import Aim, ByLabel

FIRST = 5  # epochs before the first look; then after twice as many each time, and at the end
_MARGIN = 0.999  # a loss within a thousandth of guessing counts as no better


def is_looked_at(epochs: int, of: int) -> bool:
    """Whether signs are looked for when `epochs` of `of` are over: after 5, 10, 20, 40 ..., and after the last from 5 on."""
    if epochs < FIRST:
        return False
    doublings = math.log2(epochs / FIRST)
    return epochs == of or doublings == int(doublings)


def signs_of(
    history: Sequence[Mapping[str, Any]], examples: Sequence[Example], aim: Aim | None = None
) -> list[str]:  # fmt: skip
    """One sentence for each sign that the epochs of a run have in common, none for one that learns.

    history: a row for each epoch, in the columns of `log.FIELDS`. examples: the training examples. aim: their targets, by
    default the labels. The loss of guessing is that of the best constant answer, for labels their shares of the examples; with
    a second label the sum of both.
    """
    found, epochs = [], len(history)
    guess, least = loss_of_guessing(examples, aim), min(row["loss"] for row in history)
    if least >= _MARGIN * guess:
        found.append(f"after {epochs} epochs the loss, {least:.4f} at best, is not below that of guessing, {guess:.4f}")
    looks = [row for row in history if row.get("test_accuracy") is not None]
    if looks and all(row["test_accuracy"] <= row["test_majority"] for row in looks):
        best = max(row["test_accuracy"] for row in looks)
        always = f"always naming the commonest label, {looks[-1]['test_majority']:.4f}"
        found.append(f"after {epochs} epochs the held-out accuracy, {best:.4f} at best, is no better than {always}")
    return found


def loss_of_guessing(examples: Sequence[Example], aim: Aim | None = None) -> float:
    """The mean loss of the best constant answer, for labels in nats; with a second label the sum of both."""
    first = aim or ByLabel(tuple(example.label for example in examples))
    return first.guessing() + ByLabel(tuple(example.attribute for example in examples)).guessing()
