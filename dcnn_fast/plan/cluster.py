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

    def widened(self, row: int, col: int) -> tuple[int, int, int, int]:
        """The extremes of the shifts with one more."""
        return min(self.top, row), max(self.bottom, row), min(self.left, col), max(self.right, col)


def groups_of(places: Sequence[Place | None], stride: int, cost: BlockCost) -> list[Group]:
    """Groups of at least two windows for which sharing costs less than each window by itself.

    places: of every window, or None where it has none: such a window is in no group.
    """
    if cost.axis.shared == 0:
        return []
    whole, rim = cost.whole(), cost.rim()
    found: dict[tuple[int, int, int], list[Group]] = {}
    for window, place in enumerate(places):
        if place is None:
            continue
        source, (row, row_residue), (col, col_residue) = place[0], divmod(place[1], stride), divmod(place[2], stride)
        residents = found.setdefault((source, row_residue, col_residue), [])
        best, least = None, whole
        for group in residents:
            top, bottom, left, right = group.widened(row, col)
            price = cost.shared(bottom - top, right - left) + rim * (len(group.members) + 1)
            if price - group.cost < least:
                best, least = group, price - group.cost
        if best is None:
            residue = (row_residue, col_residue)
            residents.append(Group(source, residue, [window], [(row, col)], row, row, col, col, whole))
        else:
            best.top, best.bottom, best.left, best.right = best.widened(row, col)
            best.cost += least
            best.members.append(window)
            best.shifts.append((row, col))
    return [group for residents in found.values() for group in residents if len(group.members) > 1]
