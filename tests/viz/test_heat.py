"""A heat map as the page holds it: numbers, words, and invalid maps."""

from __future__ import annotations

import json

import pytest

from dcnn_fast.viz.culling import Heat


def heat(*values, kind="occlusion", middle=0.0):
    return Heat(values, kind, middle, "about it", 60, 40)


def test_the_numbers_are_rounded_and_null_where_nothing_is_known():
    found = heat((0.123456, None), (-0.00001, 1.0))
    assert found.cells == "[[0.1235,null],[0.0,1.0]]"


def test_the_words_say_the_ends_and_where_they_are():
    said = heat((0.1, 0.2, None), (-0.3, 0.05, 0.0)).said
    assert said == (
        "Heat map by occlusion: the largest value is 0.2000 (at row 1 of 2, column 2 of 3), the smallest -0.3000 "
        "(at row 2 of 2, column 1 of 3); 0 has no color."
    )
    assert "0.4568 has no color" in heat((0.1, 0.9), kind="samples", middle=0.45678).said


@pytest.mark.parametrize(
    ("values", "words"),
    [((0.5, 0.5, None), "all values are 0.5000."), ((None, None), "no window looked at the middle of any cell.")],
)
def test_a_map_without_differences_says_so(values, words):
    assert heat(values, kind="samples", middle=0.5).said == f"Heat map by samples: {words}"


@pytest.mark.parametrize("values", [(), ((),), ((0.1, 0.2), (0.3,))])
def test_what_is_no_grid_is_refused(values):
    with pytest.raises(ValueError, match="values must be rows of one length"):
        heat(*values)


def test_what_is_no_number_gets_into_no_page():
    with pytest.raises(ValueError, match="JSON"):
        json.loads(heat((float("nan"), 0.1)).cells)
