"""The shipped model's study: its faults, lessons and counts, and that the model file matches the taught model."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import roc_auc_score

from dcnn_fast.nets import load_model
from dcnn_fast.scoring import Scorer
from studies.taste import features, learning, protocol, report, shipping
from studies.taste.faults import FAULTS
from studies.taste.features import CLEAN, MIRRORED, Features, Rated
from studies.taste.protocol import Fold, Study, Taught
from tests.lite_files import lite_state

ROOT = Path(__file__).parents[2]
ROWS = np.arange(24)


def _photograph(seed=0, size=(480, 320)):
    """A photograph of medium colours with details of a few pixels, so that every fault shows."""
    small = np.random.default_rng(seed).integers(60, 190, (80, 120, 3)).astype(np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_stronger_fault_changes_more_and_the_same_generator_changes_the_same(fault):
    image = _photograph()
    changes = []
    for _, strength in fault.levels():
        found = [fault.apply(image, strength, np.random.default_rng(5)) for _ in range(2)]
        assert found[0].mode == "RGB" and np.array_equal(*map(np.asarray, found))
        back = np.asarray(found[0].resize(image.size, Image.Resampling.BICUBIC), np.float64)
        changes.append(1 / found[0].width if fault.name == "tilt" else np.abs(back - np.asarray(image)).mean())
        if fault.name == "tilt":  # cut to the same shape, no corner shows
            assert found[0].width / found[0].height == pytest.approx(1.5, abs=0.05) and np.asarray(found[0]).min() > 30
        else:
            assert found[0].size == image.size
    assert all(before < after for before, after in zip([0.002, *changes], changes, strict=False))


def test_exposure_is_in_light_and_a_cast_keeps_grey_from_staying_grey():
    faults, grey = {fault.name: fault for fault in FAULTS}, Image.new("RGB", (8, 8), (120, 120, 120))
    over = np.asarray(faults["over-exposure"].apply(grey, 1, np.random.default_rng(0)))
    assert np.abs(over.astype(int) - 165).max() <= 1  # twice the light of 120 is 165
    cast = np.asarray(faults["colour cast"].apply(grey, 0.28, np.random.default_rng(0)))
    assert np.ptp(cast[0, 0]) > 20


def _features(names, rng, signal=None):
    """Eight features: the first says how good a photograph is, the others how strong each kind of fault is."""
    rows, values = {}, []
    for name in names:
        clean = rng.normal(size=8)
        clean[1:4] = 0
        clean[0] = rng.normal() if signal is None else signal[name]
        variants = [(CLEAN, 0), (MIRRORED, 0), *((fault.name, level) for fault in FAULTS for level, _ in fault.levels())]
        for variant, level in variants:
            rows[name, variant, level] = len(values)
            fault = np.zeros(8)
            if level:
                fault[1 + [each.name for each in FAULTS].index(variant) % 3] = level
            values.append(clean + fault + 0.05 * rng.normal(size=8))
    return Features(np.array(values, np.float32), rows)


@pytest.fixture
def study():
    rng = np.random.default_rng(1)
    names = [f"{number}.jpg" for number in ROWS]
    ratings = rng.permutation(np.linspace(2, 6, len(names)))
    rated = Rated(names, ratings, np.array([f"theme{row // 2}" for row in ROWS]), np.array(["a", "b"])[ROWS % 2])
    oasis = _features(names, rng, dict(zip(names, ratings, strict=True)))
    return Study.of(rated, oasis, _features([f"free{number}.jpg" for number in range(10)], rng))


def test_pairs_are_each_photograph_against_each_strength_and_each_strength_against_the_next(study):
    names = study.photos.names[:2]
    pairs, rows = learning.pairs_of(study.photos, names), study.photos.rows
    found = {
        (int(a), int(b)): (float(c), float(d))
        for a, b, c, d in zip(pairs.better, pairs.worse, pairs.levels, pairs.weights, strict=True)
    }
    assert len(found) == 2 * sum(2 * len(fault.strengths) - 1 for fault in FAULTS) == len(pairs.better)
    for name in names:
        assert found[rows[name, CLEAN, 0], rows[name, "noise", 3]] == (3, pytest.approx(learning.WEIGHTS["noise"]))
        assert found[rows[name, "noise", 1], rows[name, "noise", 2]][0] == 0.5
        assert (rows[name, CLEAN, 0], rows[name, "upside down", 2]) in found
    assert set(learning.WEIGHTS) == {fault.name for fault in FAULTS}


def test_a_head_learns_the_ratings_and_that_faults_cost(study, monkeypatch):
    monkeypatch.setattr(learning, "EPOCHS", 150)
    monkeypatch.setattr(learning, "BATCH", 8)
    train, test = next(protocol.folds(study.rated, ROWS, 3, seed=0))
    assert not set(study.rated.themes[train]) & set(study.rated.themes[test])
    names = [study.rated.names[row] for row in train]
    lesson = learning.lesson_of(study.oasis, names, study.rated.ratings[train], study.photos, study.photos.names[:5])
    for pressure, faults_cost in ((3.0, True), (0.0, False)):
        head = learning.learn(lesson, pressure, seed=0)
        clean = study.oasis.values[study.oasis.of([study.rated.names[row] for row in test])]
        assert roc_auc_score(study.rated.high[test], learning.scores([head], clean)) > 0.8
        lower = np.mean(protocol._lower(head, study.photos, study.photos.names[5:]))
        assert (lower > 0.9) == faults_cost
    again = learning.learn(lesson, 3.0, seed=0)
    assert np.array_equal(learning.scores([again], clean), learning.scores([learning.learn(lesson, 3.0, seed=0)], clean))


def test_nothing_that_is_judged_was_learnt_from(study, monkeypatch):
    """Neither in the folds nor in the inner ones, which choose: no photograph is shared, nor a theme of rated ones."""
    themes = dict(zip(study.rated.names, study.rated.themes, strict=True))
    learnt, judged = [], []

    def lesson(oasis, names, ratings, photos, unrated):
        learnt.append((set(names), set(unrated)))

    def lower(head, photos, names):
        judged.append(set(names))
        return [1.0] * len(FAULTS)

    def scored(heads, values):
        rows = [study.oasis.values.tolist().index(row) for row in values.tolist()]
        judged.append({name for (name, _, _), row in study.oasis.rows.items() if row in rows})
        return np.linspace(0, 1, len(values))

    monkeypatch.setattr(protocol, "lesson_of", lesson)
    monkeypatch.setattr(protocol, "learn", lambda *_: None)
    monkeypatch.setattr(protocol, "_lower", lower)
    monkeypatch.setattr(protocol, "scores", scored)
    protocol._inner(study, ROWS, study.photos.names, 1.0, 0)
    assert len(learnt) == protocol.INNER_FOLDS and len(judged) == 2 * protocol.INNER_FOLDS
    for (names, unrated), rated, photos in zip(learnt, judged[::2], judged[1::2], strict=True):
        assert rated and not {themes[name] for name in names} & {themes[name] for name in rated}
        assert photos and unrated and not unrated & photos
    assert set.union(*judged[1::2]) == set(study.photos.names)

    taught, tested = [], []

    def teach(of, rows, unrated, seed):
        taught.append(({study.rated.names[row] for row in rows}, set(unrated)))
        return Taught([], 1.0, 0.0, 1.0)

    monkeypatch.setattr(protocol, "teach", teach)
    monkeypatch.setattr(protocol, "_variants", lambda _, features, names: tested.append(set(names)))
    monkeypatch.setattr(protocol, "_STUDY", [study])
    for number in range(protocol.FOLDS):
        protocol._fold(0, number)
    for (names, unrated), rated, photos in zip(taught, tested[::2], tested[1::2], strict=True):
        assert rated and not {themes[name] for name in names} & {themes[name] for name in rated}
        assert photos and unrated and not unrated & photos
    assert set.union(*tested[::2]) == set(study.rated.names) and set.union(*tested[1::2]) == set(study.photos.names)


def _folds(rated, probabilities, fall):
    """Folds in which a fault lowers the probability by `fall` times its level."""
    found = []
    for seed in protocol.SEEDS:
        for number, (_, test) in enumerate(protocol.folds(rated, ROWS, 3, seed)):
            variants = {(CLEAN, 0): probabilities[test]}
            for fault in FAULTS:
                variants |= {(fault.name, level): probabilities[test] - fall * level for level, _ in fault.levels()}
            found.append(Fold(seed, 1.0, test, variants, variants if number else {**variants}))
    return found


def test_figures_of_a_perfect_model_and_of_one_that_rewards_faults(study, monkeypatch):
    monkeypatch.setattr(report, "DRAWS", 50)  # resamples of intervals, which this test does not check
    rated = study.rated
    order = rated.ratings.argsort().argsort() / len(ROWS)
    perfect = report.figures(rated, _folds(rated, order, 0.1))
    assert [perfect["ratings"][name]["value"] for name in ("AUC", "Spearman")] == pytest.approx([1, 1])
    assert perfect["faults"]["defocus"]["photos"]["3"]["fall"] == pytest.approx(0.3)
    assert {name for name, *_, met in report.bars(perfect) if not met} <= {"ECE"}
    assert "Missed" in report.markdown(perfect)
    wrong = report.figures(rated, _folds(rated, 1 - order, -0.1))
    assert not any(met for name, *_, met in report.bars(wrong) if name != "ECE")
    assert wrong["ratings"]["AUC"]["value"] == 0 and wrong["faults"]["noise"]["oasis"]["2"]["lower"] == 0
    json.dumps(perfect)


def test_calibration_error_is_of_ten_bins_of_equal_counts():
    high = np.arange(100) % 10 < 3
    assert report.calibration_error(np.full(100, 0.3), high) == pytest.approx(0.0)
    assert report.calibration_error(np.full(100, 0.5), high) == pytest.approx(0.2)
    assert report.calibration_error(high.astype(float), high) == 0
    assert report.calibration_error(1 - high.astype(float), high) == 1


def test_the_model_file_gives_the_probabilities_that_were_taught(tmp_path, monkeypatch):
    """With random weights in place of the frozen layers': the whole path from a photograph's file to P(high)."""
    torch.save(lite_state(features.LITE), tmp_path / "weights.pth")
    monkeypatch.setattr(features, "lite_weights", lambda _lite: tmp_path / "weights.pth")
    features.frozen_column.cache_clear()
    data = tmp_path / "data"
    (data / "photos").mkdir(parents=True)
    for number, size in enumerate([(700, 520), (300, 420), (64, 64)]):
        _photograph(number, size).save(data / "photos" / f"{number}.jpg")
    paths = sorted((data / "photos").glob("*.jpg"))
    try:
        values = np.stack([features.means_of(Image.open(path)) for path in paths])
        scale = learning.Scale(values.mean(axis=0), np.ones(values.shape[1], np.float32))
        heads = [learning.Head(values.shape[1]).eval() for _ in range(protocol.HEADS)]
        taught = Taught(heads, 8.0, 0.1, 1.0)
        monkeypatch.setattr(shipping, "teach", lambda *_, **__: taught)
        rated = Rated(["a"], np.array([1.0]), np.array(["t"]), np.array(["c"]))
        shipping.ship(Study(rated, Features(values, {}), Features(values, {}), scale), data, tmp_path)
    finally:
        features.frozen_column.cache_clear()
    model = load_model(tmp_path / shipping.NAME)
    expected = taught.probabilities((values - scale.middle).astype(np.float32))
    found = [score.mean for score in Scorer(model, samples=2).score_many(paths)]
    assert found == pytest.approx(expected, abs=2e-3) and np.ptp(expected) > 0.01
    assert model.percentiles.scores == pytest.approx(sorted(found)) and model.spec.long_side == features.LONG_SIDE
    assert model.spec.columns[0].stages == features.STAGES


_NAMED = ("defocus", "shake", "noise", "compression")  # in the README


def test_the_documents_say_what_was_measured():
    docs, found = ROOT / "docs", json.loads((ROOT / "docs" / "taste-study.json").read_text())
    assert report.markdown(found) in (docs / "taste-study.md").read_text()
    auc = found["ratings"]["AUC"]
    low, high = auc["interval"]
    card = (ROOT / "dcnn_fast" / "models" / "README.md").read_text()
    assert f"| AUC | **{auc['value']:.3f}** ({low:.3f} to {high:.3f}) |" in card
    for fault in FAULTS:
        assert f"{fault.name} {100 * found['faults'][fault.name]['photos']['2']['lower']:.0f} %" in card.replace("\n", " ")
    readme = (ROOT / "README.md").read_text().replace("\n", " ")
    assert f"AUC of {auc['value']:.2f}" in readme
    (claimed,) = re.findall(r"scores lower than without the fault in (\d+) of 100 cases or more", readme)
    named = [found["faults"][name][kind]["2"]["lower"] for name in _NAMED for kind in ("photos", "oasis")]
    assert int(claimed) == int(100 * min(named))
