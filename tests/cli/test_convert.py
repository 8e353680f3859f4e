"""`dcnn-fast convert`, run as a user runs it."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from dcnn_fast import load_model
from dcnn_fast.cli.main import app
from dcnn_fast.spec import preset, write_convnet_cfg
from tests.nets.convnet_writer import pickled
from tests.nets.test_convnet_checkpoint import checkpoint, layers


def run(*arguments):
    return CliRunner().invoke(app, ["convert", *map(str, arguments)])


def test_a_checkpoint_becomes_a_model_file(tmp_path):
    (tmp_path / "7.3").write_bytes(pickled(checkpoint(layers())))
    options = ("--view", "local", "--view", "warp", "--mean", "120,110,100", "--labels", "bad,good", "--plane", 20)
    result = run(tmp_path / "7.3", tmp_path / "m.safetensors", *options)
    assert result.exit_code == 0 and "local:0, warp:0 -> bad, good" in result.output
    model = load_model(tmp_path / "m.safetensors")
    assert model.spec.columns[0].mean == (120, 110, 100) and model.spec.columns[1].plane == 20


def test_layer_files_become_a_fresh_model(tmp_path):
    layers_text, params = write_convnet_cfg(preset("scnn"))
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
