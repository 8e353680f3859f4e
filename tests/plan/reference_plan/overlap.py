"""Groups of one class whose rectangles overlap, cut into regions that do not: no block output is computed twice.

Rectangles are cut where results start. A region computes the convolution outputs that its results look at, so that two that
touch both compute the few outputs across which a pool window reaches. A result for several groups is a piece of one
region, stored in each group's map.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from tests.plan.reference_plan.columns import STORE_EXTENT, STORE_PLACE, STORE_SKIP
from tests.plan.reference_plan.geometry import Axis


@dataclass(frozen=True)
class Groups:
    """source: the map that a group or region reads. residue: [n, 2], its windows' places modulo the stride. first, last:
    [n, 2], the convolution outputs of the lattice that it computes. Groups of one class are adjacent.
    """

    source: np.ndarray
    residue: np.ndarray
    first: np.ndarray
    last: np.ndarray


@dataclass(frozen=True)
class Phases:
    """One pool phase of a group, or of a region. first, last: [n, 2], results of the lattice; a map begins at the first."""

    group: np.ndarray
    phase: np.ndarray
    first: np.ndarray
    last: np.ndarray


@dataclass(frozen=True)
class Regions:
    """The work for groups: regions, their pieces, and pairs of a group's phase and a piece with some of its
    results, sorted."""

    regions: Groups
    pieces: Phases
    phase_of: np.ndarray
    piece_of: np.ndarray


def cut_by_piece(
    stores: np.ndarray, phases: np.ndarray, phase_of: np.ndarray, piece_of: np.ndarray, first: np.ndarray, last: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Stores cut so that each belongs to one piece, sorted by piece, and the piece of each.

    phases: each store's phase. stores: [n, 8], Store's fields but in results of the lattice: first and last, output,
    image, and the place of the first. phase_of, piece_of: pairs as in `Regions`. first, last: results of every piece.
    """
    counts = np.bincount(phase_of)
    starts, count = np.cumsum(counts) - counts, counts[phases]
    of = np.repeat(np.arange(len(phases)), count)
    owner = piece_of[np.arange(len(of)) + (starts[phases] - np.cumsum(count) + count)[of]]
    cut = stores[of]
    cut[:, STORE_SKIP] = np.maximum(cut[:, STORE_SKIP], first[owner])
    cut[:, STORE_EXTENT] = np.minimum(cut[:, STORE_EXTENT], last[owner])
    cut[:, STORE_PLACE] += cut[:, STORE_SKIP] - stores[of, STORE_SKIP]
    kept = np.flatnonzero((cut[:, STORE_EXTENT] >= cut[:, STORE_SKIP]).all(axis=1))
    kept = kept[np.argsort(owner[kept], kind="stable")]
    return cut[kept], owner[kept]


def regions_apart(axis: Axis, groups: Groups, phases: Phases) -> Regions:
    """Regions with all results of the groups, each result in exactly one region."""
    count, every = len(groups.source), np.arange(len(phases.group))
    alike = (groups.source[1:] == groups.source[:-1]) & (groups.residue[1:] == groups.residue[:-1]).all(axis=1)
    if not alike.any():
        return Regions(groups, phases, every, every)
    starts = [0, *(np.flatnonzero(~alike) + 1).tolist(), count]
    cut = _Cut(axis, groups, phases)
    for start, end in pairwise(starts):
        cut.add_class(range(start, end))
    return cut.regions()


Rectangle = tuple[int, int, int, int]  # top, left, bottom, right, the last two inclusive


