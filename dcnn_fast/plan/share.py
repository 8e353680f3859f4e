"""The sharing plan: what overlapping windows have in common is computed once, the rest for each window.

For every block, windows whose offsets agree modulo the convolution's cumulative stride form groups (`cluster`). A group's
shared results are one region over all its windows, or where groups overlap several regions that don't (`overlap`), with a piece
for each pool phase that a window needs. Each phase of a group is a map that the next block's groups read; pieces are stored
there and, in parts, in the windows' own images, where their rims are put too: there the next block's rims, or its regions for
windows by themselves, read them.

Places are those of the lattices that all windows of the plane share: the window at pixel o has convolution output i at
o // step + i, and result j at o // step // pool stride + j. Arrays have a row for each window, group or piece, and a column
for each axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from dcnn_fast.ops.precision import Precision
from dcnn_fast.ops.region import PIECE_FIELDS, REGION_FIELDS, STORE_FIELDS, RegionList
from dcnn_fast.plan.brute import ColumnPlan, distinct_windows
from dcnn_fast.plan.cluster import groups_of
from dcnn_fast.plan.cost import BlockCost, costs_of
from dcnn_fast.plan.geometry import AFTER, ALL, BEFORE, SHARED, Axis, Span, Windows, windows_of
from dcnn_fast.plan.overlap import Groups, Phases, Regions, regions_apart
from dcnn_fast.spec import Column


@dataclass(frozen=True)
class _Level:
    """One block of the plan. members: the windows that share, sorted by the phase of their group. phase: the number of that in
    `phases`, of every window, -1 for none.
    """

    axis: Axis
    windows: Windows
    lattice: np.ndarray
    members: np.ndarray
    phase: np.ndarray
    groups: Groups
    phases: Phases


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
    levels = _levels(column, places, backend, precision)
    blocks: list[RegionList] = []
    maps = _Maps(np.zeros(1, np.int64), np.zeros((1, 2), np.int64), np.array([plane], dtype=np.int64))
    for i, level in enumerate(levels):
        tables = _Tables(level, places if i == 0 else None)
        maps = tables.add_groups(maps, levels[i + 1] if i + 1 < len(levels) else None)
        tables.add_rims()
        tables.add_alone()
        blocks.append(tables.region_list())
    name = "sharing" if any(level.members.size for level in levels) else "brute-force"
    return ColumnPlan(name, tuple(blocks), window_of)


def _levels(column: Column, places: np.ndarray, backend: str, precision: Precision) -> list[_Level]:
    """Groups and their phases in every block. A group reads a map of the block before, which is a phase's number there."""
    costs = costs_of(column, backend, precision)
    source = np.zeros(len(places), np.int64)
    levels: list[_Level] = []
    for cost, windows in zip(costs, windows_of(tuple(cost.axis for cost in costs), places), strict=True):
        levels.append(_level(cost, windows, places, source))
        source = levels[-1].phase
    return levels


def _level(cost: BlockCost, windows: Windows, places: np.ndarray, source: np.ndarray) -> _Level:
    axis = cost.axis
    lattice, stride, pool_stride = places // axis.step, axis.stride, axis.pool_stride
    residue = places // (axis.step // stride) % stride
    shareable = (source >= 0) & (windows.shared[:, :, 1] >= 0).all(axis=1)
    classes = np.where(shareable, (source * stride + residue[:, 0]) * stride + residue[:, 1], -1)
    first, last = lattice + windows.needs[:, :, 0], lattice + windows.needs[:, :, 1]
    group = groups_of(classes, first, last, cost.saved(windows), cost)

    members = np.flatnonzero(group >= 0)
    phase = lattice % pool_stride
    codes = (group * pool_stride + phase[:, 0]) * pool_stride + phase[:, 1]
    members = members[np.argsort(codes[members], kind="stable")]
    group_starts, phase_starts = _starts(group[members]), _starts(codes[members])
    leaders, phase_leaders = members[group_starts], members[phase_starts]
    results = lattice[:, :, None] // pool_stride + windows.shared
    groups = Groups(source[leaders], residue[leaders], *_bounds(first[members], last[members], group_starts))
    phases = Phases(
        group[phase_leaders], phase[phase_leaders], *_bounds(results[members, :, 0], results[members, :, 1], phase_starts)
    )
    phase_of = np.full(len(places), -1)
    phase_of[members] = np.repeat(np.arange(len(phase_starts)), np.diff(phase_starts, append=len(members)))
    return _Level(axis, windows, lattice, members, phase_of, groups, phases)


