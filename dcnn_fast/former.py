"""Former names of arguments and modules: they go on working for this release, and say so (docs/glossary.md#former-names)."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from types import FrameType, ModuleType
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])
Record = TypeVar("Record")
_BETWEEN = ("importlib", "dcnn_fast", "dataclasses")  # packages that stand between a former name and who uses it

MODULES = {
    "dcnn_fast.training.learning": "dcnn_fast.training.learning_layers",
    "dcnn_fast.training.loading": "dcnn_fast.training.mini_batches",
    "dcnn_fast.training.loop": "dcnn_fast.training.fitting",
    "dcnn_fast.training.pictures": "dcnn_fast.training.photographs",
    "dcnn_fast.training.windows": "dcnn_fast.training.window_cuts",
    "dcnn_fast.training.files": "dcnn_fast.training.durable_files",
    "dcnn_fast.training.place": "dcnn_fast.training.run_place",
    "dcnn_fast.training.signs": "dcnn_fast.training.no_learning",
    "dcnn_fast.training.lesson": "dcnn_fast.training.run_examples",
    "dcnn_fast.training.learnt": "dcnn_fast.training.model_history",
    "dcnn_fast.training.machine": "dcnn_fast.training.needs",
    "dcnn_fast.data.columns": "dcnn_fast.data.fields",
    "dcnn_fast.data.stores": "dcnn_fast.data.remote",
    "dcnn_fast.data.parts": "dcnn_fast.data.bounds",
    "dcnn_fast.batch.plan": "dcnn_fast.batch.deal",
    "dcnn_fast.nets.reference": "dcnn_fast.nets.percentiles",
}
"""Former modules by their names, and the modules that have their contents now."""


def warn(text: str) -> None:
    """A DeprecationWarning for the line outside this package that uses a former name, as Python shows a program its own."""
    frame = _asking()
    warnings.warn_explicit(
        f"{text}: the former name goes with the next release", DeprecationWarning, frame.f_code.co_filename, frame.f_lineno,
        str(frame.f_globals.get("__name__")),
    )  # fmt: skip


def _asking() -> FrameType:
    frame = sys._getframe(1)
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).partition(".")[0] in _BETWEEN:
        frame = frame.f_back
    return frame


def renamed(only: type | None = None, /, *, both: bool = False, **names: str) -> Callable[[Function], Function]:
    """A decorator: the function takes arguments by their former names too, with a DeprecationWarning.

    names: former name -> name. only: a former name is one only where its value is of this type, as a name may have come to mean
    another thing. both: where an argument is given by both names, the former one's value counts; else that raises TypeError.
    """

    def decorated(function: Function) -> Function:
        @wraps(function)
        def taken(*arguments: Any, **options: Any) -> Any:
            for old, new in names.items():
                if old in options and (only is None or isinstance(options[old], only)):
                    if new in options and not both:
                        raise TypeError(f"{old} is the former name of {new}: give {new} alone")
                    warn(f"{old}= of {function.__qualname__.removesuffix('.__init__')} is called {new}=")
                    options[new] = options.pop(old)
            return function(*arguments, **options)

        return taken  # type: ignore[return-value]

    return decorated


def taking(**names: str) -> Callable[[type[Record]], type[Record]]:
    """A decorator for a dataclass: its fields may have their former names, as of `renamed`, in `replace` and in pickles too."""

    def decorated(record: type[Record]) -> type[Record]:
        record.__init__ = renamed(both=True, **names)(record.__init__)  # type: ignore[method-assign]
        return pickled(**names)(record)

    return decorated


def pickled(**names: str) -> Callable[[type[Record]], type[Record]]:
    """A decorator for a class: pickles that have its attributes by their former names are read, with the values that they have.

    Without it a dataclass's default would take the place of such a value. names: former name -> name.
    """

    def restore(self: Any, state: Mapping[str, Any]) -> None:
        vars(self).update({names.get(name, name): value for name, value in state.items()})

    def decorated(record: type[Record]) -> type[Record]:
        record.__setstate__ = restore  # type: ignore[attr-defined]
        return record

    return decorated


def names(module: str, of: Mapping[str, str]) -> Callable[[str], Any]:
    """The `__getattr__` of a module that gives its names and modules by their former names too, with a DeprecationWarning.

    of: former name -> name, of what is no module.
    """

    def value(name: str) -> Any:
        if f"{module}.{name}" in MODULES:
            return importlib.import_module(f"{module}.{name}")
        if name not in of:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        warn(f"{module}.{name} is called {module}.{of[name]}")
        return getattr(sys.modules[module], of[name])

    return value


def attribute(owner: str, old: str, new: str) -> property:
    """A property of a class that gives the attribute `new` by its former name `old`, with a DeprecationWarning."""

    def value(self: Any) -> Any:
        warn(f"{owner}.{old} is called {owner}.{new}")
        return getattr(self, new)

    return property(value, doc=f"The former name of `{new}`.")


class _Former(MetaPathFinder, Loader):
    """Finds the modules of `MODULES`: each is the module that has its contents, so that classes are the same by both names."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return spec_from_loader(fullname, self) if fullname in MODULES else None

    def exec_module(self, module: ModuleType) -> None:
        name = MODULES[module.__name__]
        warn(f"{module.__name__} is called {name}")
        sys.modules[module.__name__] = importlib.import_module(name)


def install() -> None:
    """Let Python's import find former modules, before an editable install looks for files that it had when it was made."""
    if not any(isinstance(finder, _Former) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Former())
