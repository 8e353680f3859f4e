"""The photographs in rankings and comparisons, and the look of filters and grids."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from dcnn_fast.data import Example
from dcnn_fast.evaluation import Predictions
from dcnn_fast.viz.distributions import save_distributions
from dcnn_fast.viz.filters import filters
from dcnn_fast.viz.grid import Row, grid
from dcnn_fast.viz.rankings import best_and_worst, best_by_category, distributions, right_where_wrong


def predictions(high, labels, categories=None, ratings=None):
    """Predictions for photographs that are plain squares."""
    high = np.array(high, float)
    examples = tuple(
        Example(np.full((8, 8, 3), i, np.uint8), f"k{i}", label, rating, category=category)
        for i, (label, category, rating) in enumerate(
            zip(labels, categories or [""] * len(high), ratings or [float("nan")] * len(high), strict=True)
        )
    )
    return Predictions(("low", "high"), examples, np.stack([1 - high, high], axis=1), np.zeros(len(high)))


def shown(row):
    return [(int(source[0, 0, 0]), caption) for source, caption in row.photographs]


def test_best_and_worst_in_order():
    best, worst = best_and_worst(predictions([0.2, 0.9, 0.5, 0.7], [0, 1, 1, 0]), 2)
    assert (best.title, worst.title) == ("highest P(high)", "lowest P(high)")
    assert shown(best) == [(1, "0.900 high"), (3, "0.700 low")]
    assert shown(worst) == [(0, "0.200 low"), (2, "0.500 high")]


def test_the_best_of_each_category():
    rows = best_by_category(predictions([0.2, 0.9, 0.5, 0.7], [0, 1, 1, 0], ["b", "a", "b", "a"]), 1)
    assert [(row.title, shown(row)) for row in rows] == [("a", [(1, "0.900 high")]), ("b", [(2, "0.500 high")])]
    assert best_by_category(predictions([0.2], [0])) == []


def test_where_one_is_right_and_the_other_is_not():
    one = predictions([0.8, 0.9, 0.1, 0.3, 0.6], [1, 1, 0, 0, 0])
    other = predictions([0.3, 0.4, 0.7, 0.2, 0.9], [1, 1, 0, 0, 0])
    low, high = right_where_wrong(one, other, ("DCNN", "SCNN"))
    assert low.title == "low: DCNN is right, SCNN is not (1)" and shown(low) == [(2, "0.90 / 0.30")]
    assert shown(high) == [(1, "0.90 / 0.40"), (0, "0.80 / 0.30")]
    assert [len(row.photographs) for row in right_where_wrong(one, other.of([0, 3]))] == [0, 1]
    assert [row.photographs for row in right_where_wrong(other, other)] == [[], []]


def test_a_grid_shows_each_photograph_in_its_place():
    red, blue = (np.full((40, 80, 3), colour, np.uint8) for colour in ((255, 0, 0), (0, 0, 255)))
    sheet = grid([Row("one", [(red, "a"), (blue, "b")]), Row("two", [(b"no picture", "c")])])
    pixels = np.asarray(sheet)
    assert sheet.size == (8 + 2 * 168, 8 + 2 * (160 + 36 + 8))
    assert pixels[8 + 18 + 80, 8 + 80].tolist() == [255, 0, 0]
    assert pixels[8 + 18 + 80, 8 + 168 + 80].tolist() == [0, 0, 255]
    assert pixels[8 + 204 + 18 + 80, 8 + 80].tolist() == [255, 255, 255]


def test_filters_are_stretched_each_by_itself():
    weight = torch.zeros(18, 3, 2, 2)
    weight[0, 0, 0, 0], weight[0, 2, 1, 1] = 0.5, -0.5
    weight[17] = torch.arange(12.0).reshape(3, 2, 2)
    image = filters(weight, zoom=1)
    pixels = np.asarray(image)
    assert image.size == (16 * 3 + 1, 2 * 3 + 1)
    assert pixels[1, 1].tolist() == [255, 128, 128] and pixels[2, 2].tolist() == [128, 128, 0]
    assert pixels[4, 4].tolist() == [0, round(4 / 11 * 255), round(8 / 11 * 255)]
    assert filters(weight).size == (4 * 49, 4 * 7)
    with pytest.raises(ValueError, match=r"weight must have shape \[F, 3, S, S\], got \[2, 4, 3, 3\]"):
        filters(torch.zeros(2, 4, 3, 3))


def test_distributions_are_drawn_with_and_without_ratings(tmp_path):
    save_distributions(distributions(predictions([0.2, 0.9], [0, 1])), tmp_path / "one.png")
    save_distributions(distributions(predictions([0.2, 0.9], [0, 1], ratings=[3.0, 7.0])), tmp_path / "two.png")
    one, two = (Image.open(tmp_path / f"{name}.png") for name in ("one", "two"))
    assert two.width == 2 * one.width
    sources = ["photonet", "dpchallenge"]
    save_distributions(distributions(predictions([0.2, 0.9], [0, 1], sources, ratings=[3.0, 7.0])), tmp_path / "three.png")
    assert Image.open(tmp_path / "three.png").width == 3 * one.width  # one scale each
    assert np.asarray(two.convert("L")).std() > 5
