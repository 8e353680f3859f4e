"""Each window's own work in every block: its rim, and the shared results that its rims read from its own image.

All blocks are computed at once, since most of a plan's time is calls of numpy on small arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from dcnn_fast.ops.records import PIECE, REGION, STORE
from tests.plan.reference_plan.columns import (
    PIECE_CORNER,
    PIECE_EXTENT,
    REGION_CORNER,
    REGION_EXTENT,
    REGION_IMAGE,
    REGION_LATTICE,
    REGION_WINDOW,
    REGION_WINDOW_EXTENT,
    STORE_EXTENT,
    STORE_IMAGE,
    STORE_PLACE,
    STORE_SKIP,
    width,
)
from tests.plan.reference_plan.cost import Constants
from tests.plan.reference_plan.geometry import AFTER, ALL, BEFORE, NONE, SHARED, Span
from tests.plan.reference_plan.level import Level

# The parts along each axis of four rectangles of results: [0] a frame of or around the shared ones, [1] everything.
_ROWS = np.array([[BEFORE, AFTER, SHARED, SHARED], [ALL, NONE, NONE, NONE]])
_COLS = np.array([[ALL, ALL, BEFORE, AFTER], [ALL, NONE, NONE, NONE]])

Tables = tuple[np.ndarray, np.ndarray, np.ndarray]  # regions, pieces and stores


def strips_of(levels: Sequence[Level], of: Constants, places: np.ndarray) -> list[Tables]:
    """Each block's regions for the rim of every window that shares, as strips above and below its shared results, left and
    right of them, and for the whole of every window that does not share. places: the windows' corners in the plane.
    """
    count = len(places)
    alone = (np.concatenate([level.phase for level in levels]) < 0) * 1
    both, row = _rectangles(np.concatenate([level.windows.parts for level in levels]), alone)
    block, image = np.divmod(row, count)
    ends = block.searchsorted(np.arange(len(levels) + 1))
    span, number = Span(*both.transpose(2, 0, 1)), np.arange(len(row)) - ends[block]

    regions = np.zeros((len(row), width(REGION)), np.int64)
    regions[:, REGION_WINDOW_EXTENT] = of.extent[block][:, None]
    regions[:, REGION_CORNER] = span.first * of.stride[block][:, None] - of.padding[block][:, None]
    first, later = slice(0, ends[1]), slice(ends[1], None)  # block 1 reads the plane, the others windows' own images
    regions[first, REGION_CORNER] += places[image[first]]
    window = REGION_WINDOW_EXTENT if levels[0].axis.open else REGION_WINDOW
    regions[first, window] += places[image[first]]
    regions[later, REGION_IMAGE] = image[later][:, None]
    regions[:, REGION_EXTENT] = span.last - span.first + 1
    regions[:, REGION_LATTICE] = np.concatenate([level.lattice for level in levels])[row] + span.first
    regions[:, -2], regions[:, -1] = number, 1

    pieces = np.zeros((len(row), width(PIECE)), np.int64)
    pieces[:, PIECE_CORNER] = span.pool - span.first
    pieces[:, PIECE_EXTENT] = span.rows
    pieces[:, -2], pieces[:, -1] = number, 1

    stores = np.zeros((len(row), width(STORE)), np.int64)
    stores[:, STORE_SKIP] = span.skip
    stores[:, STORE_EXTENT] = span.hi - span.lo + 1
    stores[:, STORE_IMAGE] = image[:, None]
    stores[:, STORE_PLACE] = span.lo
    return [(regions[start:end], pieces[start:end], stores[start:end]) for start, end in pairwise(ends.tolist())]


def wanted_of(levels: Sequence[Level]) -> tuple[np.ndarray, np.ndarray]:
    """The shared results of each block that are read from each member's own image: rectangles [m, row or column, first or
    last], and the index of each one's member. They are the frame that the next block's rim reads, or everything where it
    does not share.
    """
    ends = np.cumsum([0] + [len(level.members) for level in levels])
    alone = np.ones(ends[-1], np.int64)
    for (start, end), level, following in zip(pairwise(ends.tolist()), levels, levels[1:], strict=False):
        alone[start:end] = following.phase[level.members] < 0
    return _rectangles(np.concatenate([level.windows.frame[level.members] for level in levels]), alone)


def _rectangles(parts: np.ndarray, alone: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rectangles [m, 2, k] of `parts` [n, 2, 5, k] that are not empty, and each one's row of `parts`."""
    index, rows, cols = np.arange(len(parts))[:, None], _ROWS[alone], _COLS[alone]
    there = parts[..., 1] >= parts[..., 0]
    row, number = (there[index, 0, rows] & there[index, 1, cols]).nonzero()
    both = np.empty((len(row), 2, parts.shape[-1]), np.int64)
    both[:, 0], both[:, 1] = parts[row, 0, rows[row, number]], parts[row, 1, cols[row, number]]
    return both, row
