"""Training targets and their losses, against statements in numpy, and the loss of the best constant."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from dcnn_fast.data import DataSet, Example
from dcnn_fast.data.label_names import with_labels
from dcnn_fast.training import Settings
from dcnn_fast.training.aims import aim_of
from devtools.taped import Taped

RATINGS = (2.0, 3.5, 4.0, 6.5, 8.0)
VOTES = tuple(tuple(np.random.default_rng(i).integers(0, 9, 10).tolist()) for i in range(5))
EXAMPLES = tuple(
    Example("", str(number), int(rating > 4.0), rating, votes=VOTES[number]) for number, rating in enumerate(RATINGS)
)
DATA = DataSet(("low", "high"), EXAMPLES, (), threshold=4.0)
LOGITS = torch.tensor([[0.3, -1.0], [2.0, 0.5], [-0.2, 0.9]])
CHOSEN = (4, 0, 2)


def summed(**settings):
    """The loss of three examples in the order CHOSEN."""
    labels = torch.tensor([EXAMPLES[i].label for i in CHOSEN])
    return float(aim_of(DATA, EXAMPLES, Settings(**settings)).summed(LOGITS, labels, CHOSEN))


def odds_of_ratings():
    ratings = np.array(RATINGS)
    return 2 * (ratings - 4.0) / ratings.std()


@pytest.mark.parametrize(
    "settings", [{"targets": "soft"}, {"targets": "regression"}, {"targets": "emd"}, {"class_weights": (1, 3)}], ids=str
)
def test_examples_by_a_tensor_of_their_numbers_cost_the_same_and_nothing_waits_for_the_device(settings):
    """As in a recorded step: a tape raises when a value is read from the device."""
    aim, logits, numbers = aim_of(DATA, EXAMPLES, Settings(**settings)), LOGITS.clone(), torch.tensor(CHOSEN)
    labels, found = torch.tensor([EXAMPLES[i].label for i in CHOSEN]), torch.zeros(())
    aim.summed(logits, labels, numbers)
    taped = Taped([lambda: found.copy_(aim.summed(logits, labels, numbers))])
    taped.replay()
    assert float(found) == summed(**settings)
    logits.mul_(2)
    taped.replay()
    assert float(found) == float(aim.summed(LOGITS * 2, labels, CHOSEN))


def foretold():
    logits = LOGITS.double().numpy()
    return logits[:, 1] - logits[:, 0]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_soft_labels_are_a_smooth_step_of_the_rating():
    high, said = sigmoid(odds_of_ratings())[list(CHOSEN)], sigmoid(foretold())
    expected = -(high * np.log(said) + (1 - high) * np.log(1 - said)).sum()
    assert summed(targets="soft") == pytest.approx(expected, rel=1e-5)


def test_a_regression_is_of_log_odds_in_deviations_of_the_ratings():
    expected = (((foretold() - odds_of_ratings()[list(CHOSEN)]) / 2) ** 2).sum()
    assert summed(targets="regression") == pytest.approx(expected, rel=1e-5)


def test_votes_are_compared_by_squared_earth_movers_distances():
    """Proportional odds: P(vote <= k) is the sigmoid of a cut point less the odds of high; the cut at the threshold is 0."""
    shares = np.array(VOTES) / np.array(VOTES).sum(axis=1, keepdims=True)
    below = np.array([[sum(row[: k + 1]) for k in range(9)] for row in shares])
    cuts = np.log(below.mean(axis=0) / (1 - below.mean(axis=0)))
    cuts -= (cuts[2] + cuts[3]) / 2  # the threshold 4 lies midway between the cuts at 3.5 and 4.5
    said = sigmoid(cuts - foretold()[:, None])
    assert summed(targets="emd") == pytest.approx(((said - below[list(CHOSEN)]) ** 2).mean(axis=1).sum(), rel=1e-5)


@pytest.mark.parametrize("targets", ["labels", "soft", "regression", "emd"])
def test_a_model_that_has_high_first_is_taught_the_same(targets):
    """Its labels and logits are the data's in another order."""
    data = with_labels(replace(DATA, positive="high"), ("high", "low"))
    unsaid = with_labels(DATA, ("high", "low"))  # only a threshold: ratings above it have the last label
    for each in (data, unsaid):
        assert each.positive == "high"
        aim = aim_of(each, each.train, Settings(targets=targets))
        labels = torch.tensor([each.train[i].label for i in CHOSEN])
        assert float(aim.summed(LOGITS.flip(1), labels, CHOSEN)) == pytest.approx(summed(targets=targets))


@pytest.mark.parametrize(("asked", "ratio"), [("balanced", 3 / 2), ((1.0, 4.0), 4.0)])
def test_class_weights_have_the_mean_one(asked, ratio):
    """Three of five examples are low."""
    low = 5 / (3 + 2 * ratio)
    nll = -torch.log_softmax(LOGITS.double(), dim=1).numpy()
    labels = [EXAMPLES[i].label for i in CHOSEN]
    expected = sum((low, low * ratio)[label] * nll[row, label] for row, label in enumerate(labels))
    assert summed(class_weights=asked) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    "settings",
    [
        {}, {"class_weights": "balanced"}, {"class_weights": (1.0, 0.0)}, {"targets": "soft"},
        {"targets": "soft", "class_weights": (1.0, 3.0)}, {"targets": "soft", "class_weights": (0.0, 1.0)},
        {"targets": "regression"}, {"targets": "emd"},
    ],
    ids=str,
)  # fmt: skip
def test_guessing_is_the_best_answer_that_is_the_same_for_all(settings):
    aim = aim_of(DATA, EXAMPLES, Settings(**settings))
    labels = torch.tensor([example.label for example in EXAMPLES])

    def loss(odds):
        logits = torch.tensor([[0.0, float(odds)]]).repeat(5, 1)
        return float(aim.summed(logits, labels, range(5))) / 5

    least = min(loss(odds) for odds in np.linspace(-9, 9, 721))
    assert aim.guessing() == pytest.approx(least, abs=1e-3)


def test_what_targets_cannot_be_made_of_is_named():
    cases = (
        (replace(DATA, threshold=None), EXAMPLES, {"targets": "soft"}, "targets must be labels where labels are not made of"),
        (
            DATA,
            (replace(EXAMPLES[0], rating=math.nan),),
            {"targets": "regression"},
            "have no rating, .*; 0 has none",
        ),
        (
            DATA,
            (*EXAMPLES[:2], replace(EXAMPLES[2], votes=())),
            {"targets": "emd"},
            "without a histogram .*, 2 has none",
        ),
        (DATA, EXAMPLES[:1], {"targets": "soft"}, "targets by rating must be of ratings that differ, got 2 for all"),
        (DATA, EXAMPLES, {"class_weights": (1.0,)}, "class_weights must be one for each of 2 labels, got 1"),
        (DATA, EXAMPLES, {"class_weights": (0.0, 0.0)}, "class_weights must leave a label that counts"),
    )
    for data, examples, settings, why in cases:
        with pytest.raises(ValueError, match=why):
            aim_of(data, examples, Settings(**settings))


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"targets": "ordinal"}, "targets must be one of labels, soft, regression, emd"),
        (
            {"targets": "regression", "class_weights": "balanced"},
            "class_weights must not be given for targets",
        ),
        ({"class_weights": "even"}, "class_weights must be balanced or numbers"),
        ({"class_weights": (-1.0, 1.0)}, "class_weights must be finite and not negative"),
    ],
)
def test_settings_of_targets_that_make_no_sense_are_refused(settings, why):
    with pytest.raises(ValueError, match=why):
        Settings(**settings)
