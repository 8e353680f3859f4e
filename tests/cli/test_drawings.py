"""`dcnn-fast plan --svg` and `describe --filters`: pictures that replace the command's own outputs only."""

from __future__ import annotations

import shutil

import pytest
from typer.testing import CliRunner

from dcnn_fast.cli.main import app
from dcnn_fast.data import synthetic
from dcnn_fast.nets import Model, build, save_model
from tests import small


def run(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)], env={"COLUMNS": "1000"})


@pytest.fixture
def place(tmp_path):
    save_model(Model(build(small.network(), seed=1)), tmp_path / "a.safetensors")
    root = synthetic.make("folders", tmp_path / "set", images=64, sides=(30, 40))
    shutil.copy(next(root.rglob("*.jpg")), tmp_path / "a.jpg")
    return tmp_path


def files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_plan_is_drawn_again_and_over_nothing_else(place, capfd):
    photograph, model = place / "a.jpg", place / "a.safetensors"
    arguments = ("plan", photograph, "--model", model, "--svg")
    for _ in range(2):
        assert run(*arguments, place / "plan.svg").exit_code == 0
        assert (place / "plan.svg").read_text().startswith("<svg")
    (place / "drawing.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"><text>mine</text></svg>')
    (place / "link.svg").symlink_to(photograph)
    before = files(place)
    for path in (photograph, model, place / "drawing.svg", place / "link.svg", place / "set", place / "none" / "p.svg"):
        found = run(*arguments, path)
        assert found.exit_code == 2 and found.output.startswith(f"error: --svg: {path}"), found.output
    assert files(place) == before
    straight = run(*arguments, "-")
    assert straight.exit_code == 0 and straight.stdout == "" and "conv1" in straight.stderr
    assert capfd.readouterr().out.startswith("<svg")  # the process's own output, which the runner does not capture
    full = run(*arguments, "/dev/full")
    assert full.exit_code == 3 and "--svg /dev/full: No space left on device" in full.stderr and "conv1" in full.stdout


def test_filters_are_drawn_again_and_over_nothing_else(place):
    model, folder = place / "a.safetensors", place / "pictures"
    for _ in range(2):
        assert run("describe", model, "--filters", folder).exit_code == 0
    pictures = sorted(folder.iterdir())
    assert pictures and all(path.name.startswith("filters-") for path in pictures)
    pictures[0].write_bytes(b"a photograph of mine")
    before = files(place)
    found = run("describe", model, "--filters", folder)
    assert found.exit_code == 2 and "holds something else than a picture of this program" in found.output
    assert files(place) == before
