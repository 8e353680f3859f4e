"""The softmax of the backends that run on the cpu."""

from __future__ import annotations

import numpy as np

from dcnn_fast import engine


def softmax(logits: np.ndarray) -> np.ndarray:
    """The probabilities of logits [samples, labels], in float64: a row's bits depend on the row alone.

    The engine computes float32 (csrc/core/softmax.h), so that the bits are the same with every version of numpy and on every
    processor. NaN where a logit is NaN or the largest one is infinite.
    """
    if logits.dtype != np.float32 or engine.reason():
        return by_numpy(logits)
    found: np.ndarray = engine.native.softmax(np.ascontiguousarray(logits))
    return found


def by_numpy(logits: np.ndarray) -> np.ndarray:
    """`softmax` without the engine."""
    with np.errstate(all="ignore"):
        wide = logits.astype(np.float64)
        powers = np.exp(wide - wide.max(axis=1, keepdims=True))
        result: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return result
