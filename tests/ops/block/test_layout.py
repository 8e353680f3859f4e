"""The tables that Python writes are laid out as the engine's records (csrc/core/tables.h), field by field."""

from __future__ import annotations

import numpy as np
import pytest

from dcnn_fast import engine
from dcnn_fast.ops.region import PIECE_FIELDS, REGION_FIELDS, STORE_FIELDS

FIELDS = {
    "region_dtype": (*REGION_FIELDS, "first", "count"),
    "piece_dtype": (*PIECE_FIELDS, "first", "count"),
    "store_dtype": STORE_FIELDS,
}


@pytest.mark.needs_engine
@pytest.mark.parametrize("name", FIELDS)
def test_a_tables_columns_are_its_records_fields(name):
    dtype, fields = getattr(engine.load(), name), FIELDS[name]
    assert dtype.names == fields
    assert [dtype.fields[field] for field in fields] == [(np.dtype(np.int64), 8 * i) for i in range(len(fields))]
    assert dtype.itemsize == 8 * len(fields)
