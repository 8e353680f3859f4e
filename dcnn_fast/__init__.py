"""Fused kernels and sharing plans for cuda-convnet-style aesthetics networks; importing it touches no driver."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from dcnn_fast import former

if TYPE_CHECKING:
    from dcnn_fast import nets, networks, ops
    from dcnn_fast.data.reading import ReadError
    from dcnn_fast.nets import ModelError, load_model, save_model
    from dcnn_fast.scoring import Score, Scorer, WeightsError

    __version__: str

_HOMES = {
    "ModelError": "dcnn_fast.nets",
    "ReadError": "dcnn_fast.data.reading",
    "Score": "dcnn_fast.scoring",
    "Scorer": "dcnn_fast.scoring",
    "WeightsError": "dcnn_fast.scoring",
    "load_model": "dcnn_fast.nets",
    "save_model": "dcnn_fast.nets",
}

_PACKAGES = ("nets", "networks", "ops", "spec")  # the last is the former name of networks

__all__ = [
    "ModelError", "ReadError", "Score", "Scorer", "WeightsError", "__version__", "load_model", "nets", "networks", "ops",
    "save_model",
]  # fmt: skip


former.install()


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in _PACKAGES:
        return importlib.import_module(f"dcnn_fast.{name}")
    if name == "__version__":
        return importlib.import_module("dcnn_fast.version").version()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
