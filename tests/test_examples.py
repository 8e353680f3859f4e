"""The examples work on a few drawn photographs; each is at most 40 lines long.

Those for a server, Ray, ONNX and the C library have tests of their own (tests/serve, batch, export, c_library).
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

from dcnn_fast import load_model, save_model
from dcnn_fast.data import synthetic
from tests import small

FOLDER = Path(__file__).parents[1] / "examples"
SHORT = ("score_folder", "embed_in_a_loop", "train", "adapt", "plan_and_draw", "simulate_kernel")


@pytest.fixture(scope="module")
def ratings(tmp_path_factory):
    """A CSV file of ratings beside the photographs."""
    return synthetic.make("csv", tmp_path_factory.mktemp("set") / "drawn", images=64)


@pytest.fixture
def small_model(tmp_path):
    save_model(small.model(), tmp_path / "small.safetensors")
    return tmp_path / "small.safetensors"


@pytest.fixture
def said(monkeypatch, capsys):
    """Runs an example as a user does, in this process; returns the printed lines."""

    def call(name, *words):
        monkeypatch.setattr(sys, "argv", [name, *map(str, words)])
        runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")
        return capsys.readouterr()

    return call


@pytest.mark.parametrize("name", SHORT)
def test_an_example_is_short_and_says_how_it_is_called(name):
    text = (FOLDER / f"{name}.py").read_text()
    assert len(text.splitlines()) <= 40 and f"python examples/{name}.py" in text
    assert f"[{name}.py]({name}.py)" in (FOLDER / "README.md").read_text()


def test_a_folder_is_scored_the_best_first_and_a_broken_file_is_named(said, small_model, ratings, tmp_path):
    for number, photograph in enumerate(sorted(ratings.parent.rglob("*.jpg"))[:5]):
        (tmp_path / f"{number}.jpg").write_bytes(photograph.read_bytes())
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    printed = said("score_folder", tmp_path, small_model)
    means = [float(line.split()[0]) for line in printed.out.splitlines()]
    assert len(means) == 5 and means == sorted(means, reverse=True)
    assert "broken.jpg" in printed.err


def test_arrays_are_scored_in_a_loop(said, small_model):
    assert "is the best: 0." in said("embed_in_a_loop", small_model).out


def test_a_network_is_trained_and_measured(said, ratings, tmp_path):
    printed = said("train", ratings, tmp_path / "run", 1)
    assert "held out: accuracy" in printed.out
    assert load_model(tmp_path / "run" / "last.safetensors").spec.labels == ("low", "high")


def test_the_shipped_model_is_adapted(said, ratings, tmp_path):
    photograph = next(ratings.parent.rglob("*.jpg"))
    lines = said("adapt", ratings, tmp_path / "mine.safetensors", photograph).out.splitlines()
    assert lines[0].startswith("correlation with your ratings: ") and lines[1].startswith(f"{photograph}: 0.")


def test_a_plan_is_counted_and_drawn(said, ratings, tmp_path):
    printed = said("plan_and_draw", next(ratings.parent.rglob("*.jpg")), tmp_path / "plan.svg").out
    assert "column warp:0, plan sharing:" in printed and "times fewer than window by window" in printed
    assert (tmp_path / "plan.svg").read_text().startswith("<svg")


def test_a_kernel_is_simulated(said):
    assert said("simulate_kernel").out.startswith("9600 bytes in ")
