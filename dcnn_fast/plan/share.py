"""The sharing plan: what overlapping windows have in common is computed once, the rest for each window.

For every block, windows whose offsets agree modulo the convolution's cumulative stride form groups (`cluster`). A group's
shared results are one region over all its windows, with a piece for each pool phase that a window needs; each piece is
stored as a map that the next block's groups read, and, in parts, in its windows' own images, where their rims are put too:
there the next block's rims, or its regions for windows by themselves, read them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from dcnn_fast.ops.precision import Precision
from dcnn_fast.ops.region import PIECE_FIELDS, REGION_FIELDS, STORE_FIELDS, RegionList
from dcnn_fast.plan.brute import ColumnPlan
from dcnn_fast.plan.cluster import Group, Place, groups_of
from dcnn_fast.plan.cost import costs_of, rim_strips
from dcnn_fast.plan.geometry import Axis
from dcnn_fast.spec import Column

Maps = dict[int, tuple[int, tuple[int, int]]]  # where a block finds a map: its source, rows and columns
Rectangle = tuple[tuple[int, int], tuple[int, int]]  # (first, last) row and column


@dataclass
class _Piece:
    """One pool phase of a group: the windows that have it, and their places in lattice results (row, column)."""

    phase: tuple[int, int]
    members: list[int]
    places: list[tuple[int, int]]
    top: int
    bottom: int
    left: int
    right: int


@dataclass
class _Level:
    """One block of the plan: its groups, their pieces, and the windows that go by themselves."""

    axis: Axis
    groups: list[Group]
    pieces: list[list[_Piece]]
    alone: list[int]


def share(
    column: Column, windows: np.ndarray, plane: tuple[int, int], backend: str = "cpu", precision: Precision = "ieee"
) -> ColumnPlan:
    """The plan that costs least by `BlockCost`, block by block: never more than brute force.

    windows: [views, 2] int64 (top, left) of each view's window in the plane. plane: its rows and columns. backend, precision:
    whose costs count, and what may be shared there. A pure function of its arguments and, of the engine, its instruction set.
    """
    distinct, window_of = np.unique(windows, axis=0, return_inverse=True)
    levels = _levels(column, distinct, backend, precision)
    blocks: list[RegionList] = []
    maps: Maps = {0: (0, plane)}
    for i, level in enumerate(levels):
        following = levels[i + 1] if i + 1 < len(levels) else None
        tables = _Tables(level, distinct, first_block=i == 0)
        maps = tables.add_groups(maps, following)
        tables.add_rims()
        tables.add_alone()
        blocks.append(tables.region_list(len(distinct)))
    name = "sharing" if any(level.groups for level in levels) else "brute-force"
    return ColumnPlan(name, tuple(blocks), window_of.reshape(-1))


def _levels(column: Column, windows: np.ndarray, backend: str, precision: Precision) -> list[_Level]:
    """Groups and pieces of every block. Maps are numbered as they arise: the plane is 0, then each block's pieces."""
    places: list[Place | None] = [(0, top, left) for top, left in windows.tolist()]
    levels: list[_Level] = []
    for cost in costs_of(column, backend, precision):
        axis = cost.axis
        groups = groups_of(places, cost)
        level = _Level(axis, groups, [_phases(group, axis.pool_stride) for group in groups], [])
        places = [None] * len(windows)
        number = 0
        for pieces in level.pieces:
            for piece in pieces:
                top, left = piece.top + axis.shared_first, piece.left + axis.shared_first
                for window, (row, col) in zip(piece.members, piece.places, strict=True):
                    places[window] = (number, row - top, col - left)
                number += 1
        level.alone = [window for window, place in enumerate(places) if place is None]
        levels.append(level)
    return levels


def _phases(group: Group, stride: int) -> list[_Piece]:
    pieces: dict[tuple[int, int], _Piece] = {}
    for window, (shift_row, shift_col) in zip(group.members, group.shifts, strict=True):
        (row, phase_row), (col, phase_col) = divmod(shift_row, stride), divmod(shift_col, stride)
        piece = pieces.get((phase_row, phase_col))
        if piece is None:
            pieces[phase_row, phase_col] = _Piece((phase_row, phase_col), [window], [(row, col)], row, row, col, col)
            continue
        piece.members.append(window)
        piece.places.append((row, col))
        if row < piece.top:
            piece.top = row
        elif row > piece.bottom:
            piece.bottom = row
        if col < piece.left:
            piece.left = col
        elif col > piece.right:
            piece.right = col
    return list(pieces.values())


