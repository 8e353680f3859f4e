"""The former name of `dcnn_fast.networks`: it goes on working for this release, and says so once."""

from __future__ import annotations

import importlib
import pkgutil
import sys
import warnings
from types import FrameType

from dcnn_fast import networks

_BETWEEN = ("importlib", "dcnn_fast")  # packages that stand between this one and who asks for it


def _asking() -> FrameType:
    """The frame that asks for this package, for Python shows this warning to a program for its own lines alone."""
    frame = sys._getframe()
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).partition(".")[0] in _BETWEEN:
        frame = frame.f_back
    return frame


_by = _asking()
warnings.warn_explicit(
    "dcnn_fast.spec is called dcnn_fast.networks: the former name goes with the next release", DeprecationWarning,
    _by.f_code.co_filename, _by.f_lineno, str(_by.f_globals.get("__name__")),
)  # fmt: skip
for _module in pkgutil.iter_modules(networks.__path__):
    sys.modules[f"{__name__}.{_module.name}"] = importlib.import_module(f"{networks.__name__}.{_module.name}")
sys.modules[__name__] = networks  # one module by two names, so that its classes are the same
