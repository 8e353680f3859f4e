"""The commands `train` and `adapt`: the meaning of their options, their output and their exit status."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner

from dcnn_fast import networks, save_model
from dcnn_fast.cli import train_run
from dcnn_fast.cli.main import app
from dcnn_fast.data import DataSet, load_set, synthetic
from dcnn_fast.nets import Model, build, load_model
from dcnn_fast.training import Settings, train
from tests.cli.command import PROGRAM, environment, main, wait_for
from tests.lite_files import lite_state
from tests.training import sets

MACHINE = train_run.Machine()


def shape(*, seed=0, **changes):
    return train_run.Shape(train_run.NetworkOptions(**changes), seed)


def labelled(*labels):
    return DataSet(labels, (), ())


SMALL = shape(plane=36, window=32, filters=0.125, fc="16,8")


def settings(**changes):
    return lambda: train_run.settings(**{"epochs": 2, "batch": 16, **changes})


def run(out, *, data=None, network=SMALL.network, resume=False, options=None):
    return train_run.run(lambda: data or sets.data_set(24, 8), network, out, resume, MACHINE, options or settings())


def test_the_network_is_the_preset_in_the_views_and_sizes_asked_for():
    wanted = shape(views="center, pad", plane=72, window=64, stride=1, filters=0.5, fc="32,16", dropout=0.25)
    net = wanted.network(labelled("a", "b", "c"))
    assert net.spec.labels == ("a", "b", "c")
    assert [column.view for column in net.spec.columns] == ["center", "pad"]
    for column in net.spec.columns:
        assert (column.plane, column.window, column.fc, column.dropout) == (72, 64, (32, 16), 0.25)
        assert column.blocks[0].stride == 1 and column.blocks[0].filters == 32
    (local,) = shape(net="scnn-arch3", plane=72).network(labelled("a", "b")).spec.columns
    assert local.view == "local" and local.window == 63 and len(local.blocks) == 3


def test_columns_start_from_other_models(tmp_path):
    """RDCNN needs a source for its frozen column; the other columns may have one."""
    style = build(networks.preset("style-scnn"), seed=5)
    save_model(Model(style), tmp_path / "style.safetensors")
    dcnn = shape(plane=36, filters=0.125, fc="16,8", seed=3).network(labelled("a", "b"))
    save_model(Model(dcnn), tmp_path / "dcnn.safetensors")
    init = (f"2={tmp_path / 'style.safetensors'}", f"0={tmp_path / 'dcnn.safetensors'}:1")
    changes = {"net": "rdcnn-style", "views": "pad,center", "plane": 36, "filters": 0.125, "fc": "16,8"}
    net = shape(**changes, init=init).network(labelled("a", "b"))
    assert [column.view for column in net.spec.columns] == ["pad", "center", "local"]
    assert [column.window for column in net.spec.columns] == [31, 31, 224]
    for number, source in ((2, style.columns[0]), (0, dcnn.columns[1])):
        found = net.columns[number].state_dict()
        assert all(torch.equal(found[name], tensor) for name, tensor in source.state_dict().items())
    with pytest.raises(ValueError, match="init must name a model file for column 2, which is frozen, got none"):
        shape(**changes, init=init[1:]).network(labelled("a", "b"))


def test_a_frozen_column_takes_the_shape_of_the_network_it_comes_from(tmp_path):
    """A semantic column takes any ImageNet network in a file."""
    theirs = networks.Column("center", (networks.Block(8, 5, stride=2),), (6,), plane=40, window=33, mean=(1, 2, 3), scale=0.5)
    source = build(networks.Network("semantic", (theirs,)), seed=5)
    save_model(Model(source), tmp_path / "semantic.safetensors")
    changes = {"net": "rdcnn-semantic", "plane": 36, "filters": 0.125, "fc": "16,8"}
    net = shape(**changes, init=(f"2={tmp_path / 'semantic.safetensors'}",)).network(labelled("a", "b"))
    assert net.spec.columns[2] == replace(theirs, frozen=True) and net.label.in_features == 8 + 8 + 6
    assert [column.plane for column in net.spec.columns] == [36, 36, 40]
    assert torch.equal(net.columns[2].fc[0].weight, source.columns[0].fc[0].weight)


def test_efficientnet_lites_layers_come_from_a_file(tmp_path):
    """They are never trained: a network of them alone learns in the layers above, RDCNN in the column beside them."""
    torch.save(lite_state("lite0"), tmp_path / "lite0.pth")
    imagenet, tuned = tmp_path / "imagenet.safetensors", tmp_path / "tuned.safetensors"
    converted = CliRunner().invoke(
        app, ["convert", str(tmp_path / "lite0.pth"), str(imagenet), "--stages", "3,4,5", "--fc", "256"]
    )
    assert converted.exit_code == 0, converted.output
    alone = shape(net="lite0", init=(f"0={imagenet}",)).network(labelled("a", "b"))
    source = load_model(imagenet).net.columns[0]
    assert torch.equal(alone.columns[0].backbone, source.backbone) and alone.label.in_features == 256
    assert any(parameter.requires_grad for parameter in alone.columns[0].parameters())
    save_model(Model(alone), tuned)
    changes = {"net": "rdcnn-lite0", "plane": 72, "filters": 0.125, "fc": "16,8"}
    beside = shape(**changes, init=(f"2={tuned}",)).network(labelled("a", "b"))
    assert torch.equal(beside.columns[2].backbone, source.backbone) and beside.label.in_features == 8 + 8 + 256
    assert torch.equal(beside.columns[2].fc[0].weight, alone.columns[0].fc[0].weight)
    assert not any(parameter.requires_grad for parameter in beside.columns[2].parameters())
    for size, value in (("plane", 64), ("window", 32), ("stride", 2), ("filters", 0.5), ("fc", "64")):
        with pytest.raises(
            ValueError, match=f"net must be a preset of columns of blocks for its {size} to be chosen, got lite0"
        ):
            shape(net="lite0", init=(f"0={imagenet}",), **{size: value}).network(labelled("a", "b"))
    with pytest.raises(ValueError, match="init must name a model file for column 0, whose layers are never trained, got none"):
        shape(net="lite0").network(labelled("a", "b"))
    with pytest.raises(ValueError, match="init must name a model file for column 2, which is frozen, got none"):
        shape(**changes).network(labelled("a", "b"))


def test_presets_joined_make_columns_of_different_architectures():
    net = shape(net="scnn-arch2 + scnn-arch5", views="center,warp", plane=72).network(labelled("a", "b", "c"))
    assert [(column.view, len(column.blocks), column.fc) for column in net.spec.columns] == [
        ("center", 2, (1000, 256)), ("warp", 4, (1000,)),
    ]  # fmt: skip
    assert net.label.in_features == 1256 and net.spec.labels == ("a", "b", "c")
    with pytest.raises(ValueError, match="preset must be one of"):
        shape(net="scnn+vgg").network(labelled("a", "b"))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"net": "vgg"}, "preset must be one of"),
        ({"views": "local"}, "views must be one for each of 2 columns that learn, got 1"),
        ({"views": "local,above"}, "view must be one of"),
        ({"fc": "64,x"}, "fc must be numbers with commas between them, got '64,x'"),
        ({"fc": "64,2.5"}, "fc must be whole numbers"),
        ({"geometry": "round"}, "geometry must be one of"),
        ({"dropout": 1.0}, "dropout must lie in"),
        (
            {"net": "m.safetensors", "plane": 72},
            "net must be a preset of columns of blocks for its plane to be chosen, got m.safetensors",
        ),
        ({"net": "m.safetensors"}, "no such file"),
        ({"init": ("m.safetensors",)}, "init must read COLUMN=FILE or COLUMN=FILE:COLUMN, got 'm.safetensors'"),
        ({"init": ("7=m.safetensors",)}, "no such file"),
    ],
)
def test_a_network_that_cannot_be_is_refused(changes, why):
    with pytest.raises(ValueError, match=why):
        shape(**changes).network(labelled("a", "b"))


def test_settings_are_read_from_text():
    found = train_run.settings(drops="2:0.1,3:0.5", column_rates="1,0.25", schedule="linear", epochs=4)
    assert found.drops == ((2, 0.1), (3, 0.5)) and found.column_rates == (1.0, 0.25) and found.epochs == 4
    with pytest.raises(ValueError, match="column_rates must be numbers"):
        train_run.settings(column_rates="1,fast")


def test_a_run_prints_its_measures_and_what_it_skipped(tmp_path, capsys):
    data = sets.data_set(24, 8)
    spoilt = (replace(data.train[0], source="/nowhere.jpg"), *data.train[1:])
    data = replace(data, train=spoilt)
    assert run(tmp_path / "run", data=data) == 0
    out, err = capsys.readouterr()
    assert "balanced accuracy" in out and "majority" in out and "best" in out and "last" in out
    assert "24 images to train on, 8 held out; labels low, high" in err
    assert "skipped: picture 0: no such file" in err
    assert (tmp_path / "run" / "skipped.csv").read_text().splitlines() == ["key,reason", "picture 0,no such file"]
    assert load_model(tmp_path / "run" / "last.safetensors").spec.labels == ("low", "high")


def test_a_run_goes_on_only_when_asked_to(tmp_path, capsys):
    assert run(tmp_path / "run", options=settings(epochs=1)) == 0
    with pytest.raises(typer.Exit) as stopped:
        run(tmp_path / "run")
    assert stopped.value.exit_code == 2 and "must not hold a run unless it is to be resumed" in capsys.readouterr().err
    assert run(tmp_path / "run", resume=True) == 0
    with pytest.raises(typer.Exit) as stopped:
        run(tmp_path / "run", resume=True, options=settings(batch=8))
    assert stopped.value.exit_code == 2 and "batch was 16 and is 8" in capsys.readouterr().err


def test_a_diverging_run_ends_with_one(tmp_path, capsys):
    with pytest.raises(typer.Exit) as stopped:
        run(tmp_path / "run", options=settings(rate=1e9, epochs=9))
    assert stopped.value.exit_code == 1 and "the loss must stay finite" in capsys.readouterr().err


def test_an_adapted_model_starts_from_the_generic_one(tmp_path):
    net = sets.net()
    save_model(Model(net), tmp_path / "generic.safetensors")
    before = sets.weights(net)

    def network(data):
        return train_run.from_model(tmp_path / "generic.safetensors", data)

    assert run(tmp_path / "run", network=network, options=settings(epochs=1, rate=1e-6, bias_rate=0.0, mean="spec")) == 0
    adapted = load_model(tmp_path / "run" / "last.safetensors").net
    assert [column.mean for column in adapted.spec.columns] == [column.mean for column in net.spec.columns]
    for name, tensor in adapted.state_dict().items():
        assert (tensor - before[name]).abs().max() < 1e-3
    assert any((tensor != before[name]).any() for name, tensor in adapted.state_dict().items())
    with pytest.raises(typer.Exit):
        run(tmp_path / "other", network=network, data=replace(sets.data_set(8, 0), labels=("no", "yes")))


@pytest.mark.parametrize("command", ["train", "adapt"])
def test_help_names_the_options(command):
    result = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    for option in ("--out", "--resume", "--epochs", "--category", "--precision", "--workers"):
        assert option in result.output


def invoke(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


SIZES = ("--plane", 40, "--window", 32, "--filters", 0.125, "--fc", "16,8", "--batch", 16)


def test_train_then_adapt_on_a_set_on_disk(tmp_path):
    path = synthetic.make("csv", tmp_path / "set", images=64, corrupt=2, missing=1)
    result = invoke("train", path, "--out", tmp_path / "run", "--net", "scnn", "--view", "warp", *SIZES, "--epochs", 2)
    assert result.exit_code == 0, result.output
    assert "skipped: " in result.output and "1 listed photographs are not there" in result.output
    model = tmp_path / "run" / "best.safetensors"
    (category, *_) = sorted({example.category for example in load_set(path).train})
    result = invoke("adapt", model, path, "--out", tmp_path / "adapted", "--category", category, "--epochs", 1)
    assert result.exit_code == 0, result.output
    assert load_model(tmp_path / "adapted" / "last.safetensors").spec.columns[0].mean == load_model(model).spec.columns[0].mean
    again = invoke(
        "train", path, "--out", tmp_path / "run", "--net", "scnn", "--view", "warp", *SIZES, "--epochs", 3, "--resume"
    )
    assert again.exit_code == 0 and "last" in again.output
    nothing = invoke("train", tmp_path / "nowhere.csv", "--out", tmp_path / "other")
    assert nothing.exit_code == 2 and nothing.output.count("error:") == 1
    unset = invoke("train", path, "--out", tmp_path / "other", "--schedule", "wave")
    assert unset.exit_code == 2 and "schedule must be one of" in unset.output
    wrong = invoke("train", path, "--out", tmp_path / "other", "--view", "warp,above")
    assert wrong.exit_code == 2 and "view must be one of" in wrong.output


def test_two_tasks_are_learnt_where_both_labels_exist(tmp_path):
    path = synthetic.make("ava", tmp_path / "set", images=96)
    result = invoke("train", path, "--out", tmp_path / "run", *SIZES, "--epochs", 1, "--multi-task")
    assert result.exit_code == 0, result.output
    network = load_model(tmp_path / "run" / "last.safetensors").spec
    assert network.labels == ("low", "high") and len(network.attributes) == 14


@pytest.fixture
def layer_files(tmp_path):
    """A double column whose first layer learns nothing and whose second learns ten times faster than the rest."""
    network = shape(plane=36, window=32, filters=0.125, fc="16,8").network(labelled("a", "b")).spec
    rules = {
        f"columns.{column}.{part}": networks.LayerRule(rate=rate, bias_rate=2 * rate, deviation=0.1, bias=0.5)
        for column in (0, 1)
        for part, rate in (("blocks.0", 0.0), ("blocks.1", 0.01), *((f"blocks.{i}", 1e-3) for i in (2, 3)), ("fc.0", 1e-3))
    } | {f"columns.{column}.fc.1": networks.LayerRule(schedule="linear[tgtFactor=10]") for column in (0, 1)}
    layers, params = networks.write_convnet_cfg(network, {**rules, "label": networks.LayerRule()}, "v2")
    (tmp_path / "layers.cfg").write_text(layers)
    (tmp_path / "params.cfg").write_text(params)
    return tmp_path


def test_cuda_convnets_layer_files_are_trained_at_each_layers_rates(layer_files, tmp_path):
    options = ("--layer-params", layer_files / "params.cfg", "--views", "local,warp", "--plane", 36, "--window", 32)
    path = synthetic.make("csv", tmp_path / "set", images=64, sides=(40, 50))
    arguments = ["train", path, "--net", layer_files / "layers.cfg", *options, "--epochs", 2, "--batch", 16]
    result = CliRunner().invoke(app, [str(a) for a in (*arguments, "--out", tmp_path / "run")])
    assert result.exit_code == 0, result.output
    model = load_model(tmp_path / "run" / "last.safetensors")
    assert [column.view for column in model.spec.columns] == ["local", "warp"] and model.spec.labels == ("low", "high")
    rules = dict(model.provenance["training"]["settings"]["layer_rules"])
    assert rules["columns.0.blocks.1"]["rate"] == 0.01 and rules["columns.1.fc.1"]["schedule"] == "linear[tgtFactor=10]"
    first, second, third = model.net.columns[0].blocks[:3]
    assert (first.bias == 0.5).all()  # initB's rates are 0 as well
    moved = [float((block.bias.detach() - 0.5).abs().max()) for block in (second, third)]
    assert moved[0] > 0 and moved[1] > 0
    for wrong, why in (
        (("--layer-params", layer_files / "params.cfg", "--net", "dcnn"), "net must be a layer-definition file"),
        (("--net", layer_files / "layers.cfg"), "net must be a layer-definition file"),
        (
            ("--net", layer_files / "layers.cfg", *options, "--fc", "8"),
            "net must be a preset of columns of blocks for its fc to be chosen",
        ),
        (("--net", "missing.cfg", "--layer-params", layer_files / "params.cfg"), "No such file"),
    ):
        found = CliRunner().invoke(app, [str(a) for a in ("train", path, "--out", tmp_path / "no", *wrong)])
        assert found.exit_code == 2 and why in found.output.replace("\n", " "), found.output


def test_what_a_run_lacks_is_said_before_it_begins(tmp_path, monkeypatch):
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="device must be one that is there, got cuda"):
            train(sets.net(), sets.data_set(8, 4), Settings(epochs=1), tmp_path / "a", device="cuda")
    monkeypatch.setattr("dcnn_fast.training.needs.find_spec", lambda name: None if name == "tensorboard" else name)
    with pytest.raises(ValueError, match=r"tensorboard must be installed: pip install 'dcnn-fast\[tensorboard\]'"):
        train(sets.net(), sets.data_set(8, 4), Settings(epochs=1), tmp_path / "b", tensorboard=True)
    assert not list(tmp_path.iterdir())


def test_the_best_model_is_announced_where_there_is_one(tmp_path, capsys):
    assert run(tmp_path / "a", options=settings(epochs=1)) == 0
    assert "best.safetensors, last.safetensors" in capsys.readouterr().out
    assert run(tmp_path / "b", options=settings(epochs=1, evaluate_every=0)) == 0
    assert "best.safetensors" not in capsys.readouterr().out and not (tmp_path / "b" / "best.safetensors").exists()


def command(*arguments, start=None, **options):
    """Run the command in its own process. start: the beginning of its command line."""
    program = [*(start or main()), *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(program, env=environment({"COLUMNS": "200"}), **pipes, **options)


@pytest.fixture(scope="module")
def small_set(tmp_path_factory):
    return synthetic.make("csv", tmp_path_factory.mktemp("set") / "set", images=64, sides=(40, 50))


LEAST = ("--net", "scnn", "--view", "warp", *SIZES)


def test_a_run_with_next_to_no_shared_memory_ends(small_set, tmp_path):
    """Docker's 64 MB of /dev/shm: the run must end instead of waiting for ever."""
    inside = [
        sys.executable, "-m", "tests.training.small_shm", sys.executable, "-c", PROGRAM,
    ]  # fmt: skip
    arguments = ["train", small_set, "--out", tmp_path / "run", *LEAST, "--epochs", 1, "--workers", 2]
    found = subprocess.run(
        [*inside, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=120, cwd=Path(__file__).parents[2]
    )
    # Where mounting is not allowed, long files are not allowed either, and the error names the model files instead.
    assert found.returncode in (0, 3), found.stderr
    assert (tmp_path / "run" / "log.csv").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_end_a_run_where_it_goes_on(small_set, tmp_path, number):
    out = tmp_path / "run"
    process = command("train", small_set, "--out", out, *LEAST, "--epochs", 100000)
    while not (out / "checkpoint.safetensors").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number and "Traceback" not in errors
    assert f"interrupted; --resume goes on from the last checkpoint, {out / 'checkpoint.safetensors'}" in errors


def test_a_killed_worker_is_said_on_one_line(small_set, tmp_path):
    out = tmp_path / "run"
    arguments = ("train", small_set, "--out", out, *LEAST, "--epochs", 100000, "--workers", 2)
    number = tmp_path / "number"
    noted = f"import os; open({str(number)!r}, 'w').write(str(os.getpid())); "
    process = command(*arguments, start=main(noted + PROGRAM))
    workers = []
    wait_for(process, out / "checkpoint.safetensors")
    while len(workers) < 2:
        assert process.poll() is None
        time.sleep(0.01)
        found = subprocess.run(["ps", "-o", "pid=", "--ppid", number.read_text()], capture_output=True, text=True, check=False)
        workers = found.stdout.split()
    os.kill(int(workers[0]), signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1 and "was ended by SIGKILL" in errors and "--resume goes on from" in errors
    assert "Traceback" not in errors


def test_other_peoples_files_are_left_as_they_are(small_set, tmp_path):
    model = tmp_path / "m" / "last.safetensors"
    model.parent.mkdir()
    save_model(Model(shape(net="scnn", plane=36, window=32, filters=0.125, fc="16,8").network(labelled("low", "high"))), model)
    before = model.read_bytes()
    photographs = small_set.parent / "images"
    names = sorted(path.name for path in photographs.iterdir())
    for arguments, holds in (
        (("train", small_set, "--out", photographs, *LEAST), names[0]),
        (("train", small_set, "--out", small_set.parent, *LEAST), "images"),
        (("adapt", model, small_set, "--out", model.parent), model.name),
    ):
        found = invoke(*arguments, "--epochs", 1)
        assert found.exit_code == 2 and f"holds {holds} and no checkpoint.safetensors" in found.output, found.output
    assert model.read_bytes() == before and names == sorted(path.name for path in photographs.iterdir())


def test_a_run_that_goes_on_writes_through_no_link_and_onto_no_input(small_set, tmp_path):
    source, model = tmp_path / "set", tmp_path / "start.safetensors"
    shutil.copytree(small_set.parent, source)
    table, precious = source / small_set.name, tmp_path / "precious.txt"
    precious.write_text("precious")
    save_model(Model(shape(net="scnn", plane=36, window=32, filters=0.125, fc="16,8").network(labelled("low", "high"))), model)
    run = tmp_path / "run"
    commands = {
        "train": ("train", table, "--out", run, *LEAST, "--init", f"0={model}"),
        "adapt": ("adapt", model, table, "--out", run),
    }
    for name, command in commands.items():
        shutil.rmtree(run, ignore_errors=True)
        found = invoke(*command, "--epochs", 1)
        assert found.exit_code == 0, found.output
        assert not (run / ".lock").exists()
        for output, make, why in (
            ("log.csv", lambda path: path.symlink_to("../precious.txt"), "a link that leads out of the folder"),
            ("curves.png", lambda path: path.symlink_to("../new.png"), "a link that leads out of the folder"),
            ("last.safetensors", lambda path: path.symlink_to("best.safetensors"), "a link to another file of the run"),
            ("last.safetensors", lambda path: path.symlink_to(model), "a link that leads out of the folder"),
            ("best.safetensors", lambda path: os.link(model, path), "one of its inputs, "),
            ("skipped.csv", lambda path: os.link(table, path), "one of its inputs, "),
            ("tensorboard", lambda path: path.symlink_to(source), "a link that leads out of the folder"),
        ):
            kept = tmp_path / "kept"
            if (run / output).exists():
                (run / output).rename(kept)
            make(run / output)
            before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
            found = invoke(*command, "--epochs", 2, "--resume")
            assert found.exit_code == 2, (name, output, found.output)
            assert str(run / output) in found.output and why in found.output and found.output.count("\n") == 1
            assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
            (run / output).unlink()
            if kept.exists():
                kept.rename(run / output)
        found = invoke(*command, "--epochs", 1, "--resume")
        assert found.exit_code == 0, found.output


def test_tables_are_written_through_no_link_and_onto_no_input(small_set, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "precious.txt").write_text("precious")
    for name in ("iad.csv", "iad.json", "iad.md", "iad.png", "protocol.json"):
        (tmp_path / "out" / name).symlink_to(tmp_path / "precious.txt")
        found = invoke("reproduce", "iad", small_set, "--out", tmp_path / "out")
        assert found.exit_code == 2 and "a link that leads out of the folder" in found.output and name in found.output
        (tmp_path / "out" / name).unlink()
    os.link(small_set, tmp_path / "out" / "iad.csv")
    (tmp_path / "out" / "protocol.json").write_text("{}")
    found = invoke("reproduce", "iad", small_set, "--out", tmp_path / "out")
    assert found.exit_code == 2 and "must not be one of its inputs" in found.output
    assert (tmp_path / "precious.txt").read_text() == "precious"


def test_the_files_of_a_run_have_the_mode_of_new_files_or_keep_their_own(small_set, tmp_path):
    out = tmp_path / "run"
    before = os.umask(0o022)
    try:
        assert invoke("train", small_set, "--out", out, *LEAST, "--epochs", 1).exit_code == 0
        modes = {path.name: path.stat().st_mode & 0o777 for path in out.iterdir()}
        assert set(modes.values()) == {0o644}, modes
        (out / "last.safetensors").chmod(0o640)
        assert invoke("train", small_set, "--out", out, *LEAST, "--epochs", 1, "--resume").exit_code == 0
        assert (out / "last.safetensors").stat().st_mode & 0o777 == 0o640
    finally:
        os.umask(before)


def test_a_lock_that_is_something_else_is_refused_and_left(small_set, tmp_path):
    out = tmp_path / "run"
    out.mkdir()
    (tmp_path / "precious.txt").write_text("precious")
    for make in (
        lambda: (out / ".lock").write_text("precious"),
        lambda: (out / ".lock").symlink_to(tmp_path / "precious.txt"),
        (out / ".lock").mkdir,
    ):
        make()
        found = invoke("train", small_set, "--out", out, *LEAST, "--epochs", 1)
        assert found.exit_code == 2 and "cannot be locked: its lock would be .lock, which is something else" in found.output
        assert os.listdir(out) == [".lock"]
        assert (tmp_path / "precious.txt").read_text() == "precious"
        (out / ".lock").rmdir() if (out / ".lock").is_dir() else (out / ".lock").unlink()


def test_a_run_goes_on_from_the_weights_it_started_from_alone(small_set, tmp_path):
    one, other = (tmp_path / f"{seed}.safetensors" for seed in (1, 2))
    for seed, path in ((1, one), (2, other)):
        net = shape(net="scnn", plane=36, window=32, filters=0.125, fc="16,8", seed=seed).network(labelled("low", "high"))
        save_model(Model(net), path)
    out = ("--out", tmp_path / "run", "--epochs", 1)
    assert invoke("adapt", one, small_set, *out).exit_code == 0
    again = invoke("adapt", other, small_set, *out, "--resume")
    assert again.exit_code == 2 and "cannot be resumed: starting weights: " in again.output
    again = invoke("adapt", one, small_set, *out, "--resume", "--category", "animal")
    assert again.exit_code == 2 and "training photographs: " in again.output
    assert invoke("adapt", one, small_set, *out, "--resume").exit_code == 0


def test_a_file_that_cannot_be_written_costs_no_other(small_set, tmp_path):
    """The disk is full when the run's first file is written: the error names every file, and the status is 3."""
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))"
    program = f"{limited}\nfrom dcnn_fast.cli.main import run; run()"
    arguments = ["train", small_set, "--out", tmp_path / "run", *LEAST, "--epochs", 1]
    found = subprocess.run([*main(program), *map(str, arguments)], capture_output=True, text=True, check=False, timeout=120)
    assert found.returncode == 3 and "Traceback" not in found.stderr
    for name in ("checkpoint.safetensors", "best.safetensors", "last.safetensors", "curves.png"):
        assert f"{tmp_path / 'run' / name} could not be written: " in found.stderr
    assert (tmp_path / "run" / "log.csv").read_text().count("\n") == 2
    assert "training loss" in found.stdout and "label NLL" in found.stdout and not list((tmp_path / "run").glob("*partial*"))
