"""A digest of everything that determines the bits of features: layers, their weights, and the code that computes them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable

import torch
from torch import Tensor

from dcnn_fast import engine
from dcnn_fast.version import version


def digest_of(layers: object, weights: Iterable[Tensor]) -> str:
    """The digest in hexadecimal. layers: any description of them, taken by its repr."""
    computed_by = version(), torch.__version__, engine.reason() or engine.isa(), os.environ.get("DCNN_FAST_BACKEND", "")
    state = hashlib.sha256(repr((layers, computed_by)).encode())
    for weight in weights:
        state.update(repr((tuple(weight.shape), weight.dtype)).encode())
        state.update(weight.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    return state.hexdigest()
