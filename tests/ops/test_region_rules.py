"""The engine's rules of regions against those in numpy: the same verdicts, in the same words."""

from __future__ import annotations

import re

import numpy as np
import pytest

from dcnn_fast import engine
from dcnn_fast.ops import region_rules
from tests.ops.random_tables import damaged, random_tables

pytestmark = pytest.mark.needs_engine

PARTS, CASES = 4, 2500
RULES = {  # each rule's words, without numbers
    "regions: region N: source must be", "regions: region N: image must lie", "regions: region N: window must lie",
    "regions: region N: rows and cols must", "regions: region N: top and left", "regions: region N: the last receptive field",
    "regions: region N: pieces must lie", "regions: piece N: rows and cols must", "regions: piece N: every pool window",
    "regions: piece N: stores must lie", "regions: store N: height and width",
    "regions: store N: the rectangle must lie in its piece", "regions: store N: output must be",
    "regions: store N: the rectangle must lie in its output", "regions: store N: the rectangle must share no place",
    "regions: the table of regions must hold", "regions: the table of pieces must hold",
    "regions: the table of stores must hold",
}  # fmt: skip


def _verdict(judge, tables):
    try:
        judge(**tables.arguments())
    except ValueError as error:
        return str(error)
    return None


def _rule(verdict):
    text = re.sub(r"\d+:", "N:", verdict)
    return next(rule for rule in RULES if text.startswith(rule))


@pytest.mark.parametrize("part", range(PARTS))
def test_verdicts_are_those_of_numpy_in_the_same_words(part):
    seen, accepted = set(), 0
    for seed in range(part * CASES, (part + 1) * CASES):
        rng = np.random.default_rng(seed)
        right = random_tables(rng)
        for tables in (right, damaged(rng, right)):
            verdict = _verdict(engine.load().require_regions, tables)
            assert verdict == _verdict(region_rules.require_regions, tables), seed
            assert verdict is None or tables is not right, seed
            if verdict is None:
                accepted += 1
            else:
                seen.add(_rule(verdict))
    assert seen == RULES
    assert accepted < 2 * CASES - 500


def test_tables_that_name_too_much_are_refused():
    """Tables of a megabyte name a thousand regions of a thousand pieces of ten thousand stores each."""
    tables = random_tables(np.random.default_rng(0))
    region = [0, 0, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 0, 2000]
    many = {
        "regions": np.array([region] * 2000), "pieces": np.array([[0, 0, 1, 1, 0, 10000]] * 2000),
        "stores": np.zeros((10000, 8), np.int64), "sources": [(1, 1, 1)], "outputs": [(1, 1, 1)], "size": 1, "stride": 1,
        "padding": 0, "rounding": "up", "pool": (1, 1),
    }  # fmt: skip
    many["stores"][:, 2:4] = 1
    assert set(many) == set(tables.arguments())
    with pytest.raises(ValueError, match=r"they must name at most 2\*\*26 stores"):
        engine.load().require_regions(**many)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 0}, "size must be 1 to"),
        ({"stride": 2**31}, "stride must be 1 to"),
        ({"padding": -1}, "padding must be 0 to"),
        ({"pool": (1, 0)}, "the pool's stride must be 1 to"),
        ({"rounding": "sideways"}, "rounding must be up or down, got 'sideways'"),
        (
            {"regions": np.zeros((1, 13), np.int64)},
            r"regions must be a contiguous table of int64 \[n, 14\], got int64",
        ),
        ({"pieces": np.zeros((1, 6), np.int32)}, r"pieces must be a contiguous table of int64 \[n, 6\], got int32 \[1, 6\]"),
        ({"stores": np.zeros(8, np.int64)}, r"stores must be a contiguous table of int64 \[n, 8\], got int64 \[8\]"),
        ({"stores": np.zeros((8, 2), np.int64).T}, r"stores must be a contiguous table"),
        ({"stores": np.zeros((2, 8), ">i8")}, r"stores must be a contiguous table"),
    ],
)
def test_what_is_no_table_or_geometry_is_refused_by_name(change, message):
    arguments = random_tables(np.random.default_rng(0)).arguments()
    with pytest.raises(ValueError, match=message):
        engine.load().require_regions(**{**arguments, **change})
