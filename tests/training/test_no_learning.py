"""Warnings that a run learns nothing, given while it runs, and none for a run that learns."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image

from dcnn_fast.data import Example
from dcnn_fast.training.no_learning import is_looked_at, loss_of_guessing, signs_of
from tests.cli.command import run


def rows(*pairs, majority=0.6):
    return [{"loss": loss, "test_accuracy": accuracy, "test_majority": majority} for loss, accuracy in pairs]


def examples(*labels):
    return [Example(str(i), str(i), label) for i, label in enumerate(labels)]


def test_it_is_looked_at_after_five_epochs_then_twice_as_many_and_at_the_end():
    assert [epochs for epochs in range(1, 51) if is_looked_at(epochs, 50)] == [5, 10, 20, 40, 50]
    assert not any(is_looked_at(epochs, 4) for epochs in range(1, 5))


def test_guessing_costs_the_entropy_of_the_labels():
    assert loss_of_guessing(examples(0, 1)) == pytest.approx(math.log(2))
    assert loss_of_guessing(examples(0, 0, 0, 1, -1)) == pytest.approx(-0.75 * math.log(0.75) - 0.25 * math.log(0.25))
    both = [Example("", "", i % 2, attribute=i if i < 4 else -1) for i in range(8)]
    assert loss_of_guessing(both) == pytest.approx(math.log(2) + math.log(4))


def test_each_sign_is_one_that_every_epoch_shows():
    even = examples(0, 1)
    loss = "after 2 epochs the loss, 0.6930 at best, is not below that of guessing, 0.6931"
    accuracy = (
        "after 2 epochs the held-out accuracy, 0.6000 at best, is no better than always naming the commonest label, 0.6000"
    )
    assert signs_of(rows((0.7, 0.5), (0.693, 0.6)), even) == [loss, accuracy]
    assert signs_of(rows((0.7, 0.7), (0.693, 0.6)), even) == [loss]
    assert signs_of(rows((0.6, 0.5), (0.8, 0.6)), even) == [accuracy]
    assert signs_of(rows((0.6, 0.61), (0.8, 0.4)), even) == []
    assert signs_of(rows((0.6, None), (0.8, None)), even) == []


@pytest.mark.parametrize("learnt", [True, False])
def test_the_command_tells(tmp_path, learnt):
    """Brightness as the rating can be learnt; ratings of equal pictures cannot."""
    lines = []
    for i in range(30):
        pixels = np.random.default_rng(i).integers(0, 40, (40, 44, 3)) + 7 * i if learnt else np.full((40, 44, 3), 90)
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / f"{i}.png")
        lines.append(f"{i}.png,{i}")
    (tmp_path / "r.csv").write_text("path,rating\n" + "\n".join(lines))
    sizes = ("--net", "scnn", "--view", "warp", "--plane", 36, "--window", 32, "--filters", 0.125, "--fc", "16,8", "--batch", 8)
    options = ("--rate", 0.01, "--bias-rate", 0.02, "--dropout", 0, "--evaluate-every", 5)
    found = run("train", "r.csv", "--out", "run", "--epochs", 12, *sizes, *options, cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    told = [line for line in found.stderr.splitlines() if " epochs the loss" in line]
    assert [line.split()[1] for line in told] == ([] if learnt else ["5", "10", "12"])
    assert ("is no better than always naming the commonest label" in found.stderr) != learnt
