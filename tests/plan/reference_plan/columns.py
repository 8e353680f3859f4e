"""Columns of the tables' matrices by field name, in pairs, since the statement computes both axes at once."""

from __future__ import annotations

import numpy as np

from dcnn_fast.ops.records import PIECE, REGION, STORE


def _between(record: np.dtype[np.void], first: str, last: str) -> slice:
    names = record.names or ()
    return slice(names.index(first), names.index(last) + 1)


def width(record: np.dtype[np.void]) -> int:
    """The number of columns of a table of these records."""
    return len(record.names or ())


REGION_SOURCE, REGION_IMAGE = _between(REGION, "source", "source"), _between(REGION, "image", "image")
REGION_WINDOW, REGION_WINDOW_EXTENT = (
    _between(REGION, "window_top", "window_left"),
    _between(REGION, "window_height", "window_width"),
)
REGION_CORNER, REGION_EXTENT = _between(REGION, "top", "left"), _between(REGION, "rows", "cols")
REGION_LATTICE = _between(REGION, "lattice_top", "lattice_left")
PIECE_CORNER, PIECE_EXTENT = _between(PIECE, "top", "left"), _between(PIECE, "rows", "cols")
STORE_SKIP, STORE_EXTENT = _between(STORE, "skip_top", "skip_left"), _between(STORE, "height", "width")
STORE_OUTPUT, STORE_IMAGE = _between(STORE, "output", "output"), _between(STORE, "image", "image")
STORE_PLACE = _between(STORE, "out_top", "out_left")
