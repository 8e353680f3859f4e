"""The commands `train` and `adapt`: what their options mean, what they print and how they end."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import typer
from typer.testing import CliRunner

from dcnn_fast import save_model
from dcnn_fast.cli import train_run
from dcnn_fast.cli.main import app
from dcnn_fast.data import DataSet
from dcnn_fast.nets import Model, load_model
from tests.training import sets

MACHINE = train_run.Machine("cpu")


@dataclass(frozen=True)
class InMemory:
    """A set that is there already, in the place of `SetOptions`."""

    data: DataSet

    def load(self):
        return self.data


def shape(**changes):
    plain = {"net": "dcnn", "views": None, "geometry": "convnet", "plane": None, "window": None, "stride": None}
    return train_run.Shape(**{**plain, "filters": 1.0, "fc": None, "dropout": None, "seed": 0, **changes})


SMALL = shape(plane=36, window=32, filters=0.125, fc="16,8")


def settings(**changes):
    return lambda: train_run.settings(**{"epochs": 2, "batch": 16, **changes})


def run(out, *, data=None, network=SMALL.network, resume=False, options=None):
    wanted = InMemory(data or sets.data_set(24, 8))
    return train_run.run(wanted, network, out, resume, MACHINE, options or settings())


def test_the_network_is_the_preset_in_the_views_and_sizes_asked_for():
    net = shape(views="center, pad", plane=72, window=64, stride=1, filters=0.5, fc="32,16", dropout=0.25).network(
        ("a", "b", "c")
    )
    assert net.spec.labels == ("a", "b", "c")
    assert [column.view for column in net.spec.columns] == ["center", "pad"]
    for column in net.spec.columns:
        assert (column.plane, column.window, column.fc, column.dropout) == (72, 64, (32, 16), 0.25)
        assert column.blocks[0].stride == 1 and column.blocks[0].filters == 32
    (local,) = shape(net="scnn-arch3", plane=72).network(("a", "b")).spec.columns
    assert local.view == "local" and local.window == 63 and len(local.blocks) == 3


def test_views_are_those_of_the_columns_that_learn():
    net = shape(net="rdcnn-style", views="pad,center", plane=36, filters=0.125).network(("a", "b"))
    assert [column.view for column in net.spec.columns] == ["pad", "center", "local"]
    assert [column.window for column in net.spec.columns] == [31, 31, 224]


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
            "net must be a preset for its plane to be chosen, got the model file m.safetensors",
        ),
        ({"net": "m.safetensors"}, "no such file"),
    ],
)
def test_a_network_that_cannot_be_is_refused(changes, why):
    with pytest.raises(ValueError, match=why):
        shape(**changes).network(("a", "b"))


def test_settings_are_read_from_text():
    found = train_run.settings(drops="2:0.1,3:0.5", column_rates="1,0.25", schedule="linear", epochs=4)
    assert found.drops == ((2, 0.1), (3, 0.5)) and found.column_rates == (1.0, 0.25) and found.epochs == 4
    with pytest.raises(ValueError, match="column_rates must be numbers"):
        train_run.settings(column_rates="1,fast")


def test_a_run_prints_its_measures_and_what_it_skipped(tmp_path, capsys):
    data = sets.data_set(24, 8)
    spoilt = (replace(data.train[0], source="/nowhere.jpg"), *data.train[1:])
    data = replace(data, train=spoilt, missing=("a", "b"), notes=("the threshold is 5",))
    assert run(tmp_path / "run", data=data) == 0
    out, err = capsys.readouterr()
    assert "balanced accuracy" in out and "majority" in out and "best" in out and "last" in out
    assert "24 images to train on, 8 held out; labels low, high" in err
    assert "note: 2 listed photographs are not there" in err and "note: the threshold is 5" in err
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

    def network(labels):
        return train_run.from_model(tmp_path / "generic.safetensors", labels)

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