@lru_cache(maxsize=256)
def _strip_templates(axis: Axis, rectangles: tuple[Rectangle, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rectangles of results of a window at place (0, 0) of image 0, as rows of the three tables."""
    regions, pieces, stores = [], [], []
    for (top, bottom), (left, right) in rectangles:
        down, across = axis.span(top, bottom), axis.span(left, right)
        rows, cols = down.last - down.first + 1, across.last - across.first + 1
        corner = axis.inputs(down)[0], axis.inputs(across)[0]
        regions.append([0, 0, 0, 0, axis.extent, axis.extent, *corner, rows, cols, 0, 0, 0, 1])
        pieces.append([down.pool - down.first, across.pool - across.first, down.rows, across.rows, 0, 1])
        stores.append([down.skip, across.skip, bottom - top + 1, right - left + 1, 0, 0, top, left])
    widths = len(REGION_FIELDS) + 2, len(PIECE_FIELDS) + 2, len(STORE_FIELDS)
    tables = (regions, pieces, stores)
    return tuple(np.array(t, dtype=np.int64).reshape(len(t), n) for t, n in zip(tables, widths, strict=True))  # type: ignore[return-value]


@lru_cache(maxsize=256)
def _rim(axis: Axis) -> tuple[Rectangle, ...]:
    return tuple(rim_strips(axis))


@lru_cache(maxsize=256)
def _wanted(axis: Axis, following: Axis | None) -> np.ndarray:
    """Of a window's shared results, what is read from its own image: [n, 4] of first and last row, first and last column.

    following: the next block's axis where that block shares the window's results, so that only its rim reads them; None
    where everything is wanted.
    """
    lo, hi = axis.shared_first, axis.shared_last
    whole = np.array([[lo, hi, lo, hi]], dtype=np.int64)
    if following is None:
        return whole
    near, far = lo - 1, hi + 1  # the rim reads results up to `near` and from `far` on
    for side in following.rim():
        first, last = following.inputs(following.span(*side))
        if side[0] == 0:
            near = min(hi, last)
        else:
            far = max(lo, first)
    if near >= far - 1:
        return whole
    rectangles = [(lo, near, lo, hi), (far, hi, lo, hi), (near + 1, far - 1, lo, near), (near + 1, far - 1, far, hi)]
    kept = [r for r in rectangles if r[0] <= r[1] and r[2] <= r[3]]
    return np.array(kept, dtype=np.int64).reshape(len(kept), 4)


class _Tables:
    """The tables of one block as they grow: groups first, then rims, then windows by themselves."""

    def __init__(self, level: _Level, windows: np.ndarray, *, first_block: bool) -> None:
        self.level, self.windows, self.first_block = level, windows, first_block
        self.regions: list[np.ndarray] = []
        self.pieces: list[np.ndarray] = []
        self.stores: list[np.ndarray] = []
        self.maps: list[tuple[int, int]] = []  # rows and columns of each map that is stored
        self._pieces = self._stores = 0

    def region_list(self, images: int) -> RegionList:
        """The tables, and the outputs: every window's own image, then the maps."""
        out = self.level.axis.out
        outputs = ((images, out, out), *((1, rows, cols) for rows, cols in self.maps))
        regions, pieces, stores = (torch.from_numpy(np.concatenate(t)) for t in (self.regions, self.pieces, self.stores))
        return RegionList(regions, pieces, stores, outputs)

    def add_groups(self, maps: Maps, following: _Level | None) -> Maps:
        """One region for each group, which reads one of `maps`; returns the maps that the next block reads."""
        axis, stride = self.level.axis, self.level.axis.pool_stride
        span = axis.free_span(axis.shared_first, axis.shared_last)  # of a window at place 0
        read = {group.source for group in following.groups} if following else set()
        found: Maps = {}
        regions: list[tuple[int, ...]] = []
        pieces: list[tuple[int, ...]] = []
        stores: list[tuple[int, ...]] = []
        owners: list[int] = []
        members: list[int] = []
        places: list[tuple[int, int, int]] = []  # piece, and where in it the member's shared results begin
        for group, phases in zip(self.level.groups, self.level.pieces, strict=True):
            top, left = group.top + span.first, group.left + span.first
            rows, cols = group.bottom + span.last - top + 1, group.right + span.last - left + 1
            source, extents = maps[group.source]
            corner = (r + o * axis.stride - axis.padding for r, o in zip(group.residue, (top, left), strict=True))
            regions.append((source, 0, 0, 0, *extents, *corner, rows, cols, 0, 0, len(pieces), len(phases)))
            for piece in phases:
                height, width = axis.shared + piece.bottom - piece.top, axis.shared + piece.right - piece.left
                number = len(pieces)
                if number in read:
                    self.maps.append((height, width))
                    found[number] = (len(self.maps), (height, width))
                    stores.append((axis.before, axis.before, height, width, len(self.maps), 0, 0, 0))
                    owners.append(number)
                members += piece.members
                places += [(number, row - piece.top, col - piece.left) for row, col in piece.places]
                first_row = piece.phase[0] + piece.top * stride + span.pool - top
                first_col = piece.phase[1] + piece.left * stride + span.pool - left
                halo = axis.before + axis.after
                pieces.append((first_row, first_col, height + halo, width + halo))
        if regions:
            self._add_group_tables(regions, pieces, stores, owners, members, places, following)
        return found

    def _add_group_tables(
        self,
        regions: Sequence[tuple[int, ...]],
        pieces: Sequence[tuple[int, ...]],
        stores: Sequence[tuple[int, ...]],
        owners: list[int],
        members: list[int],
        places: list[tuple[int, int, int]],
        following: _Level | None,
    ) -> None:
        axis = self.level.axis
        grouped = {window for group in following.groups for window in group.members} if following else set()
        is_grouped = np.array([window in grouped for window in members])
        windows, where = np.array(members, dtype=np.int64), np.array(places, dtype=np.int64)
        parts, part_owners = [np.array(stores, dtype=np.int64).reshape(len(stores), 8)], [np.array(owners, dtype=np.int64)]
        for chosen, successor in ((is_grouped, following.axis if following else None), (~is_grouped, None)):
            wanted = _wanted(axis, successor)
            rows = _window_stores(axis, windows[chosen], where[chosen], wanted)
            parts.append(rows)
            part_owners.append(np.repeat(where[chosen, 0], len(wanted)))
        owner = np.concatenate(part_owners)
        count = np.bincount(owner, minlength=len(pieces))
        piece_table = np.empty((len(pieces), len(PIECE_FIELDS) + 2), dtype=np.int64)
        piece_table[:, :4] = pieces
        piece_table[:, 4], piece_table[:, 5] = np.cumsum(count) - count, count
        self._append(np.array(regions, dtype=np.int64), piece_table, np.concatenate(parts)[np.argsort(owner, kind="stable")])

    def add_rims(self) -> None:
        """The rim of every window that shares."""
        members = [window for group in self.level.groups for window in group.members]
        self._add_strips(np.array(members, dtype=np.int64), _rim(self.level.axis))

    def add_alone(self) -> None:
        """A region over the whole of every window that goes by itself."""
        all_results = (0, self.level.axis.out - 1)
        self._add_strips(np.array(self.level.alone, dtype=np.int64), ((all_results, all_results),))

    def _add_strips(self, members: np.ndarray, rectangles: tuple[Rectangle, ...]) -> None:
        templates = _strip_templates(self.level.axis, rectangles)
        regions, pieces, stores = (_repeated(template, len(members)) for template in templates)
        image = np.repeat(members, len(rectangles))
        if self.first_block:
            place = self.windows[image]
            regions[:, 2:4] += place
            regions[:, 6:8] += place
        else:
            regions[:, 1] = image
        stores[:, 5] = image
        regions[:, 12] = pieces[:, 4] = np.arange(len(regions))
        self._append(regions, pieces, stores)

    def _append(self, regions: np.ndarray, pieces: np.ndarray, stores: np.ndarray) -> None:
        regions[:, 12] += self._pieces
        pieces[:, 4] += self._stores
        self._pieces += len(pieces)
        self._stores += len(stores)
        self.regions.append(regions)
        self.pieces.append(pieces)
        self.stores.append(stores)


def _repeated(rows: np.ndarray, times: int) -> np.ndarray:
    """The rows, all of them `times` times (np.tile, at a quarter of its time)."""
    return np.repeat(rows[None], times, axis=0).reshape(-1, rows.shape[1])


def _window_stores(axis: Axis, windows: np.ndarray, places: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The stores that put `wanted` rectangles of each window's shared results in its own image: [windows * wanted, 8].

    places: [windows, 3], of which the last two say where in its piece the window's first shared result lies.
    """
    count = len(wanted)
    rectangle = _repeated(wanted, len(windows))
    offset = np.repeat(places[:, 1:], count, axis=0)
    stores = np.zeros((len(rectangle), len(STORE_FIELDS)), dtype=np.int64)
    first = rectangle[:, [0, 2]]
    stores[:, 0:2] = offset + first - axis.shared_first + axis.before
    stores[:, 2:4] = rectangle[:, [1, 3]] - first + 1
    stores[:, 5] = np.repeat(windows, count)
    stores[:, 6:8] = first
    return stores
