"""The choice of windows that share: windows of one class, in groups small enough to pay.

A class is the windows that read the same map and whose places agree modulo the convolution's stride. A group is computed as one
rectangle of convolution outputs, the smallest around what its windows need, so windows far apart are in different groups.
"""

from __future__ import annotations

import numpy as np

from tests.plan.reference_plan.cost import BlockCost


def run_starts(labels: np.ndarray) -> np.ndarray:
    """The first index of each run of equal labels."""
    first = np.empty(len(labels), bool)
    first[:1] = True
    np.not_equal(labels[1:], labels[:-1], out=first[1:])
    return first.nonzero()[0]  # as np.flatnonzero, in a third of the time


def run_lengths(starts: np.ndarray, total: int) -> np.ndarray:
    """The lengths of runs that begin at `starts`, of `total` labels."""
    ends = np.empty_like(starts)
    ends[:-1], ends[-1:] = starts[1:], total
    lengths: np.ndarray = ends - starts
    return lengths


def groups_of(classes: np.ndarray, needs: np.ndarray, saved: np.ndarray, cost: BlockCost) -> np.ndarray:
    """The number of each window's group, [n], or -1: groups of at least two windows that cost less than the windows one by one.

    classes: [n], sorted. needs: [n, 2, first or last], outputs of the lattice. saved: [n]. Where all windows of a class
    lie close together they are one group, found for all classes at once.
    """
    if not len(classes):
        return np.zeros(0, np.int64)
    starts = run_starts(classes)
    counts, many = run_lengths(starts, len(classes)), len(starts)
    first, last = needs[:, :, 0], needs[:, :, 1]
    computing, storing = cost.prices(
        np.concatenate([np.minimum.reduceat(first, starts), first]), np.concatenate([np.maximum.reduceat(last, starts), last])
    )
    price = computing + storing
    least, limit = np.minimum.reduceat(price[many:], starts), np.minimum.reduceat(saved, starts)
    # No window adds more to part of the class than the price of the whole class less that of its smallest window.
    close = price[:many] - least < np.minimum(limit, least)
    if not (close | (counts == 1)).all():
        labels = np.repeat(np.where(counts > 1, starts, -1), counts)
        for i in np.flatnonzero(~close & (counts > 1)).tolist():
            of = slice(starts[i], starts[i] + counts[i])
            labels[of] = starts[i] + _greedy(first[of], last[of], saved[of], price[many:][of], cost)
        return _worthwhile(labels, first, last, saved, cost)
    maps = np.minimum(counts, cost.axis.pool_stride**2)
    pays = (counts > 1) & (computing[:many] + storing[:many] * maps < np.add.reduceat(saved, starts))
    return np.where(pays, pays.cumsum() - 1, -1).repeat(counts)


def _greedy(first: np.ndarray, last: np.ndarray, saved: np.ndarray, single: np.ndarray, cost: BlockCost) -> np.ndarray:
    """Each window's group number: it joins the group to which it adds least, or opens one where that is cheaper."""
    axis = cost.axis
    side, stride, size, pool_stride = axis.tile.side, axis.stride, axis.tile.size, axis.pool_stride
    depth, read, stored = cost.depth, cost.read, cost.stored

    def price(top: int, left: int, bottom: int, right: int) -> float:  # cost.prices without arrays
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
            if north > bottom or south < top or west > right or east < left:  # disjoint: joining saves nothing
                continue
            # Conditionals, since calls of min and max would take half of the time.
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
    """Groups numbered from 0 in label order, or -1 for windows of groups that do not pay. Negative label: none."""
    order = np.argsort(labels, kind="stable")
    labels, first, last = labels[order], first[order], last[order]
    starts = run_starts(labels)
    counts = run_lengths(starts, len(labels))
    computing, storing = cost.prices(np.minimum.reduceat(first, starts), np.maximum.reduceat(last, starts))
    price = computing + storing * np.minimum(counts, cost.axis.pool_stride**2)
    pays = (labels[starts] >= 0) & (counts > 1) & (price < np.add.reduceat(saved[order], starts))
    numbers = np.empty_like(labels)
    numbers[order] = np.where(pays, pays.cumsum() - 1, -1).repeat(counts)
    return numbers
