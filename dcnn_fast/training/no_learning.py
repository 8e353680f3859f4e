"""Signs that a run learns nothing: no epoch has beaten what can be said without looking at a photograph."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from dcnn_fast.data import Example
from dcnn_fast.training.aims import Aim, ByLabel

FIRST = 5  # epochs after which a run is looked at; then after twice as many each time, and at its end
_MARGIN = 0.999  # a loss within a thousandth of guessing is no better than it


def is_looked_at(epochs: int, of: int) -> bool:
    """Whether signs are looked for when `epochs` of `of` are over: after 5, 10, 20, 40 and so on, and after the last."""
    if epochs < FIRST:
        return False
    doublings = math.log2(epochs / FIRST)
    return epochs == of or doublings == int(doublings)


def signs_of(
    history: Sequence[Mapping[str, Any]], examples: Sequence[Example], aim: Aim | None = None
) -> list[str]:  # fmt: skip
    """One sentence for each sign that the epochs of a run have in common, none for one that learns.

    history: a row for each epoch, in the columns of `log.FIELDS`. examples: what is learnt from. aim: what is to be said of
    them, by default their labels. The loss of guessing is that of the best answer that is the same for all, as giving each
    label its share of the examples; with a second label the sum of both.
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
    """The mean loss of the best answer that is the same for all, of labels in nats; with a second label that of both."""
    first = aim or ByLabel(tuple(example.label for example in examples))
    return first.guessing() + ByLabel(tuple(example.attribute for example in examples)).guessing()
