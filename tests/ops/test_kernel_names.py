"""The names of GPU kernels and of the constants that the block's are compiled for: one scheme, one vocabulary."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from dcnn_fast import ops
from dcnn_fast.ops import cuda_compile
from dcnn_fast.ops.block.triton import parts

OPS = Path(ops.__file__).parent
TRITON = sorted(path for path in OPS.rglob("*.py") if "triton.jit" in path.read_text())
CUDA = sorted(cuda_compile.sources().rglob("*.cu"))
BLOCK = [path for path in TRITON if path.parent.parent.name == "block"]


def _functions(path):
    """The functions under `triton.jit`."""
    found = (node for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef))
    return [function for function in found if "triton.jit" in map(ast.unparse, function.decorator_list)]


def _kernels():
    """(operation, kernel) of every kernel."""
    for path in TRITON:
        for function in _functions(path):
            if function.name.endswith("_kernel"):
                yield path.relative_to(OPS).parts[0], function.name
    for path in CUDA:
        for name in re.findall(r"__global__[^;{]*?(\w+)\((?!THREADS|\d)", path.read_text()):
            yield path.parent.name, name


def test_kernels_are_named_by_their_operation_and_by_their_direction_where_it_has_two():
    kernels = list(_kernels())
    assert len(kernels) > 15
    for operation, name in kernels:
        direction = "_(fwd|bwd)" if operation == "block" else ""
        assert re.fullmatch(rf"{operation}{direction}(_[a-z]+)*_kernel", name), name
    assert len({name for _, name in kernels}) == len(kernels)


@pytest.mark.parametrize("path", BLOCK, ids=lambda path: path.name)
def test_every_constant_of_the_blocks_kernels_is_in_the_table_of_words(path):
    words = set(re.findall(r"\b[A-Z][A-Z_]*\b", parts.__doc__))
    for function in _functions(path):
        taken = {arg.arg for arg in function.args.args if arg.annotation and ast.unparse(arg.annotation) == "tl.constexpr"}
        made = {
            node.target.id
            for node in ast.walk(function)
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
        }
        assert {name for name in taken | made if name.isupper()} <= words, function.name
