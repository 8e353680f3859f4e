"""The quick pass over held-out examples: its measures, and that its result is the mean of the views."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from dcnn_fast.nets import build
from dcnn_fast.training.distributed import World
from dcnn_fast.training.mini_batches import Draws, Request
from dcnn_fast.training.photographs import Pictures
from dcnn_fast.training.validation import look, measures
from tests import small
from tests.training import sets


def measured(probs, labels, truths=None):
    examples = [sets.example(i, label=label, truth=(truths or {}).get(i, ())) for i, label in enumerate(labels)]
    return measures(np.array(probs), examples)


def test_measures_of_two_labels():
    high = np.array([0.9, 0.8, 0.3, 0.6, 0.2])
    found = measured(np.stack([1 - high, high], axis=1), [1, 1, 1, 0, 0])
    assert found["count"] == 5
    assert found["accuracy"] == pytest.approx(3 / 5) and found["majority"] == pytest.approx(3 / 5)
    assert found["balanced_accuracy"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert found["auc"] == pytest.approx(5 / 6)
    assert found["loss"] == pytest.approx(-np.log([0.9, 0.8, 0.3, 0.4, 0.8]).mean())


def test_one_label_alone_has_no_auc_and_a_sure_error_a_finite_loss():
    found = measured([[1.0, 0.0], [0.5, 0.5]], [1, 1])
    assert math.isnan(found["auc"]) and found["accuracy"] == 0 and math.isfinite(found["loss"])


def test_any_of_several_right_labels_is_right():
    probs = np.eye(3)[[0, 1, 2, 2]]
    found = measured(probs, [0, 2, 2, 0], {1: (1, 2), 3: (0, 1)})
    assert found["accuracy"] == 3 / 4 and "auc" not in found


def test_a_second_task_is_looked_at_where_examples_have_an_attribute():
    torch.set_num_threads(1)
    net = build(small.network(attributes=("a", "b", "c")), seed=2)
    examples = [sets.example(i, label=i % 2, attribute=attribute) for i, attribute in enumerate([0, -1, 2, 2, 1])]
    draws = Draws(Pictures(examples, net.inputs), seed=0, samples=2)
    found, _ = look(net, draws, World(), torch.device("cpu"), batch=4)
    net.eval()
    with torch.no_grad():
        second = (
            net(*draws[Request(None, tuple(range(5)))].on(torch.device("cpu"), ()))[1]
            .softmax(dim=1)
            .reshape(5, 2, 3)
            .mean(dim=1)
        )
    right = [int(second[i].argmax()) == e.attribute for i, e in enumerate(examples) if e.attribute >= 0]
    assert found["attribute_accuracy"] == np.mean(right) and found["attribute_majority"] == 0.5
    without = Draws(Pictures([replace(e, attribute=-1) for e in examples], net.inputs), seed=0)
    assert "attribute_accuracy" not in look(net, without, World(), torch.device("cpu"), batch=4)[0]


def test_a_look_averages_the_views_whatever_the_batch():
    torch.set_num_threads(1)
    net, data = sets.net(), sets.data_set(0, 9)
    draws = Draws(Pictures(data.test, net.inputs), seed=0, samples=3)
    net.train()
    found, bad = look(net, draws, World(), torch.device("cpu"), batch=7)
    assert net.training and bad == {}
    net.eval()
    cases = draws[Request(None, tuple(range(9)))]
    with torch.no_grad():
        probs = net(*cases.on(torch.device("cpu"), ())).softmax(dim=1).reshape(9, 3, 2).mean(dim=1)
    for name, value in measures(probs.double().numpy(), data.test).items():
        assert found[name] == pytest.approx(value, rel=1e-5), name
    again, _ = look(net, draws, World(), torch.device("cpu"), batch=1, workers=1)
    assert again == pytest.approx(found, rel=1e-5)


def test_nothing_readable_gives_no_measures():
    net = sets.net()
    draws = Draws(Pictures([sets.example(0, source="/nowhere.jpg")], net.inputs), seed=0)
    assert look(net, draws, World(), torch.device("cpu"), batch=4) == ({}, {"picture 0": "no such file"})
