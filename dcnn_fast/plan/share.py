"""The sharing plan: common parts of overlapping windows are computed once, the rest for each window.

It is made in C++ (csrc/core/plan). Without the engine every window goes through every block separately.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from dcnn_fast import engine
from dcnn_fast.networks import AnyColumn, Column, Pool, SameMapNorm
from dcnn_fast.ops.block import OutputTile
from dcnn_fast.ops.precision import Precision
from dcnn_fast.ops.region import ColumnRegions
from dcnn_fast.plan.brute import ColumnPlan, brute_force
from dcnn_fast.plan.cost import MACS_PER_BYTE, tiles_of


def reason() -> str | None:
    """Why every plan is brute force.

    Returns:
        The reason; None where windows may share.
    """
    return "made by the C++ engine, which is not there: brute force, one region a window" if engine.reason() else None


def share(
    column: AnyColumn, windows: np.ndarray, plane: tuple[int, int], backend: str = "cpu", precision: Precision = "ieee",
    always: bool = False,
) -> ColumnPlan:  # fmt: skip
    """A plan that costs no more than brute force, block by block.

    It is brute force without the C++ engine, and for a column without blocks: a backbone's padding makes every layer's results
    depend on the window's position. A pure function of its arguments and the engine's instruction set.

    Args:
        column: The column as data.
        windows: [samples, 2] int64 (top, left) of each sample's window in the plane, in pixels.
        plane: The plane's rows and columns.
        backend: The backend whose costs and tiles count; on another backend the plan gives the same results up to rounding.
        precision: The precision whose costs and tiles count.
        always: Share wherever possible, whether or not it pays, for examples and tests.

    Returns:
        The plan, "sharing" or "brute-force".
    """
    if engine.reason() or not isinstance(column, Column):
        return brute_force(column, windows)
    places = np.ascontiguousarray(windows, np.int64)
    isa = engine.isa() if backend == "cpu" else ""
    # All windows are equal, such as the whole plane: their plan is the same for every photograph.
    if len(places) and (places == places[0]).all() and not always:
        top, left = places[0].tolist()
        return replace(_alone(column, top, left, plane, backend, precision, isa), window_of=np.zeros(len(places), np.int64))
    return planned(column, places, plane, _blocks(column, backend, precision, isa), MACS_PER_BYTE[backend], always)


@lru_cache(maxsize=64)
def _alone(
    column: Column, top: int, left: int, plane: tuple[int, int], backend: str, precision: Precision, isa: str
) -> ColumnPlan:
    """The plan of one window."""
    blocks = _blocks(column, backend, precision, isa)
    return planned(column, np.array([[top, left]]), plane, blocks, MACS_PER_BYTE[backend])


def planned(
    column: Column, windows: np.ndarray, plane: tuple[int, int], blocks: np.ndarray, macs_per_byte: float, always: bool = False
) -> ColumnPlan:
    """The engine's plan. blocks: `records` of the column. always: as `share` says."""
    shares, window_of, regions = engine.native.plan(
        blocks, column.channels, column.window, column.rounding == "up", windows, plane, macs_per_byte, always
    )
    return ColumnPlan("sharing" if shares else "brute-force", ColumnRegions(regions), window_of)


@lru_cache(maxsize=64)
def _blocks(column: Column, backend: str, precision: Precision, isa: str) -> np.ndarray:
    """isa: the engine's instruction set, which decides its tiles."""
    return records(column, tiles_of(column, backend, precision))


def records(column: Column, tiles: tuple[OutputTile, ...]) -> np.ndarray:
    """The column's blocks as the engine's records (csrc/core/plan/column.h), their convolutions computed in these tiles."""
    found = np.zeros(len(column.blocks), engine.native.block_dtype)
    for row, block, tile in zip(found, column.blocks, tiles, strict=True):
        pool = block.pool or Pool(1, 1)
        for name in ("filters", "size", "stride", "padding", "groups"):
            row[name] = getattr(block, name)
        row["pool_size"], row["pool_stride"] = pool.size, pool.stride
        row["norm_size"] = block.norm.size if isinstance(block.norm, SameMapNorm) else 1
        row["norm_first"] = block.norm_first
        row["tile_side"], row["tile_size"], row["tile_macs"] = tile.side, tile.size, tile.macs
    return found
