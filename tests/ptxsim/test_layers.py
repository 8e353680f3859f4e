"""The simulator's modules: none imports another that imports it, and memories do not know the machine."""

from __future__ import annotations

import ast
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2] / "ptxsim" / "src" / "ptxsim"


def imported():
    """The modules of the package that each one imports, also where only types are checked."""
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
