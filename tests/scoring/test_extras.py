"""A scorer's extras, from Python: they are present, equal on every path, and change no score."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from dcnn_fast import Scorer
from dcnn_fast.photographs import find_faults, look_at
from dcnn_fast.scoring import completed
from tests import small
from tests.photographs.scenes import pixels_of, scene

OFF = {"faults": None, "measures": None, "samples": None, "look": None}


@pytest.fixture(scope="module")
def scorer():
    return Scorer(small.model(), samples=5, faults=True, per_sample=True, groups=True)


def test_what_is_asked_for_is_there_and_the_rest_is_as_without_it(scorer):
    plain = Scorer(small.model(), samples=5)
    for seed in range(3):
        pixels = pixels_of(scene(seed))
        full, bare = scorer.score(pixels), plain.score(pixels)
        assert vars(full) | OFF == vars(bare)
        assert full.look == look_at(pixels) and full.faults == find_faults(pixels).names
        assert full.measures == find_faults(pixels).measures
        assert (full.width, full.height) == (640, 420)


def test_samples_average_to_the_score_bit_for_bit(scorer):
    score = scorer.score(pixels_of(scene(0)))
    probs = np.array(score.samples.probs)
    assert probs.shape == (5, 2) and score.samples.labels == ("low", "high")
    assert float(probs[:, 1].mean()) == score.mean and float(probs[:, 1].std()) == score.std


def test_windows_of_samples_are_those_that_were_cut(scorer):
    """In a photograph that is plain but for one corner, only samples whose windows see the corner differ."""
    pixels = np.full((60, 80, 3), 120, np.uint8)
    changed = pixels.copy()
    changed[:20, :20] = (255, 0, 0)
    model = small.model(views=("local",))
    plain, other = (
        Scorer(model, samples=40, per_sample=True).score(each).samples for each in (pixels, changed)
    )  # the content seeds the windows, so each photograph has its own
    (column,) = other.columns
    usual = plain.probs[0][1]
    assert all(high == pytest.approx(usual, abs=1e-7) for _, high in plain.probs)  # a plain picture's windows are all alike
    sees = [top < 20 and left < 20 for top, left in column.corners]
    assert column.plane == (60, 80) and 0 < sum(sees) < 40
    assert [abs(high - usual) > 1e-6 for _, high in other.probs] == sees


def test_a_copy_of_a_scorer_is_asked_for_the_same(scorer):
    copy = pickle.loads(pickle.dumps(scorer))
    assert copy.extras == scorer.extras
    assert copy.score(pixels_of(scene(1))) == scorer.score(pixels_of(scene(1)))


@pytest.mark.parametrize("name", ["faults", "per_sample", "groups"])
def test_an_option_that_is_no_yes_or_no_is_named(name):
    with pytest.raises(ValueError, match=f"{name} must be True or False, got 1"):
        Scorer(small.model(), **{name: 1})


def test_a_collection_is_completed(scorer):
    images = [pixels_of(scene(0)), pixels_of(scene(1)), pixels_of(scene(0).resize((320, 210))), np.zeros(3)]
    scores = list(scorer.score_many(images))
    found = completed(scores)
    assert [score.group for score in found] == ["#0", None, "#0", None]
    assert found[0].best_of_group is True and found[2].best_of_group is False  # the larger one is sharper on a screen
    places = sorted(score.collection_percentile for score in found[:3])
    assert places == pytest.approx([100 / 6, 50, 500 / 6]) and found[3].collection_percentile is None
    assert [score.mean for score in found] == [score.mean for score in scores]
    assert completed([]) == []


def test_without_looks_there_are_places_and_no_groups():
    found = completed(Scorer(small.model(), samples=2).score_many([pixels_of(scene(0))] * 2))
    assert [(score.group, score.best_of_group, score.collection_percentile) for score in found] == [(None, None, 50)] * 2


def test_a_model_of_many_labels_has_groups_and_no_places():
    scorer = Scorer(small.model(labels=("a", "b", "c")), samples=2, groups=True)
    found = completed(scorer.score_many([pixels_of(scene(0)), pixels_of(scene(0).resize((300, 200)))]))
    assert [(score.group, score.best_of_group, score.collection_percentile) for score in found] == [
        ("#0", True, None), ("#0", False, None),
    ]  # fmt: skip
