"""Measures, compared with counts by hand and with independent formulas."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from dcnn_fast.data import DataSet, Example
from dcnn_fast.evaluation import Predictions, average, intervals, measure
from dcnn_fast.evaluation.histograms import for_labels
from dcnn_fast.evaluation.predict import joined


def binary(high, labels, ratings=None, groups=None):
    """Predictions for two labels."""
    high = np.array(high, float)
    ratings = np.full(len(high), np.nan) if ratings is None else ratings
    groups = groups or [""] * len(high)
    examples = tuple(
        Example(None, str(i), label, rating, group=group)
        for i, (label, rating, group) in enumerate(zip(labels, ratings, groups, strict=True))
    )
    return Predictions(("low", "high"), examples, np.stack([1 - high, high], axis=1), np.zeros(len(high)))


def several(probs, truths):
    """Predictions for labels of which any number may be right."""
    names = tuple("abcdefgh"[: len(probs[0])])
    examples = tuple(Example(None, str(i), truth[0] if truth else -1, truth=truth) for i, truth in enumerate(truths))
    return Predictions(names, examples, np.array(probs), np.full(len(truths), np.nan))


def test_figures_equal_those_counted_by_hand():
    ratings = [6.0, 5.0, 4.0, 2.0, 3.0]
    found = measure(binary([0.9, 0.4, 0.6, 0.2, 0.6], [1, 1, 0, 0, 0], ratings))
    assert (found.count, found.unlabelled) == (5, 0)
    # Pairs of a high (0.9, 0.4) and a low one (0.6, 0.2, 0.6): 0.9 beats all three, 0.4 beats one.
    assert found.auc == pytest.approx(4 / 6)
    assert found.accuracy == pytest.approx(2 / 5)
    assert found.balanced_accuracy == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert found.majority == pytest.approx(3 / 5)
    assert found.confusion == [[1, 2], [1, 1]]
    ranks = np.array([5, 2, 3.5, 1, 3.5]), np.array([5, 4, 3, 1, 2])
    assert found.srcc == pytest.approx(np.corrcoef(*ranks)[0, 1])
    assert found.plcc == pytest.approx(np.corrcoef([0.9, 0.4, 0.6, 0.2, 0.6], ratings)[0, 1])
    # Ten pairs: seven agree, two do not, one is tied among the scores.
    assert found.krcc == pytest.approx((7 - 2) / np.sqrt(9 * 10))


def test_the_area_under_the_curve_is_scikit_learns():
    rng = np.random.default_rng(0)
    for count in (2, 3, 10, 200):
        labels = np.arange(count) % 2
        for high in (rng.random(count), rng.integers(0, 5, count) / 4):
            assert measure(binary(high, labels)).auc == pytest.approx(roc_auc_score(labels, high), rel=1e-12)


def test_ties_count_half():
    assert measure(binary([0.3, 0.7, 0.3, 0.7], [0, 0, 1, 1])).auc == 0.5


def test_without_ratings_or_with_one_label_what_cannot_be_said_is_not():
    found = measure(binary([0.3, 0.7], [1, 1]))
    assert (found.auc, found.srcc, found.plcc, found.krcc) == (None, None, None, None)
    assert found.accuracy == 0.5 and found.majority == 1
    assert measure(binary([0.5, 0.5], [0, 1], [1.0, 2.0])).srcc is None  # scores that are all equal have no rank


def test_average_precision_by_hand():
    """Positives at ranks 1, 3 and 4 of five: precisions 1, 2/3, 3/4; interpolated 1, 3/4, 3/4."""
    predictions = binary([0.9, 0.8, 0.7, 0.6, 0.1], [1, 0, 1, 1, 0])
    plain = measure(predictions).average_precision["high"]
    assert plain == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)
    assert measure(predictions, ap="interpolated").average_precision["high"] == pytest.approx((1 + 3 / 4 + 3 / 4) / 3)
    # Eleven recalls: 0 to 0.3 have precision 1, the seven others 3/4.
    assert measure(predictions, ap="voc07").average_precision["high"] == pytest.approx((4 * 1 + 7 * 3 / 4) / 11)


def test_eleven_recalls_are_those_that_were_measured():
    """If a negative comes first, no precision is 1, not even at recall 0; recalls of 3/10, 6/10 and 7/10 reach their level."""
    behind = binary([0.9, 0.8, 0.7, 0.1], [0, 1, 1, 0])  # precisions 1/2 and 2/3
    for ap in ("interpolated", "voc07"):
        assert measure(behind, ap=ap).average_precision["high"] == pytest.approx(2 / 3)
    for first in range(1, 10):  # `first` positives, then ten negatives, then the other positives
        labels = [1] * first + [0] * 10 + [1] * (10 - first)
        found = measure(binary(np.linspace(0.9, 0.1, 20), labels), ap="voc07").average_precision["high"]
        assert found == pytest.approx(((first + 1) * 1 + (10 - first) * 0.5) / 11)


def test_correlations_are_of_the_rated_examples():
    high, labels, ratings = [0.9, 0.4, 0.6, 0.2, 0.6], [1, 1, 0, 0, 0], [6.0, 5.0, np.nan, 2.0, 3.0]
    found, rated = measure(binary(high, labels, ratings)), measure(binary(high, labels, ratings).of([0, 1, 3, 4]))
    assert found.srcc is not None and found.count == 5
    assert (found.srcc, found.plcc, found.krcc) == (rated.srcc, rated.plcc, rated.krcc)


def test_several_right_labels():
    probs = [[0.5, 0.3, 0.2], [0.1, 0.6, 0.3], [0.2, 0.5, 0.3], [0.3, 0.4, 0.3]]
    found = measure(several(probs, [(0, 1), (2,), (1, 2), ()]))
    assert (found.count, found.unlabelled) == (3, 1)
    assert found.accuracy == pytest.approx(2 / 3)  # the example without a label counts in no accuracy
    assert found.confusion == [[1, 0, 0], [0, 1, 0], [0, 1, 0]]
    assert found.majority == pytest.approx(2 / 3)  # labels b and c are right twice
    # a: the one positive comes first. b: ranks of 0.6, 0.5, 0.4, 0.3; positives are the second and the fourth. c: of 0.3, 0.3,
    # 0.3 and 0.2 the three equal ones hold two positives.
    by_label = {"a": 1.0, "b": (1 / 2 + 2 / 4) / 2, "c": 2 / 3}
    assert found.average_precision == pytest.approx(by_label)
    assert found.macro_map == pytest.approx(np.mean(list(by_label.values())))
    pairs = sorted(zip(np.ravel(probs), [1, 1, 0, 0, 0, 1, 0, 1, 1, 0, 0, 0], strict=True), reverse=True)
    scores, truth = map(np.array, zip(*pairs, strict=True))
    hits = [(truth[scores >= s].sum() / (scores >= s).sum(), truth[scores == s].sum()) for s in np.unique(scores)]
    assert found.micro_map == pytest.approx(sum(p * n for p, n in hits) / truth.sum())


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    held = 0
    for seed in range(50):
        rng = np.random.default_rng(seed)
        labels = rng.integers(0, 2, 120)
        right = rng.random(120) < 0.7
        low, high = intervals(binary(np.where(right, labels, 1 - labels) * 0.8 + 0.1, labels), 60, seed)["accuracy"]
        held += low <= 0.7 <= high
    assert 43 <= held <= 50


def test_intervals_are_wider_over_groups_that_go_together():
    rng = np.random.default_rng(0)
    right = np.repeat(rng.random(20) < 0.6, 10)  # all members of a group are right or wrong together
    labels = np.tile([0, 1], 100)
    high = np.where(right, labels, 1 - labels) * 0.8 + 0.1
    widths = []
    for groups in (None, [str(i // 10) for i in range(200)]):
        low, upper = intervals(binary(high, labels, groups=groups), 400)["accuracy"]
        widths.append(upper - low)
    assert widths[1] > 2 * widths[0]
    grouped = binary(high, labels, groups=[str(i // 10) for i in range(200)])
    assert intervals(grouped, 50, seed=1) == intervals(grouped, 50, seed=1) != intervals(grouped, 50, seed=2)


def test_the_average_of_models_is_over_what_all_have():
    one, other = binary([0.9, 0.1, 0.5], [1, 0, 1]), binary([0.5, 0.3, 0.1], [1, 0, 1]).of([2, 0])
    both = average([one, other])
    assert [example.key for example in both.examples] == ["0", "2"]
    np.testing.assert_allclose(both.probs[:, 1], [0.7, 0.3])
    with pytest.raises(ValueError, match="must have the same labels"):
        average([one, replace(other, labels=("a", "b"))])
    with pytest.raises(ValueError, match="must have examples in common"):
        average([one.of([0]), other.of([0])])


def test_wrong_input_is_named():
    with pytest.raises(ValueError, match="ap must be one of plain, interpolated, voc07; got 'coco'"):
        measure(binary([0.1], [1]), ap="coco")
    with pytest.raises(ValueError, match="must have examples with a label, got none"):
        measure(several([[0.5, 0.5]], [()]))


def test_ratings_of_several_parts_keep_their_order_together():
    """As with a route or with folds: a part's probabilities must not depend on its own ratings' distance from the threshold."""
    parts = []
    for means in ([5.5, 6.0], [5.4, 9.0]):
        shares = np.zeros((2, 10))
        for row, mean in zip(shares, means, strict=True):
            row[int(mean) - 1], row[min(int(mean), 9)] = 1 - mean % 1, row[min(int(mean), 9)] + mean % 1
        examples = tuple(Example(None, f"{mean}", 1, mean) for mean in means)
        foretold = Predictions(tuple(f"r{i}" for i in range(1, 11)), examples, shares, np.full(2, np.nan))
        parts.append(for_labels(foretold, DataSet(("low", "high"), (), examples, threshold=5.0)))
    assert joined(parts).probs[:, 1] == pytest.approx([0.55, 0.6, 0.54, 0.9])
