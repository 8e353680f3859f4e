"""A model with EfficientNet-Lite's layers through the commands: shown, explained, planned, trained on, adapted."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from dcnn_fast.cli.main import app
from dcnn_fast.data.synthetic import make
from dcnn_fast.nets import load_model, save_model
from tests import small_lite


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lite")
    save_model(small_lite.model(), folder / "m.safetensors")
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (60, 80, 3)).astype(np.uint8)).save(folder / "p.png")
    make("csv", folder / "set", images=64, sides=(50, 60))
    return folder


def run(*arguments):
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    return result.output


def test_its_layers_are_described(folder):
    text = run("describe", folder / "m.safetensors", "--filters", folder / "filters")
    assert "column warp:0: 33x33 windows of a 36x36 plane, lite0, whose layers are not trained" in text
    assert "stage5.4" in text and "of each map, those of stages 1, 4 too" in text and "1416 -> 12 + ReLU" in text
    assert len(list((folder / "filters").glob("filters-*.png"))) == 2


def test_its_backend_is_explained(folder):
    text = run("explain", folder / "m.safetensors")
    assert "1x3x33x33-16 blocks-1280-taps 2,10-uint8-ieee: cpu" in text.replace("reference", "cpu")
    refused = run("explain", folder / "m.safetensors", "--device", "cuda:0", "--dtype", "float16")
    assert "runs on the cpu, not on cuda" in refused and "-uint8-bf16: triton" in refused


def test_its_plan_says_that_nothing_is_shared(folder):
    text = run("plan", folder / "p.png", "--model", folder / "m.safetensors", "--svg", folder / "plan.svg")
    assert "column warp:0: 50 windows" in text and "its layers see whole windows" in text
    assert "regions of block 1" in (folder / "plan.svg").read_text()  # the column of blocks


@pytest.mark.parametrize("command", ["train", "adapt"])
def test_only_what_lies_above_its_layers_learns(folder, tmp_path, command):
    options = ("--out", tmp_path / "run", "--epochs", 1, "--batch", 32)
    data, model = folder / "set" / "ratings.csv", folder / "m.safetensors"
    run(command, *((data, "--net", model) if command == "train" else (model, data)), *options)
    before, after = load_model(model), load_model(tmp_path / "run" / "last.safetensors")
    backbone, blocks = after.net.columns
    assert backbone.spec == before.spec.columns[0] and torch.equal(backbone.backbone, before.net.columns[0].backbone)
    assert not torch.equal(backbone.fc[0].weight, before.net.columns[0].fc[0].weight)
    assert (blocks.spec.mean == before.spec.columns[1].mean) == (command == "adapt")
    run("score", folder / "p.png", "--model", tmp_path / "run" / "last.safetensors", "--samples", 3)
