"""The sharing plan: common results of overlapping windows are computed once, the rest for each window.

For every block, windows whose offsets agree modulo the convolution's cumulative stride form groups (`cluster`). A group's
shared results are one region over all its windows, or where groups overlap several regions that don't (`overlap`), with a piece
for each pool phase that a window needs. Each phase of a group is a map that the next block's groups read; pieces are stored
there and, in parts, in the windows' own images, where their rims are put too: there the next block's rims, or its regions for
windows by themselves, read them.
"""

from __future__ import annotations

import numpy as np
import torch

from dcnn_fast.networks import Column
from dcnn_fast.ops.block import OutputTile
from dcnn_fast.ops.region import RegionList
from dcnn_fast.plan import ColumnPlan
from dcnn_fast.plan.brute import distinct_windows
from tests.plan.reference_plan.cost import costs_and_constants
from tests.plan.reference_plan.interior import groups_tables
from tests.plan.reference_plan.level import levels_of
from tests.plan.reference_plan.rim import Tables, strips_of


def planned(
    column: Column,
    windows: np.ndarray,
    plane: tuple[int, int],
    tiles: tuple[OutputTile, ...],
    macs_per_byte: float,
    always: bool = False,
) -> ColumnPlan:
    """A plan that costs less than brute force by `BlockCost`, block by block, or the same where sharing gains nothing.

    windows: [views, 2] int64 (top, left) of each view's window in the plane. plane: its rows and columns. tiles: each block's.
    always: share all that can be shared, whether or not it pays.
    """
    places, window_of = distinct_windows(windows)
    levels, of = levels_of(costs_and_constants(column, tiles, macs_per_byte), places, always)
    (groups, maps), strips = groups_tables(levels, of, plane), strips_of(levels, of, places)
    images = [(len(places), level.axis.out, level.axis.out) for level in levels]
    blocks = tuple(
        _region_list(shared, alone, (own, *((1, rows, cols) for rows, cols in stored)))
        for own, stored, shared, alone in zip(images, maps, groups, strips, strict=True)
    )
    name = "sharing" if any(level.members.size for level in levels) else "brute-force"
    return ColumnPlan(name, blocks, window_of)


def _region_list(groups: Tables, strips: Tables, outputs: tuple[tuple[int, int, int], ...]) -> RegionList:
    """The tables of one block joined; indices in the strips' tables are shifted past the groups'."""
    if len(groups[0]):
        strips[0][:, 12] += len(groups[1])
        strips[1][:, 4] += len(groups[2])
        strips = tuple(np.concatenate(pair) for pair in zip(groups, strips, strict=True))  # type: ignore[assignment]
    regions, pieces, stores = map(torch.from_numpy, strips)
    return RegionList(regions, pieces, stores, outputs)
