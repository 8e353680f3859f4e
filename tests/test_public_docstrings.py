"""Public names describe their arguments in sections that editors, `help` and the site read alike."""

from __future__ import annotations

import inspect
import re
from functools import reduce
from importlib import import_module
from pathlib import Path

import pytest

NAMES = re.findall(r"^::: (\S+)$", Path("docs/api.md").read_text(encoding="utf-8"), re.MULTILINE)
_SECTIONS = ("Args", "Attributes", "Returns", "Raises", "Example", "Source")


def public(name):
    """The object of a dotted name, whose first parts are modules."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            module = import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        return reduce(getattr, parts[count:], module)
    raise AssertionError(f"{name} is nowhere")


def described(found):
    """A public callable, and the public methods of a class."""
    yield found
    if inspect.isclass(found):
        for name, member in vars(found).items():
            method = getattr(member, "__func__", member)
            if not name.startswith("_") and inspect.isfunction(method):
                yield method


def sections(text):
    """The sections of a docstring by name, with the names of their entries in order."""
    found, name = {}, None
    for line in text.splitlines():
        if (head := re.fullmatch(r"(\w+):", line)) and head[1] in _SECTIONS:
            name = head[1]
            found[name] = []
        elif name and (entry := re.match(r"    (\*{0,2}\w+(?:, \*{0,2}\w+)*): ", line)):
            found[name] += [each.strip("* ") for each in entry[1].split(",")]
    return found


@pytest.mark.parametrize("name", NAMES)
def test_every_argument_is_described_once_and_in_order(name):
    found = public(name)
    if not callable(found):
        return
    for each in described(found):
        text = inspect.getdoc(each) or ""
        parts = sections(text)
        assert list(parts) == [section for section in _SECTIONS if section in parts], f"{each}: the order of its sections"
        wanted = [p for p in _parameters(each) if p not in ("self", "cls")]
        said = parts.get("Args", parts.get("Attributes", []))
        assert not wanted or [argument for argument in said if argument in wanted] == wanted, f"{each.__qualname__}: {said}"
        if "Args" in parts and not inspect.isclass(each):
            assert said == wanted, f"{each.__qualname__} describes {said}, and takes {wanted}"


def _parameters(found):
    try:
        return list(inspect.signature(found).parameters)
    except ValueError:
        return []
