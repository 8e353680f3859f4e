"""Which windows share: windows whose offsets agree modulo a convolution's stride, in groups small enough to pay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dcnn_fast.plan.cost import BlockCost

Place = tuple[int, int, int]  # a map, and where in it, by row and column, a window's first input lies


@dataclass
class Group:
    """Windows that share a block's results.

    source: the map they read. residue: of their places modulo the stride. members: windows. shifts: each one's place in
    strides, (row, column): its convolution output i is the lattice's shift + i.
    """

    source: int
    residue: tuple[int, int]
    members: list[int]
    shifts: list[tuple[int, int]]
    top: int
    bottom: int
    left: int
    right: int
    cost: float


def groups_of(places: Sequence[Place | None], cost: BlockCost) -> list[Group]:
    """Groups of at least two windows for which sharing costs less than each window by itself.

    places: of every window, or None where it has none: such a window is in no group. There is none at all where the backend
    computes the block in tiles: an output's bits would depend on inputs that are not its window's.
    """
    if cost.tile.side > 1 or cost.axis.shared == 0:
        return []
    stride, whole, rim, shared = cost.axis.stride, cost.whole, cost.rim, cost.shared
    found: dict[tuple[int, int, int], list[Group]] = {}
    for window, place in enumerate(places):
        if place is None:
            continue
        (row, row_residue), (col, col_residue) = divmod(place[1], stride), divmod(place[2], stride)
        residents = found.setdefault((place[0], row_residue, col_residue), [])
        best, least, bounds = None, whole, (row, row, col, col)
        for group in residents:
            # Conditionals, not min and max: half of a plan's time would be calls of those.
            top = row if row < group.top else group.top
            bottom = row if row > group.bottom else group.bottom
            left = col if col < group.left else group.left
            right = col if col > group.right else group.right
            more = shared(bottom - top, right - left) + rim * (len(group.members) + 1) - group.cost
            if more < least:
                best, least, bounds = group, more, (top, bottom, left, right)
        if best is None:
            residue = (row_residue, col_residue)
            residents.append(Group(place[0], residue, [window], [(row, col)], row, row, col, col, whole))
            continue
        best.top, best.bottom, best.left, best.right = bounds
        best.cost += least
        best.members.append(window)
        best.shifts.append((row, col))
    return [group for residents in found.values() for group in residents if len(group.members) > 1]
