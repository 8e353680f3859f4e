"""Which windows share: windows of one class, in groups small enough to pay.

A class is the windows that read the same map and whose places agree modulo the convolution's stride. A group is computed as one
rectangle of convolution outputs, the smallest around what its windows need, so windows far apart are in different groups.
"""

from __future__ import annotations

import numpy as np

from dcnn_fast.plan.cost import BlockCost


def groups_of(classes: np.ndarray, first: np.ndarray, last: np.ndarray, saved: np.ndarray, cost: BlockCost) -> np.ndarray:
    """The number of each window's group, [n], or -1: groups of at least two windows that cost less than the windows one by one.

    classes: [n], negative for a window that cannot share. first, last: [n, 2], what each needs of the lattice. saved: [n].
    """
    group = np.full(len(classes), -1)
    candidates = np.flatnonzero((classes >= 0) & (saved > 0))
    if not candidates.size:
        return group
    order = candidates[np.argsort(classes[candidates], kind="stable")]
    labels = _whole_classes(classes[order], first[order], last[order], saved[order], cost)
    order = order[labels >= 0]
    labels = labels[labels >= 0]
    if order.size:
        group[order] = _worthwhile(labels, first[order], last[order], saved[order], cost)
    return group


def _whole_classes(classes: np.ndarray, first: np.ndarray, last: np.ndarray, saved: np.ndarray, cost: BlockCost) -> np.ndarray:
    """A label for each window's group; -1 for a window that is alone in its class. Windows come sorted by class.

    Where all windows of a class lie close together they are one group, found for all classes at once.
    """
    starts = np.flatnonzero(np.concatenate([[True], classes[1:] != classes[:-1]]))
    counts = np.diff(starts, append=len(classes))
    single = cost.shared(first, last)
    top, bottom = np.minimum.reduceat(first, starts), np.maximum.reduceat(last, starts)
    least = np.minimum.reduceat(single, starts)
    # No window could add as much to a part of the class as is between the whole and the smallest one.
    close = cost.shared(top, bottom) - least < np.minimum(np.minimum.reduceat(saved, starts), least)
    labels = np.repeat(np.where(counts > 1, starts, -1), counts)
    for i in np.flatnonzero(~close & (counts > 1)).tolist():
        members = slice(starts[i], starts[i] + counts[i])
        labels[members] = starts[i] + _greedy(first[members], last[members], saved[members], single[members], cost)
    return labels


def _greedy(first: np.ndarray, last: np.ndarray, saved: np.ndarray, single: np.ndarray, cost: BlockCost) -> np.ndarray:
    """Each window joins the group to which it adds least, or opens one where that would cost it more: a number for each."""
    axis = cost.axis
    side, stride, size, pool_stride = axis.tile.side, axis.stride, axis.tile.size, axis.pool_stride
    depth, read, stored = cost.depth, cost.read, cost.stored

    def price(top: int, left: int, bottom: int, right: int) -> float:  # cost.shared without arrays
        rows, cols = (bottom // side - top // side + 1) * side, (right // side - left // side + 1) * side
        reads = ((rows - 1) * stride + size) * ((cols - 1) * stride + size)
        results = ((bottom - top) // pool_stride + 1) * ((right - left) // pool_stride + 1)
        return rows * cols * depth + reads * read + results * stored

    boxes: list[tuple[int, int, int, int, float]] = []
    numbers: list[int] = []
    limits = np.minimum(saved, single).tolist()
    windows = np.concatenate([first, last], axis=1).tolist()
    for (top, left, bottom, right), limit, alone in zip(windows, limits, single.tolist(), strict=True):
        best, least, joined = len(boxes), limit, (top, left, bottom, right, alone)
        for i, (north, west, south, east, before) in enumerate(boxes):
            if north > bottom or south < top or west > right or east < left:  # it would add all of itself, at least
                continue
            # Conditionals, not min and max: half of the time would be calls of those.
            box = (
                north if north < top else top,
                west if west < left else left,
                south if south > bottom else bottom,
                east if east > right else right,
            )
            after = price(*box)
            if after - before < least:
                best, least, joined = i, after - before, (*box, after)
        boxes[best : best + 1] = [joined]
        numbers.append(best)
    return np.array(numbers)


def _worthwhile(labels: np.ndarray, first: np.ndarray, last: np.ndarray, saved: np.ndarray, cost: BlockCost) -> np.ndarray:
    """Groups numbered from 0 in the order of their labels, or -1 for windows of groups that do not pay."""
    order = np.argsort(labels, kind="stable")
    labels, first, last = labels[order], first[order], last[order]
    starts = np.flatnonzero(np.concatenate([[True], labels[1:] != labels[:-1]]))
    counts = np.diff(starts, append=len(labels))
    maps = np.minimum(counts, cost.axis.pool_stride**2)
    price = cost.shared(np.minimum.reduceat(first, starts), np.maximum.reduceat(last, starts), maps)
    pays = (counts > 1) & (price < np.add.reduceat(saved[order], starts))
    numbers = np.empty_like(labels)
    numbers[order] = np.repeat(np.where(pays, np.cumsum(pays) - 1, -1), counts)
    return numbers
