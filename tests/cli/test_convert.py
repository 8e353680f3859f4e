"""`dcnn-fast convert`, run as a user runs it."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from dcnn_fast import load_model
from dcnn_fast.cli.main import app
from dcnn_fast.nets import Model, build, import_lite, import_squeezenet, save_model
from dcnn_fast.nets.backbone import flattened
from dcnn_fast.networks import BackboneColumn, preprocessing_of, preset, read_convnet_cfg, write_convnet_cfg
from dcnn_fast.networks.efficientnet import LITES, lite_window
from tests.lite_files import lite_state
from tests.nets.convnet_writer import pickled
from tests.nets.test_convnet_checkpoint import checkpoint, layers
from tests.nets.test_squeezenet import state


def run(*arguments):
    return CliRunner().invoke(app, ["convert", *map(str, arguments)])


def test_a_checkpoint_becomes_a_model_file(tmp_path):
    (tmp_path / "7.3").write_bytes(pickled(checkpoint(layers())))
    options = ("--view", "local", "--view", "warp", "--mean", "120,110,100", "--labels", "bad,good", "--plane", 20)
    result = run(tmp_path / "7.3", tmp_path / "m.safetensors", *options)
    assert result.exit_code == 0 and "local:0, warp:0 -> bad, good" in result.output
    model = load_model(tmp_path / "m.safetensors")
    assert model.spec.columns[0].mean == (120, 110, 100) and model.spec.columns[1].plane == 20


def few_units(name):
    """A preset with a sixteenth of its fully-connected units: a convert holds several copies of their weights."""
    network = preset(name)
    columns = tuple(replace(column, fc=tuple(units // 16 for units in column.fc)) for column in network.columns)
    return replace(network, name="model", columns=columns)


def test_layer_files_become_a_fresh_model(tmp_path):
    layers_text, params = write_convnet_cfg(few_units("scnn"))
    (tmp_path / "layers.cfg").write_text(layers_text)
    (tmp_path / "params.cfg").write_text(params)
    result = run(tmp_path / "layers.cfg", tmp_path / "m.safetensors", "--layer-params", tmp_path / "params.cfg")
    assert result.exit_code == 0 and "[conv1_0] partialSum" in result.output
    model = load_model(tmp_path / "m.safetensors")
    assert float(model.net.columns[0].fc[1].weight.detach().std()) == pytest.approx(0.01, rel=0.05)


def test_what_is_wrong_is_one_line(tmp_path):
    (tmp_path / "evil").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    for arguments in ((tmp_path / "evil",), (tmp_path / "missing",)):
        result = run(*arguments, tmp_path / "m.safetensors")
        assert result.exit_code == 2 and "error: " in result.output and "Traceback" not in result.output
    assert not (tmp_path / "m.safetensors").exists()
    (tmp_path / "good").write_bytes(pickled(checkpoint(layers())))
    for wrong in (("--view", "sideways"), ("--mean", "grey"), ("--labels", "a,b,c")):
        assert run(tmp_path / "good", tmp_path / "m.safetensors", *wrong).exit_code == 2


def test_an_imagenet_network_becomes_one_for_another_task(tmp_path):
    (tmp_path / "7.3").write_bytes(pickled(checkpoint(layers())))
    assert run(tmp_path / "7.3", tmp_path / "before.safetensors").exit_code == 0
    result = run(tmp_path / "7.3", tmp_path / "m.safetensors", "--fc", "5", "--labels", "bad,good")
    assert result.exit_code == 0, result.output
    before, after = (load_model(tmp_path / f"{name}.safetensors") for name in ("before", "m"))
    assert after.spec.labels == ("bad", "good") and after.provenance == before.provenance
    for mine, theirs in zip(after.net.columns, before.net.columns, strict=True):
        assert mine.spec.fc == (*theirs.spec.fc, 5) and mine.spec.mean == theirs.spec.mean
        kept = theirs.state_dict()
        assert all((mine.state_dict()[name] == value).all() for name, value in kept.items()) and len(kept) > 3


def test_torchvisions_weights_become_a_semantic_column(tmp_path):
    save_file(state(), tmp_path / "squeezenet.safetensors")
    result = run(tmp_path / "squeezenet.safetensors", tmp_path / "m.safetensors", "--view", "center")
    assert result.exit_code == 0 and "center:0 -> low, high" in result.output
    (column,) = load_model(tmp_path / "m.safetensors").net.columns
    assert column.spec.fc == (256,) and not column.spec.frozen
    assert (column.blocks[1].weight == import_squeezenet(state()).blocks[1].weight).all()
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "other.pth")
    for arguments, message in (
        (("squeezenet.safetensors", "--mean", "1,2,3"), "mean must not be given for ImageNet weights"),
        (("squeezenet.safetensors", "--fc", "many"), "fc must be numbers"),
        (("squeezenet.safetensors", "--view", "warp", "--view", "pad"), "view must be one"),
        (("other.pth",), "must hold weights of AlexNet or SqueezeNet v1.0 as torchvision names them, or of EfficientNet-Lite"),
        (("missing.pth",), "not a readable state dict"),
    ):
        wrong = run(tmp_path / arguments[0], tmp_path / "n.safetensors", *arguments[1:])
        assert wrong.exit_code == 2 and message in wrong.output.replace("\n", " "), wrong.output


@pytest.mark.parametrize("lite", LITES)
def test_efficientnet_lites_weights_become_a_column_of_their_variant(tmp_path, lite):
    torch.save(lite_state(lite), tmp_path / "weights.pth")
    result = run(tmp_path / "weights.pth", tmp_path / "m.safetensors", "--stages", "2,4", "--fc", "16")
    assert result.exit_code == 0 and "warp:0 -> low, high" in result.output, result.output
    (column,) = load_model(tmp_path / "m.safetensors").net.columns
    side = lite_window(lite)
    assert column.spec == BackboneColumn(lite, "warp", (2, 4), (16,), plane=side, window=side)
    assert torch.equal(column.backbone, flattened(import_lite(lite_state(lite), lite))) and column.fc[0].weight.any()


def test_wrong_weights_of_efficientnet_lite_are_refused_by_name(tmp_path):
    state = lite_state()
    torch.save(state, tmp_path / "lite0.pth")
    torch.save({name: value for name, value in state.items() if "_blocks.15" not in name}, tmp_path / "cut.pth")
    torch.save(state | {"_conv_stem.weight": torch.zeros(3)}, tmp_path / "stem.pth")
    (tmp_path / "7.3").write_bytes(pickled(checkpoint(layers())))
    for arguments, message in (
        (("lite0.pth", "--stages", "4,2"), "stages must ascend"),
        (("lite0.pth", "--stages", "2.5"), "stages must be whole numbers"),
        (("lite0.pth", "--plane", "256"), "plane must not be given for ImageNet weights"),
        (("cut.pth",), "weights must be those of EfficientNet-lite0, lite1, lite2"),
        (("stem.pth",), "_conv_stem.weight must have shape [32, 3, 3, 3], got [3]"),
        (("7.3", "--stages", "2"), "stages must not be given but for EfficientNet-Lite's weights"),
    ):
        wrong = run(tmp_path / arguments[0], tmp_path / "n.safetensors", *arguments[1:])
        assert wrong.exit_code == 2 and message in wrong.output.replace("\n", " "), wrong.output
        assert not (tmp_path / "n.safetensors").exists()


def test_a_model_file_becomes_layer_files_and_a_network_again(tmp_path):
    network = few_units("dcnn")
    save_model(Model(build(network, seed=1)), tmp_path / "model.safetensors")
    paths = (tmp_path / "layers.cfg", "--layer-params", tmp_path / "params.cfg")
    assert run(tmp_path / "model.safetensors", *paths).exit_code == 0
    read = read_convnet_cfg(tmp_path / "layers.cfg", tmp_path / "params.cfg", preprocessing_of(network), name="model")
    assert replace(read.network, labels=network.labels) == network
    wrong = run(tmp_path / "model.safetensors", tmp_path / "layers.cfg")
    assert wrong.exit_code == 2 and "layer-params must name the file" in wrong.output
    wrong = run(tmp_path / "model.safetensors", *paths, "--dialect", "v3")
    assert wrong.exit_code == 2 and "dialect must be v1 or v2" in wrong.output


def test_nothing_but_a_model_file_is_replaced_and_only_when_asked_to(tmp_path):
    source, out = tmp_path / "7.3", tmp_path / "m.safetensors"
    source.write_bytes(pickled(checkpoint(layers())))
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "link").symlink_to(source)
    before = source.read_bytes()
    for overwrite in ((), ("--overwrite",)):
        for path in (source, tmp_path / "link", tmp_path / "notes.txt", tmp_path, tmp_path / "none" / "m.safetensors"):
            wrong = run(source, path, *overwrite)
            assert wrong.exit_code == 2 and f"OUT: {path}" in wrong.output.replace("\n", ""), wrong.output
    assert source.read_bytes() == before and (tmp_path / "notes.txt").read_text() == "mine"
    assert run(source, out).exit_code == 0
    kept = out.read_bytes()
    again = run(source, out, "--labels", "bad,good")
    assert again.exit_code == 2 and "exists; --overwrite replaces it" in again.output.replace("\n", " ")
    assert out.read_bytes() == kept
    assert run(source, out, "--labels", "bad,good", "--overwrite").exit_code == 0
    assert load_model(out).spec.labels == ("bad", "good")
    full = run(source, "/dev/full")
    assert full.exit_code == 3 and "OUT /dev/full: No space left on device" in full.output
    assert {path.name for path in tmp_path.iterdir()} == {"7.3", "m.safetensors", "notes.txt", "link"}


def test_layer_files_go_over_nothing_else(tmp_path):
    save_model(Model(build(few_units("scnn"), seed=1)), tmp_path / "model.safetensors")
    before = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "notes.cfg").write_text("mine")
    for out, params in (
        ("layers.cfg", "model.safetensors"),
        ("notes.cfg", "p.cfg"),
        ("layers.cfg", "notes.cfg"),
        ("x.cfg", "x.cfg"),
    ):
        found = run(tmp_path / "model.safetensors", tmp_path / out, "--layer-params", tmp_path / params, "--overwrite")
        assert found.exit_code == 2 and "error: " in found.output, found.output
    assert {path.name for path in tmp_path.iterdir()} == {"model.safetensors", "notes.cfg"}
    assert (tmp_path / "model.safetensors").read_bytes() == before and (tmp_path / "notes.cfg").read_text() == "mine"
    options = (tmp_path / "layers.cfg", "--layer-params", tmp_path / "params.cfg")
    assert run(tmp_path / "model.safetensors", *options).exit_code == 0
    assert run(tmp_path / "model.safetensors", *options).exit_code == 2
    assert run(tmp_path / "model.safetensors", *options, "--overwrite").exit_code == 0


@pytest.mark.parametrize("name", ["source", "source.safetensors", "source.pth", "source.cfg"])
@pytest.mark.parametrize("kind", ["fifo", "device", "folder"])
def test_what_is_no_file_is_not_waited_for(tmp_path, name, kind):
    source = tmp_path / name
    {"fifo": os.mkfifo, "device": lambda path: path.symlink_to("/dev/zero"), "folder": os.mkdir}[kind](source)
    more = ("--layer-params", source) if name.endswith(".cfg") else ()
    found = run(source, tmp_path / "out.safetensors", *more)
    assert found.exit_code == 2
    assert found.output == f"error: {source}: {'it is a folder' if kind == 'folder' else 'not a regular file'}\n"
    assert not (tmp_path / "out.safetensors").exists()


def test_a_model_file_has_the_mode_of_new_files_or_keeps_its_own(tmp_path):
    path = tmp_path / "checkpoint"
    path.write_bytes(pickled(checkpoint(layers())))
    before = os.umask(0o022)
    try:
        for mode in (0o644, 0o640):
            found = run(path, tmp_path / "m.safetensors", "--overwrite")
            assert found.exit_code == 0, found.output
            assert (tmp_path / "m.safetensors").stat().st_mode & 0o777 == mode
            (tmp_path / "m.safetensors").chmod(0o640)
    finally:
        os.umask(before)


def test_a_name_that_ends_with_a_slash_is_no_files(tmp_path):
    path = tmp_path / "checkpoint"
    path.write_bytes(pickled(checkpoint(layers())))
    found = run(path, f"{tmp_path}/new/")
    assert found.exit_code == 2 and "new/: is the name of a folder" in found.output
    assert os.listdir(tmp_path) == ["checkpoint"]
