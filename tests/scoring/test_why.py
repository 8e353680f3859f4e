"""Heat maps: over windows as they lie in the photograph, and by covering cells."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from dcnn_fast import Scorer, nets, networks
from dcnn_fast.scoring.samples import ColumnWindows, Samples
from dcnn_fast.scoring.why import heat_map, over_windows
from tests import small

PHOTO = np.random.default_rng(4).integers(0, 256, (90, 120, 3)).astype(np.uint8)
WHOLE = networks.Network("whole", (replace(small.column("warp"), plane=24),), ("low", "high"))  # its window is its plane


def samples(view, plane, window, corners, high):
    column = ColumnWindows(view, plane, (window, window), tuple(corners))
    return Samples(("low", "high"), tuple((1 - p, p) for p in high), (column,))


def test_a_local_window_covers_its_own_pixels():
    """A photograph of 100 x 200 in cells of 10: rows 20 to 59, columns 40 to 79."""
    found = over_windows(samples("local", (100, 200), 40, [(20, 40)], [0.7]), (100, 200), (10, 20))
    expected = np.full((10, 20), np.nan)
    expected[2:6, 4:8] = 0.7
    np.testing.assert_array_equal(found, expected)


def test_windows_that_overlap_are_averaged():
    found = over_windows(samples("local", (10, 10), 6, [(0, 0), (4, 4)], [0.2, 0.6]), (10, 10), (10, 10))
    assert found[0, 0] == 0.2 and found[9, 9] == 0.6 and found[5, 5] == pytest.approx(0.4) and np.isnan(found[0, 9])


@pytest.mark.parametrize(
    ("view", "corner", "rows", "columns"),
    [
        # A photograph of 100 x 200 and a plane of 50 x 50, windows of 25.
        ("warp", (25, 0), (5, 10), (0, 10)),  # the lower left quarter
        ("center", (0, 0), (0, 5), (5, 10)),  # the plane is the middle half of the width: 50 of 100 columns from 25 on
        ("pad", (0, 0), (0, 5), (0, 10)),  # the photograph lies in rows 12 to 36 of the plane: its upper half, the left half
    ],
)
def test_windows_of_a_plane_cover_what_the_plane_was_made_of(view, corner, rows, columns):
    found = over_windows(samples(view, (50, 50), 25, [corner], [0.9]), (100, 200), (10, 20))
    expected = np.full((10, 20), np.nan)
    expected[slice(*rows), slice(*columns)] = 0.9
    np.testing.assert_array_equal(found, expected)


def test_the_photographs_map_is_of_its_samples():
    scorer = Scorer(small.model(), samples=8, per_sample=True)
    found = heat_map(scorer, PHOTO, cells=8)
    assert found.kind == "samples" and found.values.shape == (6, 8) and found.score == scorer.score(PHOTO)
    np.testing.assert_array_equal(found.values, over_windows(found.score.samples, (90, 120), (6, 8)))
    seen = found.values[np.isfinite(found.values)]
    high = [probs[1] for probs in found.score.samples.probs]
    assert seen.size > 20 and min(high) <= seen.min() and seen.max() <= max(high)


def test_covering_a_cell_is_scoring_the_photograph_without_it():
    scorer = Scorer(nets.Model(nets.build(WHOLE, seed=3).eval()), samples=1, per_sample=True)
    assert not scorer.model.spec.windows_differ
    found = heat_map(scorer, PHOTO, cells=4)
    assert found.kind == "occlusion" and found.values.shape == (3, 4)
    covered = found.pixels.copy()
    height, width, _ = covered.shape
    covered[height // 3 : 2 * height // 3, width // 4 : width // 2] = covered.reshape(-1, 3).mean(axis=0).round()
    assert found.values[1, 1] == scorer.score(PHOTO).mean - scorer.score(covered).mean
    assert len(set(found.values.ravel().tolist())) == 12


@pytest.mark.parametrize(
    ("scorer", "cells", "message"),
    [
        (lambda: Scorer(small.model(), samples=2, per_sample=True), 1, "cells must be an integer from 2 to 64, got 1"),
        (lambda: Scorer(small.model(), samples=2, per_sample=True), 65, "cells must be"),
        (lambda: Scorer(small.model(), samples=2), 8, "per_sample=True"),
        (lambda: Scorer(small.model(labels=("a", "b", "c")), samples=2, per_sample=True), 8, "two labels"),
    ],
)
def test_what_has_no_map_is_named(scorer, cells, message):
    with pytest.raises(ValueError, match=message):
        heat_map(scorer(), PHOTO, cells=cells)


@pytest.mark.parametrize("network", [WHOLE, small.network()], ids=["occlusion", "samples"])
def test_a_model_that_gives_no_finite_number_is_named(network):
    net = nets.build(network, seed=3).eval()
    with torch.no_grad():
        net.label.weight.fill_(3e38)
    with pytest.raises(ValueError, match="not finite"):
        heat_map(Scorer(nets.Model(net), samples=2, per_sample=True), PHOTO)
