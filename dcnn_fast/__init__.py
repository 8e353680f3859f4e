"""Fused kernels and sharing plans for cuda-convnet-style aesthetics networks; importing it touches no driver."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dcnn_fast.data.reading import ReadError
    from dcnn_fast.nets import ModelError, load_model, save_model
    from dcnn_fast.scoring import Score, Scorer

_HOMES = {
    "ModelError": "dcnn_fast.nets",
    "ReadError": "dcnn_fast.data.reading",
    "Score": "dcnn_fast.scoring",
    "Scorer": "dcnn_fast.scoring",
    "load_model": "dcnn_fast.nets",
    "save_model": "dcnn_fast.nets",
}

__all__ = ["ModelError", "ReadError", "Score", "Scorer", "load_model", "save_model"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
