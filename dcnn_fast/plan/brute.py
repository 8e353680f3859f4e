"""The plan without sharing: every distinct window goes through every block separately."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from dcnn_fast.networks import AnyColumn, Column
from dcnn_fast.ops.region import RegionList, of_windows

FIXED = "fixed"  # the name of a plan


@dataclass(frozen=True)
class ColumnPlan:
    """The plan for one column's windows on one plane.

    Attributes:
        name: The plan's kind, "brute-force", "sharing" or "fixed".
        blocks: One RegionList per block; block 1 reads the plane, each later block the output of its predecessor. Empty for a
            column without blocks, whose layers see whole windows, and in a fixed plan.
        window_of: [samples] int64, the index of sample i's window among the distinct windows, sorted by row and column.
    """

    name: str
    blocks: Sequence[RegionList]
    window_of: np.ndarray


def distinct_windows(windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct windows, [n, 2] sorted by row and column, and the index among them of each of `windows`."""
    tops, lefts = windows.astype(np.int64).T
    code = tops * 2**31 + lefts
    order = code.argsort(kind="stable")  # np.unique takes twice as long
    in_order, new = code[order], np.ones(len(code), bool)
    np.not_equal(in_order[1:], in_order[:-1], out=new[1:])
    window_of = np.empty(len(code), np.int64)
    window_of[order] = np.cumsum(new) - 1
    return windows[order[new]].astype(np.int64), window_of


def brute_force(column: AnyColumn, windows: np.ndarray) -> ColumnPlan:
    """One region per distinct window and block; only windows for a column without blocks, whose layers have no regions.

    Args:
        column: The column as data.
        windows: [samples, 2] int64 (top, left) of each sample's window in the plane, in pixels.

    Returns:
        The plan "brute-force".
    """
    distinct, window_of = distinct_windows(windows)
    if not isinstance(column, Column):
        return ColumnPlan("brute-force", (), window_of)
    count, step = len(distinct), 1
    first, later = np.zeros((count, 3), np.int64), np.zeros((count, 3), np.int64)
    first[:, 1:] = distinct
    later[:, 0] = np.arange(count)
    blocks: list[RegionList] = []
    for block, extent in zip(column.blocks, column.extents()[:-1], strict=True):
        regions = of_windows(
            torch.from_numpy(later if blocks else first), extent, extent,
            size=block.size, stride=block.stride, padding=block.padding, rounding=column.rounding, pool=block.pool,
        )  # fmt: skip
        rows = regions.rows()
        for places, corner, side in zip(distinct.T, ("top", "left"), ("height", "width"), strict=True):
            if not blocks and block.padding == 0:  # as in a sharing plan: a tile (no output) may read before the window
                rows[f"window_{side}"] += rows[f"window_{corner}"]
                rows[f"window_{corner}"] = 0
            # Tiles are aligned as in a sharing plan, so that results are bit for bit equal.
            rows[f"lattice_{corner}"] = places // (step * block.stride)
        blocks.append(regions)
        step *= block.stride * (block.pool.stride if block.pool else 1)
    return ColumnPlan("brute-force", tuple(blocks), window_of)


@lru_cache(maxsize=16)
def fixed(samples: int) -> ColumnPlan:
    """The plan of an evaluation whose launches are the same for all photographs.

    Every sample's window is separate, even equal ones, and there is no list of regions, as they never change.

    Args:
        samples: How many samples a picture has.

    Returns:
        The plan "fixed", the same object for the same number of samples while it is cached.

    Example:
        >>> fixed(3).window_of.tolist()
        [0, 1, 2]
    """
    return ColumnPlan(FIXED, (), np.arange(samples))
