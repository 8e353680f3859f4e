"""Predictions: the scorer's for the package's networks, the same windows for foreign ones, and unreadable files."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from dcnn_fast import Scorer
from dcnn_fast.data import DataSet, Example
from dcnn_fast.evaluation import Predictions, predict
from dcnn_fast.evaluation.histograms import for_labels
from dcnn_fast.nets import Model
from tests import small
from tests.scoring.test_scorer import PHOTOS


def examples(count=4):
    return [Example(photo, f"p{i}", i % 2, float(i), category="c") for i, photo in enumerate(PHOTOS[:count])]


def test_our_networks_give_the_scorers_numbers():
    model, done = small.model(), []
    found = predict(model, examples(), samples=5, seed=3, advance=lambda: done.append(1))
    scores = [Scorer(model, samples=5, seed=3).score(photo) for photo in PHOTOS[:4]]
    assert found.labels == ("low", "high") and len(done) == 4
    assert found.probs[:, 1].tolist() == [score.mean for score in scores]
    assert found.spread.tolist() == [score.std for score in scores]
    assert found.named.tolist() == [int(score.label == "high") for score in scores]
    assert predict(model.net, examples(), samples=5, seed=3).probs.tolist() == found.probs.tolist()


class Wrapped(nn.Module):
    """A network that is not one of the package's."""

    def __init__(self, net):
        super().__init__()
        self.net = net
        self.inputs = net.inputs

    def forward(self, *windows):
        return self.net(*windows), None


def test_other_networks_see_the_same_windows():
    model = small.model()
    ours = predict(model, examples(), samples=70, seed=3)
    theirs = predict(Wrapped(model.net), examples(), samples=70, seed=3, labels=model.spec.labels)
    np.testing.assert_allclose(theirs.probs, ours.probs, atol=1e-5)
    np.testing.assert_allclose(theirs.spread, ours.spread, atol=1e-5)
    with pytest.raises(ValueError, match="labels must name the classes"):
        predict(Wrapped(model.net), examples())
    with pytest.raises(ValueError, match="labels must name the module's 2 classes, got a, b, c"):
        predict(Wrapped(model.net), examples(), samples=2, labels=("a", "b", "c"))


@pytest.mark.parametrize("wrap", [Model, Wrapped], ids=["ours", "theirs"])
def test_what_cannot_be_read_is_named_and_left_out(wrap, tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    listed = [examples()[0], Example(str(tmp_path / "a.jpg"), "bad", 1), examples()[1]]
    found = predict(wrap(small.model().net), listed, samples=2, labels=("low", "high"))
    assert [example.key for example in found.examples] == ["p0", "p1"] and found.probs.shape == (2, 2)
    assert list(found.errors) == ["bad"] and found.errors["bad"]
    with pytest.raises(ValueError, match="must hold readable photographs, got none of 1: bad: "):
        predict(wrap(small.model().net), listed[1:2], samples=2, labels=("low", "high"))


def test_what_is_true_and_what_is_right():
    listed = [Example(PHOTOS[0], "a", 0, truth=(0, 1)), Example(PHOTOS[1], "b", -1), Example(PHOTOS[2], "c", 1)]
    found = predict(small.model(), listed, samples=2)
    assert found.truth == ((0, 1), (), (1,))
    assert found.right.tolist() == [True, False, bool(found.named[2] == 1)]
    assert np.isnan(found.ratings).all()
    part = found.of([2])
    assert [example.key for example in part.examples] == ["c"] and part.probs.tolist() == found.probs[2:].tolist()


def test_more_than_two_labels_have_no_spread():
    model = small.model(labels=("a", "b", "c"))
    found = predict(model, examples(2), samples=2)
    assert found.probs.shape == (2, 3) and np.isnan(found.spread).all()
    torch.testing.assert_close(found.probs.sum(axis=1), np.ones(2))


@pytest.mark.parametrize("wrap", [Model, Wrapped], ids=["ours", "theirs"])
def test_weights_that_are_not_finite_are_said(wrap):
    net = small.model().net
    with torch.no_grad():
        net.label.bias[0] = float("nan")
    with pytest.raises(ValueError, match="p0: the model gives numbers that are not finite"):
        predict(wrap(net), examples(2), samples=2, labels=("low", "high"))


def test_predictions_of_ratings_are_those_of_high_wherever_it_stands():
    shown = (Example("", "a", 1, 9.0), Example("", "b", 0, 2.0))
    ratings = np.eye(10)[[8, 1]]
    labels = tuple(f"r{number}" for number in range(1, 11))
    made = Predictions(labels, shown, ratings, np.full(2, np.nan))
    for names in (("low", "high"), ("high", "low")):
        found = for_labels(made, DataSet(names, (), shown, threshold=5.0, positive="high"))
        assert found.probs[:, names.index("high")].tolist() == [0.9, 0.2]
