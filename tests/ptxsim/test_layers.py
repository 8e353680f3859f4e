"""The simulator's modules: no imports in a circle, and memories do not know the interpreter."""

from __future__ import annotations

import ast
import importlib
import sys
from pathlib import Path

import pytest

from ptxsim import interpreter

SOURCE = Path(__file__).resolve().parents[2] / "ptxsim" / "src" / "ptxsim"


def imported():
    """The modules of the package that each one imports, including imports for type checking."""
    names = {path: ".".join(path.relative_to(SOURCE).with_suffix("").parts) for path in SOURCE.rglob("*.py")}
    found = {}
    for path, name in names.items():
        package = name.split(".")[:-1]
        found[name] = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level:
                base = [*package[: len(package) - node.level + 1], *([node.module] if node.module else [])]
                below = {".".join([*base, alias.name]) for alias in node.names} & set(names.values())
                found[name] |= below or {".".join(base)}
    return found


def test_no_module_imports_one_that_imports_it():
    left = imported()
    while left:
        free = [name for name, needed in left.items() if not needed & set(left)]
        assert free, f"a circle among {sorted(left)}"
        for name in free:
            del left[name]


def test_memories_know_which_threads_run_and_whom_to_tell():
    modules = imported()
    for memory in ("memory", "shared", "local"):
        assert modules[memory] <= {"lanes", "native", "values"}, memory
    assert modules["lanes"] == {"values"}


def test_the_former_name_of_the_interpreter_goes_on():
    sys.modules.pop("ptxsim.machine", None)
    with pytest.warns(DeprecationWarning, match="ptxsim.machine is called ptxsim.interpreter"):
        machine = importlib.import_module("ptxsim.machine")
    assert machine.Machine is interpreter.Interpreter
