"""The sharing plan: what overlapping windows have in common is computed once, the rest for each window.

For every block, windows whose offsets agree modulo the convolution's cumulative stride form groups (`cluster`). A group's
shared results are one region over all its windows, or where groups overlap several regions that don't (`overlap`), with a piece
for each pool phase that a window needs. Each phase of a group is a map that the next block's groups read; pieces are stored
there and, in parts, in the windows' own images, where their rims are put too: there the next block's rims, or its regions for
windows by themselves, read them.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch

from dcnn_fast import engine
from dcnn_fast.ops.precision import Precision
from dcnn_fast.ops.region import RegionList
from dcnn_fast.plan.brute import ColumnPlan, distinct_windows
from dcnn_fast.plan.interior import groups_tables
from dcnn_fast.plan.level import levels_of
from dcnn_fast.plan.rim import Tables, strips_of
from dcnn_fast.spec import Column


def share(
    column: Column, windows: np.ndarray, plane: tuple[int, int], backend: str = "cpu", precision: Precision = "ieee"
) -> ColumnPlan:
    """A plan that costs less than brute force by `BlockCost`, block by block, or as much where nothing is gained by sharing.

    windows: [views, 2] int64 (top, left) of each view's window in the plane. plane: its rows and columns. backend, precision:
    whose costs and tiles count; on another backend the plan gives the same results but for rounding. A pure function of its
    arguments and, of the engine, its instruction set.
    """
    places, window_of = distinct_windows(windows)
    if len(places) == 1:  # of a column whose window is the whole plane, say: photograph after photograph the same
        (top, left), isa = places[0].tolist(), engine.isa() if backend == "cpu" and engine.reason() is None else ""
        return replace(_alone(column, top, left, plane, backend, precision, isa), window_of=window_of)
    return _shared(column, places, window_of, plane, backend, precision)


@lru_cache(maxsize=64)
def _alone(
    column: Column, top: int, left: int, plane: tuple[int, int], backend: str, precision: Precision, isa: str
) -> ColumnPlan:
    """The plan of one window."""
    return _shared(column, np.array([[top, left]]), np.zeros(1, np.int64), plane, backend, precision)


def _shared(
    column: Column, places: np.ndarray, window_of: np.ndarray, plane: tuple[int, int], backend: str, precision: Precision
) -> ColumnPlan:
    levels, of = levels_of(column, places, backend, precision)
    (groups, maps), strips = groups_tables(levels, of, plane), strips_of(levels, of, places)
    images = [(len(places), level.axis.out, level.axis.out) for level in levels]
    blocks = tuple(
        _region_list(shared, alone, (own, *((1, rows, cols) for rows, cols in stored)))
        for own, stored, shared, alone in zip(images, maps, groups, strips, strict=True)
    )
    name = "sharing" if any(level.members.size for level in levels) else "brute-force"
    return ColumnPlan(name, blocks, window_of)


def _region_list(groups: Tables, strips: Tables, outputs: tuple[tuple[int, int, int], ...]) -> RegionList:
    """The tables of one block in one; what the strips' name counts from their own first."""
    if len(groups[0]):
        strips[0][:, 12] += len(groups[1])
        strips[1][:, 4] += len(groups[2])
        strips = tuple(np.concatenate(pair) for pair in zip(groups, strips, strict=True))  # type: ignore[assignment]
    regions, pieces, stores = map(torch.from_numpy, strips)
    return RegionList(regions, pieces, stores, outputs)
