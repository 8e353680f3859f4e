"""Agreement with ratings, against counting by hand."""

from __future__ import annotations

import numpy as np
import pytest

from dcnn_fast.evaluation import agreement


def test_figures_equal_those_counted_by_hand():
    high = np.array([0.9, 0.4, 0.6, 0.2, 0.6])
    ratings = np.array([6.0, 5.0, 4.0, 2.0, 3.0])
    result = agreement(high, ratings, 4.5)
    assert result.count == 5
    # Pairs of a high (0.9, 0.4) and a low one (0.6, 0.2, 0.6): 0.9 beats all three, 0.4 beats one.
    assert result.auc == pytest.approx(4 / 6)
    assert result.accuracy == pytest.approx(2 / 5)
    assert result.balanced_accuracy == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert result.majority == pytest.approx(3 / 5)
    ranks = np.array([5, 2, 3.5, 1, 3.5]), np.array([5, 4, 3, 1, 2])
    assert result.srcc == pytest.approx(np.corrcoef(*ranks)[0, 1])


def test_half_is_not_high_and_a_rating_at_the_threshold_is_low():
    result = agreement(np.array([0.5, 0.6]), np.array([4.0, 5.0]), 4.0)
    assert result.accuracy == 1


def test_ties_count_half():
    assert agreement(np.array([0.3, 0.7, 0.3, 0.7]), np.arange(4.0), 1.5).auc == 0.5


@pytest.mark.parametrize(
    ("high", "ratings", "message"),
    [
        ([0.1, 0.2], [1.0], "vectors of one length"),
        ([[0.1]], [[1.0]], "vectors of one length"),
        ([0.1, float("nan")], [1.0, 9.0], "must be finite"),
        ([0.1, 0.2], [8.0, 9.0], "both labels must occur, got 2 high of 2"),
    ],
)
def test_wrong_input_is_named(high, ratings, message):
    with pytest.raises(ValueError, match=message):
        agreement(np.array(high), np.array(ratings), 5.0)
