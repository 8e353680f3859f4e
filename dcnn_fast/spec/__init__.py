"""The former name of `dcnn_fast.networks`: it goes on working for this release, and says so once."""

from __future__ import annotations

import importlib
import pkgutil
import sys

from dcnn_fast import former, networks

former.warn("dcnn_fast.spec is called dcnn_fast.networks")
for _module in pkgutil.iter_modules(networks.__path__):
    sys.modules[f"{__name__}.{_module.name}"] = importlib.import_module(f"{networks.__name__}.{_module.name}")
sys.modules[__name__] = networks  # one module by two names, so that its classes are the same