class _Cut:
    """Builds the regions class by class."""

    def __init__(self, axis: Axis, groups: Groups, phases: Phases) -> None:
        self.axis, self.groups, self.phases = axis, groups, phases
        self._source: list[int] = []  # each region's group, which gives its source and residue
        self._rectangles: list[Rectangle] = []
        self._pieces: list[tuple[int, tuple[int, int], Rectangle]] = []  # region, phase and results
        self._pairs: list[tuple[int, int]] = []

    def add_class(self, members: range) -> None:
        """Add groups that read the same map with the same residue."""
        axis = self.axis
        before = axis.before * axis.pool_stride + axis.conv_before
        after = axis.after * axis.pool_stride + axis.pool_size - 1 + axis.conv_after
        boxes = np.concatenate([self.groups.first + before, self.groups.last - after], axis=1)[members.start : members.stop]
        wanted = np.flatnonzero((self.phases.group >= members.start) & (self.phases.group < members.stop)).tolist()
        placed: list[Rectangle] = []
        for box in sorted(map(tuple, boxes.tolist()), key=_area, reverse=True):
            new: list[Rectangle] = [box]
            for other in placed:
                new = [rest for part in new for rest in _without(part, other)]
            placed += new
        for rectangle in placed:
            self._add_region(members.start, rectangle, wanted)

    def _add_region(self, group: int, rectangle: Rectangle, wanted: list[int]) -> None:
        """Add a region for the results that start in `rectangle`. wanted: the phases of its class."""
        stride, number = self.axis.pool_stride, len(self._source)
        found: dict[tuple[int, int], list[tuple[int, Rectangle]]] = {}
        for index in wanted:
            phase: tuple[int, int] = tuple(self.phases.phase[index].tolist())
            top, left = (-(-(rectangle[i] - phase[i]) // stride) for i in (0, 1))
            bottom, right = ((rectangle[i + 2] - phase[i]) // stride for i in (0, 1))
            first, last = self.phases.first[index].tolist(), self.phases.last[index].tolist()
            part = max(top, first[0]), max(left, first[1]), min(bottom, last[0]), min(right, last[1])
            if _area(part):
                found.setdefault(phase, []).append((index, part))
        if not found:
            return
        needs: list[Rectangle] = []
        for phase, parts in found.items():
            self._pairs += [(index, len(self._pieces)) for index, _ in parts]
            results = _around([part for _, part in parts])
            self._pieces.append((number, phase, results))
            needs.append(self._needed(phase, results))
        self._source.append(group)
        self._rectangles.append(_around(needs))

    def _needed(self, phase: tuple[int, int], results: Rectangle) -> Rectangle:
        axis = self.axis
        first, last = axis.free_span(np.array(results[:2]), np.array(results[2:]))
        top, left, bottom, right = (np.concatenate([first, last]) + np.array(phase * 2)).tolist()
        return top, left, bottom, right

    def regions(self) -> Regions:
        """All regions added so far."""
        source, rectangles = np.array(self._source), np.array(self._rectangles)
        number, phase, results = (np.array(column) for column in zip(*self._pieces, strict=True))
        phase_of, piece_of = np.array(sorted(self._pairs)).T
        return Regions(
            Groups(self.groups.source[source], self.groups.residue[source], rectangles[:, :2], rectangles[:, 2:]),
            Phases(number, phase, results[:, :2], results[:, 2:]),
            phase_of,
            piece_of,
        )


def _area(rectangle: Rectangle) -> int:
    """The rectangle's area, 0 where it is empty."""
    top, left, bottom, right = rectangle
    return max(0, bottom - top + 1) * max(0, right - left + 1)


def _around(rectangles: list[Rectangle]) -> Rectangle:
    tops, lefts, bottoms, rights = zip(*rectangles, strict=True)
    return min(tops), min(lefts), max(bottoms), max(rights)


def _without(one: Rectangle, other: Rectangle) -> list[Rectangle]:
    """The at most four rectangles of `one` outside `other`, cut by rows or by columns, whichever makes shorter cuts."""
    top, left, bottom, right = one
    inner = max(top, other[0]), max(left, other[1]), min(bottom, other[2]), min(right, other[3])
    if not _area(inner):
        return [one]
    up, west, down, east = inner
    by_rows = [
        (top, left, up - 1, right),
        (down + 1, left, bottom, right),
        (up, left, down, west - 1),
        (up, east + 1, down, right),
    ]
    by_cols = [
        (top, left, bottom, west - 1),
        (top, east + 1, bottom, right),
        (top, west, up - 1, east),
        (down + 1, west, bottom, east),
    ]
    rows, cols = ([part for part in parts if _area(part)] for parts in (by_rows, by_cols))
    across, along = int(top < up) + int(down < bottom), int(left < west) + int(east < right)
    row_cuts = across * (right - left + 1) + along * (down - up + 1)
    col_cuts = along * (bottom - top + 1) + across * (east - west + 1)
    return rows if row_cuts <= col_cuts else cols
