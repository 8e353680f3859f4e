"""The tile of a program of the block's backward, and how its kernels are launched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from torch import Tensor

from dcnn_fast.ops.launch import Launch, launch


@dataclass(frozen=True)
class Tile:
    """The tile of a program: `rows` by `columns` results, `depth` products at a time, and how it is compiled."""

    rows: int
    columns: int
    depth: int
    warps: int = 4
    stages: int = 2


def run_kernel(
    module: str,
    kernel: str,
    grid: tuple[int, ...],
    args: Mapping[str, Tensor | int | float],
    constants: Mapping[str, Any],
    tile: Tile,
) -> None:
    """Launch a kernel of a module beside this one, which is imported where Triton is used and no earlier."""
    kernels = import_module(f"dcnn_fast.ops.block.triton.{module}")
    launch(Launch(getattr(kernels, kernel), grid, args, constants, tile.warps, tile.stages))


def sides(tile: Tile, depth: bool = False) -> Mapping[str, int]:
    """The tile under the kernels' names."""
    found = {"BM": tile.rows, "BN": tile.columns}
    return {**found, "BK": tile.depth} if depth else found


def cdiv(count: int, size: int) -> int:
    """Tiles of `size` that hold `count`."""
    return -(-count // size)
