"""The picture of a run's curves."""

from __future__ import annotations

import pytest
from PIL import Image

from dcnn_fast.training.curves import save_curves

ROWS = [
    {"epoch": 1, "rate": 0.001, "loss": 0.9, "test_loss": 0.8, "test_accuracy": 0.5, "test_majority": 0.6, "test_auc": None},
    {"epoch": 2, "rate": 0.001, "loss": 0.7},
    {"epoch": 3, "rate": 0.0001, "loss": 0.6, "test_loss": 0.7, "test_accuracy": 0.7, "test_majority": 0.6, "test_auc": 0.7},
]


@pytest.mark.parametrize("rows", [ROWS, ROWS[:1], [], [{"epoch": 1, "loss": 1.0}]])
def test_whatever_a_run_has_is_drawn(tmp_path, rows):
    save_curves(rows, tmp_path / "curves.png", "a run")
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.size == (1100, 400)


def test_a_loss_of_other_targets_is_drawn_apart(tmp_path):
    """The loss is not comparable with curves on the axis of the held-out examples."""
    for apart in (False, True):
        save_curves(ROWS, tmp_path / "curves.svg", apart=apart)
        text = (tmp_path / "curves.svg").read_text()
        assert ("held out, label NLL" in text, "training, its own loss" in text) == (apart, apart)
    save_curves([{"epoch": 1}], tmp_path / "none.svg", apart=True)


def test_an_svg_holds_what_the_lines_are(tmp_path):
    save_curves(ROWS, tmp_path / "curves.svg")
    text = (tmp_path / "curves.svg").read_text()
    assert "AUC" in text and "always the commonest label" in text
