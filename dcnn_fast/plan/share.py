"""The sharing plan: what overlapping windows have in common is computed once, the rest for each window.

For every block, windows whose offsets agree modulo the convolution's cumulative stride form groups (`cluster`). A group's
shared results are one region over all its windows, or where groups overlap several regions that don't (`overlap`), with a piece
for each pool phase that a window needs. Each phase of a group is a map that the next block's groups read; pieces are stored
there and, in parts, in the windows' own images, where their rims are put too: there the next block's rims, or its regions for
windows by themselves, read them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from dcnn_fast.ops.precision import Precision
from dcnn_fast.ops.region import PIECE_FIELDS, REGION_FIELDS, STORE_FIELDS, RegionList
from dcnn_fast.plan.brute import ColumnPlan, distinct_windows
from dcnn_fast.plan.level import Level, levels_of
from dcnn_fast.plan.overlap import Regions, regions_apart
from dcnn_fast.plan.rim import strips_of, wanted_of
from dcnn_fast.spec import Column


@dataclass(frozen=True)
class _Maps:
    """What a block's groups read: for each map the source that it is, its first place on the lattice of inputs, its extent."""

    source: np.ndarray
    origin: np.ndarray
    extent: np.ndarray


def share(
    column: Column, windows: np.ndarray, plane: tuple[int, int], backend: str = "cpu", precision: Precision = "ieee"
) -> ColumnPlan:
    """The plan that costs least by `BlockCost`, block by block: never more than brute force.

    windows: [views, 2] int64 (top, left) of each view's window in the plane. plane: its rows and columns. backend, precision:
    whose costs and tiles count; on another backend the plan gives the same results but for rounding. A pure function of its
    arguments.
    """
    places, window_of = distinct_windows(windows)
    levels = levels_of(column, places, backend, precision)
    blocks: list[RegionList] = []
    maps = _Maps(np.zeros(1, np.int64), np.zeros((1, 2), np.int64), np.array([plane], dtype=np.int64))
    strips, wanted = strips_of(levels, places), wanted_of(levels)
    for i, level in enumerate(levels):
        tables = _Tables(level)
        maps = tables.add_groups(maps, levels[i + 1].groups.source if i + 1 < len(levels) else None, *wanted[i])
        tables.add(*strips[i])
        blocks.append(tables.region_list())
    name = "sharing" if any(level.members.size for level in levels) else "brute-force"
    return ColumnPlan(name, tuple(blocks), window_of)


class _Tables:
    """The tables of one block as they grow: groups first, then rims and windows by themselves."""

    def __init__(self, level: Level) -> None:
        self.level = level
        self.regions: list[np.ndarray] = []
        self.pieces: list[np.ndarray] = []
        self.stores: list[np.ndarray] = []
        self.maps: list[tuple[int, int]] = []  # rows and columns of each map that is stored
        self._pieces = self._stores = 0

    def region_list(self) -> RegionList:
        """The tables, and the outputs: every window's own image, then the maps."""
        out = self.level.axis.out
        outputs = ((len(self.level.phase), out, out), *((1, rows, cols) for rows, cols in self.maps))
        regions, pieces, stores = (torch.from_numpy(np.concatenate(t)) for t in (self.regions, self.pieces, self.stores))
        return RegionList(regions, pieces, stores, outputs)

    def add_groups(self, maps: _Maps, next_sources: np.ndarray | None, wanted: np.ndarray, member: np.ndarray) -> _Maps:
        """The groups' regions, each of which reads one of `maps`; returns the maps that the next block reads.

        next_sources: the maps that its groups read. wanted, member: `wanted_of`.
        """
        axis, phases = self.level.axis, self.level.phases
        read = np.zeros(0, np.int64) if next_sources is None else np.unique(next_sources)
        source = np.full(len(phases.group), -1)
        source[read] = np.arange(1, len(read) + 1)  # output 0 holds the windows' own images
        found = _Maps(source, phases.first, phases.last - phases.first + 1)
        if not len(phases.group):
            return found
        self.maps = [(rows, cols) for rows, cols in found.extent[read].tolist()]
        apart = regions_apart(axis, self.level.groups, phases)
        of, parts = apart.regions, apart.pieces

        regions = np.zeros((len(of.source), len(REGION_FIELDS) + 2), np.int64)
        regions[:, 0] = maps.source[of.source]
        regions[:, 4:6] = maps.extent[of.source]
        regions[:, 6:8] = of.first * axis.stride + of.residue - axis.padding - maps.origin[of.source]
        regions[:, 8:10] = of.last - of.first + 1
        regions[:, 10:12] = of.first
        regions[:, 13] = np.bincount(parts.group)
        regions[:, 12] = np.cumsum(regions[:, 13]) - regions[:, 13]

        stores, owners = self._stores_of_groups(apart, read, found, wanted, member)
        pieces = np.zeros((len(parts.group), len(PIECE_FIELDS) + 2), np.int64)
        pieces[:, 0:2] = (parts.first - axis.before) * axis.pool_stride + parts.phase - of.first[parts.group]
        pieces[:, 2:4] = parts.last - parts.first + 1 + axis.before + axis.after
        pieces[:, 5] = np.bincount(owners, minlength=len(pieces))
        pieces[:, 4] = np.cumsum(pieces[:, 5]) - pieces[:, 5]
        self.add(regions, pieces, stores)
        return found

    def _stores_of_groups(
        self, apart: Regions, read: np.ndarray, maps: _Maps, wanted: np.ndarray, member: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The pieces' stores, as the maps `read` and in windows' own images, sorted by piece; and whose each is."""
        level, axis = self.level, self.level.axis
        offset = level.lattice[member] // axis.pool_stride  # between places in a window and on the lattice
        rows = np.zeros((len(read) + len(member), len(STORE_FIELDS)), np.int64)
        maps_rows, own = rows[: len(read)], rows[len(read) :]
        maps_rows[:, 0:2], maps_rows[:, 2:4] = level.phases.first[read], level.phases.last[read]
        maps_rows[:, 4] = maps.source[read]
        own[:, 0:2], own[:, 2:4] = offset + wanted[:, :, 0], offset + wanted[:, :, 1]
        own[:, 5] = member
        own[:, 6:8] = wanted[:, :, 0]
        rows, owner = apart.split(np.concatenate([read, level.phase[member]]), rows)
        rows[:, 2:4] += 1 - rows[:, 0:2]
        rows[:, 0:2] += axis.before - apart.pieces.first[owner]
        return rows, owner

    def add(self, regions: np.ndarray, pieces: np.ndarray, stores: np.ndarray) -> None:
        """More regions, whose first pieces and stores count from their own."""
        regions[:, 12] += self._pieces
        pieces[:, 4] += self._stores
        self._pieces += len(pieces)
        self._stores += len(stores)
        self.regions.append(regions)
        self.pieces.append(pieces)
        self.stores.append(stores)