def _starts(labels: np.ndarray) -> np.ndarray:
    """Where runs of equal labels begin."""
    return np.flatnonzero(np.diff(labels, prepend=-1))


def _bounds(first: np.ndarray, last: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The least first and the greatest last of each run of rows."""
    if not starts.size:
        return first, last
    return np.minimum.reduceat(first, starts), np.maximum.reduceat(last, starts)


class _Tables:
    """The tables of one block as they grow: groups first, then rims, then windows by themselves.

    places: of the windows in the plane for block 1, None for the blocks that read windows' own images.
    """

    def __init__(self, level: _Level, places: np.ndarray | None) -> None:
        self.level, self.places = level, places
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

    def add_groups(self, maps: _Maps, following: _Level | None) -> _Maps:
        """The groups' regions, each of which reads one of `maps`; returns the maps that the next block reads."""
        axis, phases = self.level.axis, self.level.phases
        read = np.unique(following.groups.source) if following else np.zeros(0, np.int64)
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

        stores, owners = self._stores_of_groups(apart, read, found, following)
        pieces = np.zeros((len(parts.group), len(PIECE_FIELDS) + 2), np.int64)
        pieces[:, 0:2] = (parts.first - axis.before) * axis.pool_stride + parts.phase - of.first[parts.group]
        pieces[:, 2:4] = parts.last - parts.first + 1 + axis.before + axis.after
        pieces[:, 5] = np.bincount(owners, minlength=len(pieces))
        pieces[:, 4] = np.cumsum(pieces[:, 5]) - pieces[:, 5]
        self._append(regions, pieces, stores)
        return found

    def _stores_of_groups(
        self, apart: Regions, read: np.ndarray, maps: _Maps, following: _Level | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The pieces' stores, as the maps `read` and in windows' own images, sorted by piece; and whose each is."""
        level, axis = self.level, self.level.axis
        (wanted, member), count = _wanted(level, following), len(read)
        phase = np.concatenate([read, level.phase[member]])
        offset = np.zeros((len(phase), 2), np.int64)  # of the lattice's results in what is stored to
        offset[:count] = maps.origin[read]
        offset[count:] = level.lattice[member] // axis.pool_stride
        first = np.concatenate([offset[:count], offset[count:] + wanted[:, 0]])
        last = np.concatenate([level.phases.last[read], offset[count:] + wanted[:, 1]])
        output, image = np.zeros((2, len(phase)), np.int64)
        output[:count], image[count:] = maps.source[read], member

        of, owner = apart.pieces_of(phase)
        first = np.maximum(first[of], apart.pieces.first[owner])
        extent = np.minimum(last[of], apart.pieces.last[owner]) - first + 1
        kept = np.flatnonzero((extent > 0).all(axis=1))
        kept = kept[np.argsort(owner[kept], kind="stable")]
        of, owner, first = of[kept], owner[kept], first[kept]
        stores = np.zeros((len(kept), len(STORE_FIELDS)), np.int64)
        stores[:, 0:2] = first - apart.pieces.first[owner] + axis.before
        stores[:, 2:4] = extent[kept]
        stores[:, 4], stores[:, 5] = output[of], image[of]
        stores[:, 6:8] = first - offset[of]
        return stores, owner

    def add_rims(self) -> None:
        """The rim of every window that shares, as strips: above and below its shared results, left and right of them."""
        self._add_strips(self.level.members, [BEFORE, AFTER, SHARED, SHARED], [ALL, ALL, BEFORE, AFTER])

    def add_alone(self) -> None:
        """A region over the whole of every window that goes by itself."""
        self._add_strips(np.flatnonzero(self.level.phase < 0), [ALL], [ALL])

    def _add_strips(self, windows: np.ndarray, rows: Sequence[int], cols: Sequence[int]) -> None:
        """For each window the rectangles of results in parts rows[i] x cols[i]; empty ones are left out."""
        axis, parts = self.level.axis, self.level.windows.parts[windows]
        both = np.stack([parts[:, 0, rows], parts[:, 1, cols]], axis=2).reshape(-1, 2, len(Span._fields))
        image = np.repeat(windows, len(rows))
        kept = (both[:, :, 1] >= both[:, :, 0]).all(axis=1)
        image, span = image[kept], Span(*both[kept].transpose(2, 0, 1))
        count = np.arange(len(image))

        regions = np.zeros((len(image), len(REGION_FIELDS) + 2), np.int64)
        regions[:, 4:6] = axis.extent
        regions[:, 6:8] = span.first * axis.stride - axis.padding
        if self.places is None:
            regions[:, 1] = image
        else:
            regions[:, 6:8] += self.places[image]
            if axis.open:
                regions[:, 4:6] += self.places[image]
            else:
                regions[:, 2:4] = self.places[image]
        regions[:, 8:10] = span.last - span.first + 1
        regions[:, 10:12] = self.level.lattice[image] + span.first
        regions[:, 12], regions[:, 13] = count, 1

        pieces = np.zeros((len(image), len(PIECE_FIELDS) + 2), np.int64)
        pieces[:, 0:2] = span.pool - span.first
        pieces[:, 2:4] = span.rows
        pieces[:, 4], pieces[:, 5] = count, 1

        stores = np.zeros((len(image), len(STORE_FIELDS)), np.int64)
        stores[:, 0:2] = span.skip
        stores[:, 2:4] = span.hi - span.lo + 1
        stores[:, 5] = image
        stores[:, 6:8] = span.lo
        self._append(regions, pieces, stores)

    def _append(self, regions: np.ndarray, pieces: np.ndarray, stores: np.ndarray) -> None:
        regions[:, 12] += self._pieces
        pieces[:, 4] += self._stores
        self._pieces += len(pieces)
        self._stores += len(stores)
        self.regions.append(regions)
        self.pieces.append(pieces)
        self.stores.append(stores)


def _wanted(level: _Level, following: _Level | None) -> tuple[np.ndarray, np.ndarray]:
    """Of its shared results, what is read from each member's own image: rectangles [m, 2, 2] of first and last row and column,
    and whose they are. That is the frame that the next block's rim reads, or everything where that block does not share.
    """
    members, (lo, hi) = level.members, level.windows.shared[level.members].transpose(2, 0, 1)
    near, far = level.windows.kept[members].transpose(2, 0, 1)
    alone = (following.phase[members] < 0 if following else np.ones(len(members), bool))[:, None]
    near, far = np.where(alone, hi, near), np.where(alone, hi + 1, far)
    rows = (lo[:, 0], near[:, 0]), (far[:, 0], hi[:, 0]), (near[:, 0] + 1, far[:, 0] - 1), (near[:, 0] + 1, far[:, 0] - 1)
    cols = (lo[:, 1], hi[:, 1]), (lo[:, 1], hi[:, 1]), (lo[:, 1], near[:, 1]), (far[:, 1], hi[:, 1])
    rectangles = np.array([rows, cols]).transpose(3, 1, 2, 0).reshape(-1, 2, 2)  # from [axis, rectangle, first or last, member]
    kept = (rectangles[:, 1] >= rectangles[:, 0]).all(axis=1)
    return rectangles[kept], np.repeat(members, 4)[kept]
