"""The records of tables as numpy dtypes.

Made from csrc/core/tables.h by `python -m devtools.table_records`: edit that file.
"""

from __future__ import annotations

import numpy as np

# fmt: off
REGION = np.dtype([
    ("source", np.int64), ("image", np.int64), ("window_top", np.int64), ("window_left", np.int64), ("window_height", np.int64),
    ("window_width", np.int64), ("top", np.int64), ("left", np.int64), ("rows", np.int64), ("cols", np.int64),
    ("lattice_top", np.int64), ("lattice_left", np.int64), ("first", np.int64), ("count", np.int64),
])
PIECE = np.dtype([
    ("top", np.int64), ("left", np.int64), ("rows", np.int64), ("cols", np.int64), ("first", np.int64), ("count", np.int64),
])
STORE = np.dtype([
    ("skip_top", np.int64), ("skip_left", np.int64), ("height", np.int64), ("width", np.int64), ("output", np.int64),
    ("image", np.int64), ("out_top", np.int64), ("out_left", np.int64),
])
SOURCE = np.dtype([
    ("address", np.int64), ("image", np.int64), ("row", np.int64), ("col", np.int64), ("channel", np.int64),
])
OUTPUT = np.dtype([
    ("address", np.int64), ("rows", np.int64), ("cols", np.int64),
])
TILE = np.dtype([
    ("region", np.int64), ("row", np.int64), ("col", np.int64),
])
STRIP = np.dtype([
    ("region", np.int64), ("row", np.int64), ("col", np.int64), ("rows", np.int64), ("cols", np.int64), ("own_rows", np.int64),
    ("own_cols", np.int64), ("step", np.int64),
])
RESULT = np.dtype([
    ("region", np.int64), ("piece", np.int64), ("row", np.int64), ("col", np.int64),
])
CUT = np.dtype([
    ("address", np.int64), ("pitch", np.int64), ("channels", np.int64), ("height", np.int64), ("width", np.int64),
    ("out", np.int64), ("out_width", np.int64), ("axis_x", np.int64), ("axis_y", np.int64), ("flip", np.int64),
])
CUT_TILE = np.dtype([
    ("cut", np.int32), ("col", np.int32), ("cols", np.int32), ("row", np.int32), ("rows", np.int32), ("group", np.int32),
    ("first", np.int32), ("count", np.int32),
])
CUT_CHUNK = np.dtype([
    ("col", np.int32), ("cols", np.int32), ("pixel", np.int32), ("words", np.int32),
])
FILTER = np.dtype([
    ("first", np.int32), ("taps", np.int32), ("weights", np.int32), ("quads", np.int32),
])
# fmt: on
