"""Writes docs/api.md, the page of all public names: run `python -m devtools.pages.api_page` after a change."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import types
from collections.abc import Iterator, Mapping

from devtools.pages.page_links import ROOT

PAGE = ROOT / "docs" / "api.md"
_HEAD = (
    "# API\n\nPublic names, each with its arguments, results and errors. Names that are not here may change without notice.\n"
)
SECTIONS: Mapping[str, tuple[str, ...]] = {
    "Scoring and model files": ("dcnn_fast",),
    "Scoring, the rest": ("dcnn_fast.scoring",),
    "Operations": ("dcnn_fast.ops", "dcnn_fast.ops.head", "dcnn_fast.ops.update"),
    "Networks as data": ("dcnn_fast.networks",),
    "Plans": ("dcnn_fast.plan",),
    "Networks as modules": ("dcnn_fast.nets",),
    "Data sets and photographs": ("dcnn_fast.data",),
    "Training": ("dcnn_fast.training",),
    "Evaluation": ("dcnn_fast.evaluation",),
    "Faults and groups": ("dcnn_fast.photographs",),
    "Collections": ("dcnn_fast.batch",),
    "Serving": ("dcnn_fast.serve",),
    "Export": ("dcnn_fast.export",),
    "The simulator": ("ptxsim",),
}


def page() -> str:
    """The up-to-date page. A name that is public in several packages is shown in the first."""
    shown: set[tuple[str, str]] = set()
    parts = [_HEAD]
    for title, packages in SECTIONS.items():
        names = [name for package in packages for name in _names(package, shown)]
        parts.append(f"\n## {title}\n\n" + "".join(f"::: {name}\n" for name in names))
    return "".join(parts)


def _names(package: str, shown: set[tuple[str, str]]) -> Iterator[str]:
    module = importlib.import_module(package)
    for name in module.__all__:
        value = getattr(module, name)
        if not isinstance(value, type) and not isinstance(inspect.unwrap(value), types.FunctionType):
            continue
        home = value.__module__, value.__qualname__
        if home in shown:
            continue
        shown.add(home)
        yield ".".join(home) if _is_module(f"{package}.{name}") else f"{package}.{name}"


def _is_module(name: str) -> bool:
    """Whether a module has the same name, for which a static analyser would take it."""
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
