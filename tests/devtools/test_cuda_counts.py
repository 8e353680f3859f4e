"""The counted table of the hand-staged CUDA block: its statements hold, and it keeps the limits."""

from __future__ import annotations

import csv

import pytest
import torch

from devtools import cuda_counts

ROWS = {(row["problem"], row["source"]): row for row in csv.DictReader(cuda_counts.TABLE.open())}
PROBLEMS = {(str(params), layout): (params, layout) for params, layout in cuda_counts.problems()}
ARCH1 = list(PROBLEMS)[:3]


def test_the_table_is_of_the_code_there_is():
    assert list(ROWS) == list(PROBLEMS)
    for key, problem in PROBLEMS.items():  # if one is stale: python -m devtools.cuda_counts
        assert ROWS[key]["code"] == cuda_counts.code_of(cuda_counts.launch_of(*problem)[0]), key


@pytest.mark.parametrize("key", [ARCH1[0], ARCH1[2]], ids=str)
def test_counted_again_it_says_the_same(key):
    torch.set_num_threads(1)
    counts = cuda_counts.counted(*PROBLEMS[key])
    found = cuda_counts.row_of(counts)
    # Another version of the compiler may choose slightly different instructions.
    for name in ("problem", "source", "code", "tile", "shared", "mma", "conflicts"):
        assert found[name] == ROWS[key][name], name
    assert float(found["bytes"]) == pytest.approx(float(ROWS[key]["bytes"]), abs=0.005)  # a table may straddle one more sector
    for name in ("sectors", "useful", "tensor", "loop"):
        assert float(found[name]) == pytest.approx(float(ROWS[key][name]), abs=0.02), name


@pytest.mark.parametrize("key", ROWS, ids=str)
def test_the_limits_are_kept(key):
    row, (params, _) = ROWS[key], PROBLEMS[key]
    assert float(row["mma"]) <= (1.75 if params.channels == 3 else 1.15)
    assert float(row["bytes"]) <= 1.5
    assert int(row["conflicts"]) == 0
    assert float(row["sectors"]) >= 0.9
    assert float(row["useful"]) >= 0.5
