"""The records of tables in Python, Triton and numpy are those of csrc/core/tables.h."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dcnn_fast import engine
from dcnn_fast.ops import records, tables
from dcnn_fast.ops.block.triton import records as triton_records
from devtools import table_records

HEADER = table_records.records(table_records.HEADER.read_text())


@pytest.mark.parametrize("made", [table_records.DTYPES, table_records.COLUMNS], ids=lambda made: made.name)
def test_what_is_made_of_the_header_is_of_this_one(made):
    of = {table_records.DTYPES: table_records.dtypes, table_records.COLUMNS: table_records.columns}[made]
    assert made.read_text() == of(HEADER), "run `python -m devtools.table_records`"


def test_a_changed_header_makes_other_modules():
    text = table_records.HEADER.read_text()
    other = table_records.records(text.replace("int64_t top, left;", "int64_t left, top;"))
    assert table_records.dtypes(other) != table_records.dtypes(HEADER)
    assert table_records.columns(other) != table_records.columns(HEADER)


@pytest.mark.needs_engine
@pytest.mark.parametrize("record", HEADER, ids=lambda record: record.name)
def test_the_compiler_lays_records_out_as_numpy_does(record):
    assert engine.load().records[record.constant] == getattr(records, record.constant)


def test_numpys_fields_lie_without_gaps():
    for record in HEADER:
        dtype = getattr(records, record.constant)
        assert dtype.names == record.fields
        assert dtype.itemsize == len(record.fields) * np.dtype(record.type).itemsize


def test_tritons_columns_are_the_places_of_the_fields():
    assert triton_records.REGION.value == len(records.REGION.names)
    for name in records.STORE.names:
        assert getattr(triton_records, f"STORE_{name.upper()}").value == records.STORE.names.index(name)


@pytest.mark.parametrize("body", ["int64_t a; float b;", "int64_t a; int32_t b;", "int64_t a[3];", "int64_t* a;", ""])
def test_a_struct_that_is_no_record_is_refused(body):
    with pytest.raises(ValueError, match="fields of one integer type"):
        table_records.records(f"struct OddRow {{ {body} }};")


def test_rows_and_matrices_share_memory():
    rows = tables.zeros(3, records.PIECE)
    matrix = tables.matrix(rows)
    assert list(matrix.shape) == [3, len(records.PIECE.names)]
    matrix[1, records.PIECE.names.index("cols")] = 7
    assert rows["cols"].tolist() == [0, 7, 0]
    again = tables.records(matrix, records.PIECE)
    again["top"] = 5
    assert rows["top"].tolist() == [5, 5, 5]


@pytest.mark.parametrize("count", [0, 1, 4])
def test_a_table_that_does_not_lie_in_order_is_taken(count):
    matrix = torch.arange(count * 6).reshape(6, count).T
    rows = tables.records(matrix, records.PIECE)
    assert [list(row) for row in rows.tolist()] == matrix.tolist()


@pytest.mark.parametrize("matrix", [torch.zeros(2, 5, dtype=torch.int64), torch.zeros(2, 6), torch.zeros(6, dtype=torch.int64)])
def test_a_matrix_of_something_else_is_refused(matrix):
    with pytest.raises(ValueError, match=r"must be int64 \[n, 6\]"):
        tables.records(matrix, records.PIECE)
