"""The study's own parts: folded layers, windows, statistics, targets and its report's statements."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from dcnn_fast.data import Example
from dcnn_fast.evaluation import Predictions, intervals
from studies.oasis import learning, report
from studies.oasis.pictures import Crops, Picture, crops, windows
from studies.oasis.statistics import statistics


def pictures(count=3):
    rng = np.random.default_rng(0)
    return [Picture(rng.integers(0, 256, (90 + i, 120, 3)).astype(np.uint8), 1.0 + i, f"t{i}", "c") for i in range(count)]


def test_a_layer_that_learnt_on_standardised_features_is_the_same_on_the_features():
    torch.manual_seed(0)
    features = torch.rand(50, 512) * 3 + 1
    net = learning.Attributes(features).eval()
    torch.testing.assert_close(net.label(net.folded()(features).relu()), net(features), rtol=1e-4, atol=1e-5)


def test_windows_of_both_views_are_mirrored_together():
    source = crops(pictures(), 2, 72, seed=1)
    assert [pixels.shape for pixels in source.pixels[::2]] == [(90, 120, 3), (91, 120, 3), (92, 120, 3)]
    assert source.planes.shape == (6, 72, 72, 3) and source.picture.tolist() == [0, 0, 1, 1, 2, 2]
    rows = np.array([0, 3])
    plain, mirrored = (
        windows(source, rows, ("local", "warp"), 64, np.random.default_rng(5), np.array([False, flip]))
        for flip in (False, True)
    )
    for one, other in zip(plain, mirrored, strict=True):
        assert one.shape == (2, 3, 64, 64) and one.dtype == torch.uint8
        assert torch.equal(one[0], other[0]) and torch.equal(one[1].flip(2), other[1])


def test_targets_rise_with_the_rating_through_one_half_at_the_median():
    source = Crops([], np.zeros((0, 72, 72, 3), np.uint8), np.array([0, 0, 1, 2, 3]))
    ratings = np.array([1.0, 3.0, 2.0, 9.0])
    lesson = learning.rating_lesson(source, ratings, np.array([0, 1, 2]))
    assert lesson.rows.tolist() == [0, 1, 2, 3]
    assert lesson.high[3] == 0.5 and lesson.high[0] < 0.5 < lesson.high[2] < lesson.high[4]


def test_statistics_tell_light_and_sharp_pictures_apart():
    rng = np.random.default_rng(1)
    dark, light = (np.full((60, 80, 3), value, np.uint8) for value in (30, 220))
    noisy = rng.integers(0, 256, (60, 80, 3)).astype(np.uint8)
    found = statistics([dark, light, noisy])
    assert found.shape == (3, 26) and np.isfinite(found).all()
    assert found[0, 0] < found[1, 0] and found[2, 17] > found[0, 17]


@dataclass
class Known:
    """The prepared data that the report needs."""

    ratings: np.ndarray
    themes: np.ndarray
    categories: np.ndarray
    rated: list

    @property
    def high(self):
        return self.ratings > np.median(self.ratings)


def test_the_report_pools_folds_and_leaves_out_seeds_that_are_not_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "DRAWS", 40)
    ratings = np.arange(20.0)
    themes = np.array([f"t{i % 2}" for i in range(20)])  # whichever themes are drawn, both labels occur
    known = Known(ratings, themes, np.array(["a", "b"] * 10), [None] * 20)
    for seed, folds in ((0, 2), (1, 2), (2, 1)):
        for fold in range(folds):
            test = np.arange(fold * 10, fold * 10 + 10)
            scores = dict.fromkeys(("cats", "generic", "adapt", "RDCNN"), ratings[test] / 20 + seed)
            np.savez(tmp_path / f"seed{seed}-fold{fold}.npz", test=test, DCNN=1 - ratings[test] / 20, **scores)
    results = report.measured(known, tmp_path)
    assert results["models"]["RDCNN"]["seeds"] == 2
    assert results["models"]["RDCNN"]["auc"] == {"value": 1.0, "low": 1.0, "high": 1.0, "over seeds": 0.0}
    assert results["models"]["DCNN"]["auc"]["value"] == 0.0
    assert results["auc differences"]["RDCNN - DCNN"]["value"] == 1.0
    assert results["categories"]["a"]["pictures"] == 10
    text = report.markdown(results)
    assert "| RDCNN | 1.000 (1.000 to 1.000) |" in text and "| RDCNN - DCNN | 1.000" in text


def test_intervals_over_themes_agree_with_those_of_the_evaluation():
    """Two ways to the same interval: the study's, over themes, and that of `evaluation.intervals`, over groups."""
    rng = np.random.default_rng(3)
    ratings = rng.random(200)
    themes = np.array([f"t{i // 5}" for i in range(200)])
    scores = np.clip(ratings + rng.normal(0, 0.4, 200), 0, 1)
    known = Known(ratings, themes, themes, [None] * 200)
    draws = report._draws(themes)
    mine = np.quantile([report._over_seeds(report.METRICS["auc"], known, [scores], rows)[0] for rows in draws], [0.025, 0.975])
    examples = tuple(Example(None, str(i), int(h), group=t) for i, (h, t) in enumerate(zip(known.high, themes, strict=True)))
    theirs = intervals(Predictions(("low", "high"), examples, np.stack([1 - scores, scores], 1), scores), 1000)["auc"]
    assert mine == pytest.approx(theirs, abs=0.015)
