"""Copies of the CUDA C++ sources, for tests that plant a bug or add a kernel, and the available compilers."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dcnn_fast.ops.cuda_compile import compiled, definitions, sources

DATA = Path(__file__).parent / "data"
TABLES = Path(__file__).parents[2] / "csrc" / "core" / "tables.h"
COMPILERS = ("nvrtc", "nvcc") if shutil.which("nvcc") else ("nvrtc",)


def copied(folder: Path) -> Path:
    """A copy of csrc/cuda and its includes, with the kernels of tests/ops/data beside the headers."""
    shutil.copytree(sources(), folder)
    (folder / "core").mkdir(exist_ok=True)
    shutil.copy(TABLES, folder / "core")
    for file in DATA.glob("*.cu"):
        shutil.copy(file, folder)
    return folder


def planted(folder: Path, source: str, before: str, after: str) -> Path:
    """A copy in which the only occurrence of `before` in `source` is replaced by `after`."""
    copied(folder)
    text = (folder / source).read_text()
    assert text.count(before) == 1, f"{text.count(before)} places of {source} read {before!r}"
    (folder / source).write_text(text.replace(before, after))
    return folder


def ptx_by(compiler: str, folder: Path, source: str, defines: Mapping[str, Any], out: Path) -> str:
    """The PTX that one of `COMPILERS` makes of a source below `folder` for sm_80. out: a folder for nvcc's file."""
    if compiler == "nvrtc":
        return compiled(source, defines, 80, folder).ptx
    file = out / "nvcc.ptx"
    options = ["-std=c++17", "-arch=sm_80", "-lineinfo", "-I", str(folder), "-I", str(folder.parent), *definitions(defines)]
    subprocess.run(["nvcc", *options, "-ptx", "-o", str(file), str(folder / source)], check=True, capture_output=True)
    return file.read_text()
