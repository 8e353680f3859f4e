"""Data sets, predictions and measures neither depend on the settings of the process around them nor change them."""

from __future__ import annotations

import pytest

from dcnn_fast.data import load_set, synthetic
from dcnn_fast.evaluation import measure, predict
from dcnn_fast.nets import Model
from tests import small
from tests.evaluation.test_predict import Wrapped
from tests.training.test_surroundings import OTHERWISE, state


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return synthetic.make("csv", tmp_path_factory.mktemp("set") / "set", images=64, sides=(30, 40), corrupt=3)


def found(path, nets):
    data = load_set(path, fold=1)
    predictions = [predict(net, data.test, samples=2, labels=("low", "high")) for net in nets]
    return data, [each.probs.tolist() for each in predictions], [measure(each, resamples=20).to_dict() for each in predictions]


@pytest.mark.parametrize("name", OTHERWISE)
def test_what_the_process_has_set_changes_nothing_and_stays(path, name):
    nets = [Model(small.model().net), Wrapped(small.model().net)]
    data, probs, measures = found(path, nets)
    with OTHERWISE[name]():
        before = state()
        again = found(path, nets)
        assert state() == before
    assert repr(again[0]) == repr(data) and again[1] == probs and repr(again[2]) == repr(measures)
