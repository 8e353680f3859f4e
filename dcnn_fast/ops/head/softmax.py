"""The softmax of the backends that run on the cpu."""

from __future__ import annotations

import numpy as np


def softmax(logits: np.ndarray) -> np.ndarray:
    """The probabilities of logits [views, labels], in float64: a row's bits depend on the row alone.

    NaN where a logit is NaN or the largest one is infinite.
    """
    with np.errstate(all="ignore"):
        wide = logits.astype(np.float64)
        powers = np.exp(wide - wide.max(axis=1, keepdims=True))
        result: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return result
