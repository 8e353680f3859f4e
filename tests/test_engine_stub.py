"""dcnn_fast/_engine.pyi, against which mypy checks callers, matches the compiled module."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest

import dcnn_fast
from dcnn_fast import engine

pytestmark = pytest.mark.needs_engine

STUB = ast.parse((Path(dcnn_fast.__file__).parent / "_engine.pyi").read_text())
DEFINED = {node.name: node for node in STUB.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
VALUES = {node.target.id for node in STUB.body if isinstance(node, ast.AnnAssign)}


def _stated(text):
    """The one signature of a pybind11 docstring, as a function definition."""
    return ast.parse(f"def {text.splitlines()[0].replace('dcnn_fast._engine.', '')}: ...").body[0]


def _arguments(function):
    """Each argument's name, in order, whether it is positional or by name, whether None is allowed, and its kind."""
    found = []
    arguments = function.args
    positional = [argument for argument in (*arguments.posonlyargs, *arguments.args) if argument.arg != "self"]
    for argument in positional:
        found.append((argument.arg, "position", _may_be_none(argument.annotation), _kind(argument.annotation)))
    for argument in arguments.kwonlyargs:
        found.append((argument.arg, "name", _may_be_none(argument.annotation), _kind(argument.annotation)))
    assert not arguments.defaults
    assert not any(arguments.kw_defaults)
    return found


def _may_be_none(annotation):
    return "None" in ast.unparse(annotation)


def _kind(annotation):
    """int, float, bool, str, array, a class of the engine, or Sequence and tuple with the kinds inside."""
    text = ast.unparse(annotation)
    if "Sequence" in text:
        inner = next(
            node for node in ast.walk(annotation) if isinstance(node, ast.Subscript) and "Sequence" in ast.unparse(node.value)
        )
        return "Sequence", _kind(inner.slice)
    if "tuple[" in text or text == "_Shape":
        return "tuple"
    for name in ("NDArray", "ndarray", "ArrayLike"):
        if name in text:
            return "array"
    for name, kind in (("SupportsInt", "int"), ("SupportsFloat", "float")):
        if name in text:
            return kind
    return next(word for word in text.replace("|", " ").split() if word != "None")


def test_the_stub_names_what_the_module_has():
    module = engine.load()
    public = {name for name in vars(module) if not name.startswith("_")}
    assert public == {*DEFINED, *VALUES}


@pytest.mark.parametrize("name", sorted(DEFINED))
def test_signatures_are_the_modules(name):
    node, compiled = DEFINED[name], getattr(engine.load(), name)
    if isinstance(node, ast.ClassDef):
        assert inspect.isclass(compiled)
        methods = {each.name: each for each in node.body if isinstance(each, ast.FunctionDef)}
        public = {each for each in vars(compiled) if not each.startswith("_")}
        assert public == {each for each in methods if not each.startswith("_")}
        stated = [each for each in methods if "self: " in (getattr(compiled, each).__doc__ or "") or each != "__init__"]
        pairs = [(methods[each], getattr(compiled, each)) for each in stated]
        assert pairs
    else:
        pairs = [(node, compiled)]
    for node, compiled in pairs:
        if callable(compiled):  # a property has no arguments
            assert _arguments(node) == _arguments(_stated(compiled.__doc__))
