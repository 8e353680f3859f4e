"""cuda-convnet's own networks from the command line: described, explained, converted, scored with, trained and written back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from dcnn_fast import load_model, networks
from dcnn_fast.data import synthetic
from tests import convnet_original
from tests.cli.command import lines, run
from tests.convnet_stock import NETWORKS, cifar, conv, ended, fc, params, pool, section, with_local
from tests.nets.convnet_writer import pickled

MIXED = (
    conv("conv1", "data", 3, 8, 5, stride=2),
    section("norm1", type="cmrnorm", inputs="conv1", channels=8, size=5),
    pool("pool1", "norm1", 8, neuron="relu"),
    conv("conv2", "pool1", 8, 8, neuron="tanh[1.5,0.5]"),
    pool("pool2", "conv2", 8, "avg"),
    conv("local3", "pool2", 8, 4, kind="local", neuron="softrelu"),
)


@pytest.fixture
def files(tmp_path):
    """Writes layer files; returns the arguments that name them."""

    def write(layers, rules):
        (tmp_path / "x.cfg").write_text(layers)
        (tmp_path / "p.cfg").write_text(rules)
        return "x.cfg", "--layer-params", "p.cfg"

    return write


def done(*arguments, cwd):
    found = run(*arguments, cwd=cwd)
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout, found.stderr


def total_of(text):
    return int(text.split("total")[1].split(" parameters")[0].replace(",", ""))


@pytest.mark.parametrize("name", ["18pct", "conv-local-11pct", "example", "imagenet-2gpu-model"])
def test_a_layer_file_is_described_with_and_without_its_parameters(files, tmp_path, name):
    layers, rules, side = NETWORKS[name]
    path, *more = files(layers, rules)
    counted = layers.replace("sizeX=5\nscale", "size=5\nscale").replace("sizeX=3\nscale", "size=3\nscale")
    keys = "[norm1]\nscale=1\npow=1\n[norm2]\nscale=1\npow=1\n" if name == "example" else ""
    expected = convnet_original.count(convnet_original.stored(counted, rules + keys, side))
    for options in ((), more):
        out, said = done("describe", path, *options, "--window", side, cwd=tmp_path)
        assert total_of(out) == expected
        assert ("are in the layer parameters, which are not given; shown as 0" in said) == (not options and name != "example")
    missing = run("describe", "none.cfg", cwd=tmp_path)
    assert missing.returncode == 2 and "none.cfg" in missing.stderr
    other = run("describe", "scnn", "--window", 32, cwd=tmp_path)
    assert other.returncode == 2 and "window must not be given but for a layer-definition file" in other.stderr


def test_the_sides_are_said_by_options(files, tmp_path):
    arguments = files(*with_local(False, 4)[:2])
    done("convert", *arguments[:1], "m.safetensors", *arguments[1:], "--window", 32, cwd=tmp_path)
    (column,) = load_model(tmp_path / "m.safetensors").spec.columns
    assert (column.window, column.plane) == (32, 37)
    done("convert", *arguments[:1], "n.safetensors", *arguments[1:], "--window", 32, "--plane", 40, cwd=tmp_path)
    (column,) = load_model(tmp_path / "n.safetensors").spec.columns
    assert (column.window, column.plane) == (32, 40)
    alone = run("convert", *arguments[:1], "o.safetensors", "--window", 32, cwd=tmp_path)
    assert alone.returncode == 2 and "layer-params must name the parameters of a layer-definition file" in alone.stderr
    wrong = run("convert", *arguments[:1], "o.safetensors", *arguments[1:], "--window", 41, "--plane", 40, cwd=tmp_path)
    assert wrong.returncode == 2 and "window must not exceed plane, got 41 and 40" in wrong.stderr


def test_code_that_makes_weights_is_refused_by_name(files, tmp_path):
    layers, rules, _ = cifar(False, False)
    arguments = files(layers.replace("initW=0.05", "initWFunc=os.system(touch)", 1), rules)
    found = run("convert", arguments[0], "m.safetensors", *arguments[1:], "--window", 17, cwd=tmp_path)
    assert found.returncode == 2 and "[conv1] initWFunc: a Python function that makes weights is not run" in found.stderr
    assert not (tmp_path / "m.safetensors").exists()


def test_what_runs_where_is_explained(files, tmp_path):
    arguments = files(ended(MIXED, "local3", 2), params(["conv1", "conv2", "local3", "fclabel"], ["norm1"]))
    out, _ = done("explain", *arguments, "--window", 27, cwd=tmp_path)
    assert "local8, 3x3 stride 1 pad 1, filters of each place: reference" in out
    assert "neuron6, tanh[1.5,0.5]: reference" in out and "not cuda, triton, cpu: a block is a convolution" in out
    assert "1x3x27x27-8@5s2p2-pool3s2-cross5-np-relu-up-all-float32-ieee: cpu" in out
    arguments = files(*cifar(False, True)[:2])
    out, _ = done("explain", *arguments, "--window", 17, cwd=tmp_path)
    assert "1x3x17x17-8@5s1p2-pool3s2-" in out  # the first convolution, its pool and its ReLU form one block


def test_a_trained_network_scores_alike_in_any_company_and_is_written_back(files, tmp_path):
    path, option, rules = files(ended(MIXED, "local3", 2), params(["conv1", "conv2", "local3", "fclabel"], ["norm1"]))
    data = synthetic.make("csv", tmp_path / "set", images=64, sides=(40, 50))
    sizes = ("--window", 27, "--plane", 32)
    done("train", data, "--net", path, option, rules, *sizes, "--epochs", 2, "--batch", 8, "--out", "run", cwd=tmp_path)
    model = load_model(tmp_path / "run" / "last.safetensors")
    fresh = done("convert", path, "fresh.safetensors", option, rules, *sizes, cwd=tmp_path)
    assert fresh
    before = dict(load_model(tmp_path / "fresh.safetensors").net.named_parameters())
    assert all((value.detach() != before[name].detach()).any() for name, value in model.net.named_parameters())

    pictures = sorted((tmp_path / "set").rglob("*.jpg"))[:3]
    assert len(pictures) == 3
    command = ("score", "--model", tmp_path / "run" / "last.safetensors", "--samples", 4)
    done(*command, *pictures, "--jsonl", "all.jsonl", cwd=tmp_path)
    done(*command, pictures[1], "--jsonl", "one.jsonl", "--workers", 1, cwd=tmp_path)
    alone = lines(tmp_path / "one.jsonl")[0]
    (same,) = [row for row in lines(tmp_path / "all.jsonl") if row["path"] == alone["path"]]
    assert (alone["mean"], alone["std"]) == (same["mean"], same["std"]) and 0 < alone["mean"] < 1

    done("convert", tmp_path / "run" / "last.safetensors", "back.cfg", option, "backp.cfg", cwd=tmp_path)
    again = networks.read_convnet_cfg(tmp_path / "back.cfg", tmp_path / "backp.cfg", networks.preprocessing_of(model.spec))
    assert again.network.columns == model.spec.columns


def test_a_checkpoint_is_converted_scored_with_and_refused_on_a_gpu(tmp_path):
    layers, rules, side = cifar(True, False)
    made = convnet_original.stored(layers, rules, side, deviation=0.1)
    (tmp_path / "9.9").write_bytes(pickled({"model_state": {"layers": made}}))
    names = ("--labels", "a,b,c,d", "--plane", side)
    done("convert", "9.9", "m.safetensors", *names, "--window", side, cwd=tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    done("score", "--model", "m.safetensors", "--samples", 1, "a.png", "--jsonl", "s.jsonl", cwd=tmp_path)
    logits = convnet_original.logits(made, pixels.transpose(2, 0, 1))
    chances = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    (row,) = lines(tmp_path / "s.jsonl")
    assert row["label"] == "abcd"[int(chances.argmax())]
    assert list(row["probs"].values()) == pytest.approx(chances.tolist(), rel=1e-3)
    wrong = run("convert", "9.9", "n.safetensors", "--window", side + 1, cwd=tmp_path)
    assert wrong.returncode == 2 and f"window must be {side}, the side of the images" in wrong.stderr
    further = run("convert", "9.9", "n.safetensors", "--fc", "5", cwd=tmp_path)
    assert further.returncode == 2 and "fc must not be given for a column of single layers" in further.stderr
    if not torch.cuda.is_available():
        return
    gpu = run("score", "--model", "m.safetensors", "--device", "cuda", "a.png", cwd=tmp_path)
    assert gpu.returncode == 2 and "device must be cpu for a network with a column of single layers" in gpu.stderr


def test_the_first_filters_are_drawn(files, tmp_path):
    arguments = files(*cifar(False, False)[:2])
    done("convert", arguments[0], "m.safetensors", *arguments[1:], "--window", 17, cwd=tmp_path)
    done("describe", "m.safetensors", "--filters", "drawn", cwd=tmp_path)
    assert [path.suffix for path in (tmp_path / "drawn").iterdir()] == [".png"]
    arguments = files(ended([fc("fc1", "data", 5, neuron="logistic")], "fc1", 2), params(["fc1", "fclabel"]))
    done("convert", arguments[0], "n.safetensors", *arguments[1:], "--window", 5, cwd=tmp_path)
    none = run("describe", "n.safetensors", "--filters", "none", cwd=tmp_path)
    assert none.returncode == 2 and "filters are those of a convolution of pixels" in none.stderr
