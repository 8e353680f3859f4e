"""The plan without sharing: every distinct window goes through every block by itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from dcnn_fast.ops.region import RegionList, of_windows
from dcnn_fast.spec import Column


@dataclass(frozen=True)
class ColumnPlan:
    """What to compute for the windows of one column on one plane.

    name: the plan's kind. blocks: one RegionList a block; block 1 reads the plane, each later one the output of the one
    before. window_of: [views] int64, which image of the last block's output is view i's: equal windows share one.
    """

    name: str
    blocks: tuple[RegionList, ...]
    window_of: np.ndarray


def brute_force(column: Column, windows: np.ndarray) -> ColumnPlan:
    """One region per distinct window and block.

    windows: [views, 2] int64 (top, left) of each view's window in the plane.
    """
    distinct, window_of = np.unique(windows, axis=0, return_inverse=True)
    count = len(distinct)
    first = torch.zeros(count, 3, dtype=torch.int64)
    first[:, 1:] = torch.from_numpy(distinct)
    later = torch.zeros(count, 3, dtype=torch.int64)
    later[:, 0] = torch.arange(count)
    blocks: list[RegionList] = []
    for block, extent in zip(column.blocks, column.extents()[:-1], strict=True):
        blocks.append(
            of_windows(
                later if blocks else first, extent, extent,
                size=block.size, stride=block.stride, padding=block.padding, rounding=column.rounding, pool=block.pool,
            )
        )  # fmt: skip
    return ColumnPlan("brute-force", tuple(blocks), window_of.reshape(-1))
