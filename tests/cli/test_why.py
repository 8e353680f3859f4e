"""`dcnn-fast why`: its picture, its numbers, and its refusals."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from dcnn_fast import Scorer
from dcnn_fast.scoring.why import heat_map
from tests.cli.command import run
from tests.export.schemas import require_valid


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (60, 90, 3)).astype(np.uint8)).save(path)
    return path


def test_the_picture_shows_the_photograph_and_its_map(model, photo, tmp_path):
    out, numbers = tmp_path / "why.png", tmp_path / "why.json"
    done = run("why", photo, "--model", model, "--out", out, "--json", numbers, "--cells", 6, "--samples", 5)
    assert done.returncode == 0, done.stderr
    expected = heat_map(Scorer(model, samples=5, per_sample=True), photo, cells=6)
    said = json.loads(numbers.read_text())
    require_valid("heat-map.v1", said)
    assert said["kind"] == "samples" and said["mean"] == expected.score.mean and (said["width"], said["height"]) == (90, 60)
    found = np.array(said["values"], dtype=float)
    np.testing.assert_array_equal(found, expected.values)
    assert "samples, 4 x 6 cells" in done.stdout and "red cells" in done.stderr
    picture = np.asarray(Image.open(out))
    assert picture.shape[0] == 60 and np.array_equal(picture[:, :90], np.asarray(Image.open(photo)))
    beside = picture[:, -90:].astype(int)
    assert (beside[..., 0] > beside[..., 2] + 20).any() and (beside[..., 2] > beside[..., 0] + 20).any()


def test_the_shipped_model_is_asked_by_covering(photo, tmp_path):
    out = tmp_path / "why.jpg"
    done = run("why", photo, "--out", out, "--json", "-", "--cells", 3)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    require_valid("heat-map.v1", said)
    assert said["kind"] == "occlusion" and np.array(said["values"], dtype=float).shape == (2, 3)
    assert "covered" in said["about"] and out.stat().st_size > 0
    again = run("why", photo, "--out", out, "--json", "-", "--cells", 3)
    assert again.returncode == 2 and "--overwrite" in again.stderr
    assert run("why", photo, "--out", out, "--json", "-", "--cells", 3, "--overwrite").stdout == done.stdout


def test_a_photograph_is_never_overwritten(model, photo):
    before = photo.read_bytes()
    for more in ((), ("--overwrite",)):
        done = run("why", photo, "--model", model, "--out", photo, *more)
        assert done.returncode == 2 and photo.read_bytes() == before


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (("--cells", 1), 2, "cells must be an integer from 2 to 64"),
        (("--samples", 0), 2, "samples must be"),
        (("--out", "why.gif"), 2, "--out must end in .png or .jpg"),
        (("--model", "nothing.safetensors"), 2, "nothing.safetensors"),
        (("--out", "no/folder/why.png"), 2, "no/folder"),
    ],
)
def test_what_cannot_be_done_is_named(model, photo, tmp_path, options, status, message):
    given = {"--model": model, "--out": tmp_path / "why.png", **dict(zip(options[::2], options[1::2], strict=True))}
    done = run("why", photo, *(part for pair in given.items() for part in pair))
    assert done.returncode == status and message in done.stderr and "Traceback" not in done.stderr


def test_a_photograph_that_cannot_be_read_is_named(model, tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"no picture")
    done = run("why", path, "--model", model, "--out", tmp_path / "why.png")
    assert done.returncode == 1 and "photo.jpg: not an image of a known format" in done.stderr
    assert not (tmp_path / "why.png").exists()
