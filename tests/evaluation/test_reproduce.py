"""The paper's tables on small synthetic sets: every row runs, is repeatable, and states its limits."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from safetensors.torch import save_file
from typer.testing import CliRunner

from dcnn_fast import networks
from dcnn_fast.cli.main import app
from dcnn_fast.data import load_set, synthetic
from dcnn_fast.evaluation import paper_tables
from dcnn_fast.evaluation.estimate import UntoldError, estimate, planned
from dcnn_fast.evaluation.reproduce import Protocol, category_bars, reproduce
from dcnn_fast.evaluation.table_sets import AESTHETICS, IAD_TEST, SHOWN, STYLE, STYLE_APART, TableSet
from dcnn_fast.evaluation.timing import PAPER, duration, kind_of_network
from dcnn_fast.nets import Model, build, load_model, save_model
from tests.export.schemas import require_valid
from tests.nets.test_squeezenet import state

SMALL = {"epochs": 1, "adapt_epochs": 1, "batch": 32, "plane": 40, "window": 36, "filters": 0.125, "fc": (16, 8), "samples": 1}


@pytest.fixture(scope="module")
def ava(tmp_path_factory):
    return synthetic.make("ava", tmp_path_factory.mktemp("ava") / "set", images=64, sides=(40, 50))


def rows(table, path, out, **changes):
    return {row.name: row for row in reproduce(table, path, out, Protocol(**{**SMALL, **changes}))}


def test_table_2_has_every_view_and_delta(ava, tmp_path):
    found = rows("table2", ava, tmp_path)
    assert len(found) == 8 and not any(row.skipped for row in found.values())
    row = found["l_r (local), delta 0"]
    assert row.paper == {"accuracy": 71.20} and row.count == 16
    assert 0 <= row.measured["accuracy"] <= 100 and row.majority >= 50
    assert load_model(tmp_path / "scnn-arch1-pad-aesthetics-1" / "last.safetensors").spec.columns[0].view == "pad"


def test_table_3_trains_the_frozen_columns_first_and_keeps_them(ava, tmp_path):
    weights = tmp_path / "squeezenet.safetensors"
    save_file(state(), weights)
    found = rows("table3", ava, tmp_path / "out", semantic=weights)
    assert list(found) == [f"{method}, delta {delta}" for method, delta in paper_tables.TABLE_3]
    assert not any(row.skipped for row in found.values())
    style = load_model(next((tmp_path / "out").glob("style-scnn*")) / "last.safetensors").net.columns[0].state_dict()
    semantic = [folder.name for folder in (tmp_path / "out").glob("semantic-*")]
    assert sorted(semantic) == ["semantic-aesthetics", "semantic-aesthetics-1"]
    regularised = load_model(tmp_path / "out" / "rdcnn-style-local+warp+local-aesthetics" / "last.safetensors")
    assert regularised.spec.columns[2].frozen
    assert all((value == style[name]).all() for name, value in regularised.net.columns[2].state_dict().items())
    quad = load_model(next((tmp_path / "out").glob("quad*")) / "last.safetensors")
    scnn = load_model(tmp_path / "out" / "scnn-arch1-warp-aesthetics" / "last.safetensors").net.columns[0].state_dict()
    assert all((value == scnn[name]).all() for name, value in quad.net.columns[3].state_dict().items())


def test_the_semantic_column_may_be_a_model_file(ava, tmp_path):
    """Such as `dcnn-fast convert` makes from a checkpoint of cuda-convnet."""
    theirs = networks.Column("warp", (networks.Block(8, 5, stride=2, pool=networks.Pool()),), (6,), plane=40, window=33)
    made = Model(build(networks.Network("imagenet", (theirs,), ("cat", "dog", "hen")), seed=1))
    save_model(made, tmp_path / "imagenet.safetensors")
    runs = reproduce("table3", ava, tmp_path / "out", Protocol(**SMALL, semantic=tmp_path / "imagenet.safetensors"))
    row = next(row for row in runs if row.name == "RDCNN-semantic, delta 0")  # the layers behind it are not trained
    assert not row.skipped and row.paper == {"accuracy": 75.42}
    regularised = load_model(next((tmp_path / "out").glob("rdcnn-semantic*aesthetics")) / "last.safetensors")
    tuned = load_model(tmp_path / "out" / "semantic-aesthetics" / "last.safetensors").net.columns[0]
    column = regularised.net.columns[2]
    assert column.spec.frozen and column.spec.fc == (6,) and regularised.spec.labels == ("low", "high")
    assert all((value == tuned.state_dict()[name]).all() for name, value in column.state_dict().items())
    assert not (tuned.blocks[0].weight == made.net.columns[0].blocks[0].weight).all()
    (tmp_path / "broken.safetensors").write_bytes(b"x")
    with pytest.raises(ValueError, match="not a readable state dict"):
        rows("table3", ava, tmp_path / "other", semantic=tmp_path / "broken.safetensors")


def test_what_is_finished_is_not_trained_again(ava, tmp_path):
    first = rows("table5", ava, tmp_path, scale=0.8)
    kept = {path: path.read_bytes() for path in tmp_path.rglob("*.safetensors")}
    logs = {path: path.read_text() for path in tmp_path.rglob("log.csv")}
    assert rows("table5", ava, tmp_path, scale=0.8) == first
    assert kept == {path: path.read_bytes() for path in tmp_path.rglob("*.safetensors")}
    assert logs == {path: path.read_text() for path in tmp_path.rglob("log.csv")}  # the seconds of an epoch would differ
    assert set(first["l_r (local)"].measured) == {"AP", "mAP", "accuracy"}
    with pytest.raises(ValueError, match=r"out must be a new folder or one of the same protocol, got .*\['scale'\] differ"):
        rows("table5", ava, tmp_path)


def test_categories_have_three_ways_and_a_router(tmp_path):
    path = synthetic.make("csv", tmp_path / "set", images=160, sides=(40, 50))
    found = rows("categories", path, tmp_path / "out", adapt_local_epochs=1)
    ways = [f"{method}, {way}" for method in ("SCNN local", "SCNN warp", "DCNN") for way in ("cats", "generic", "adapt")]
    assert list(found)[:9] == [f"animal, {way}" for way in ways] and len(found) == 37
    assert not any(row.skipped for row in found.values()), found
    data = load_set(path)
    assert found["all, DCNN, routed"].count == len(data.test)
    bars = category_bars(list(found.values()))
    row = found["floral, SCNN warp, adapt"]
    assert len(bars) == 36 and bars["floral", "SCNN warp", "adapt"] == (row.measured["accuracy"], row.majority)
    assert found["animal, DCNN, generic"].count == sum(e.category == "animal" for e in data.test)
    adapted = load_model(tmp_path / "out" / "DCNN-adapted-to-animal" / "last.safetensors").provenance["training"]["data"]
    warped = load_model(tmp_path / "out" / "SCNN-warp-adapted-to-animal" / "last.safetensors")
    assert [column.view for column in warped.spec.columns] == ["warp"]
    assert adapted["train"] == sum(e.category == "animal" for e in data.train)  # none of the tested photographs


@pytest.fixture(scope="module")
def table_1(ava, tmp_path_factory):
    """The folder of the command's table, and the finished process."""
    out = tmp_path_factory.mktemp("table1")
    small = {"epochs": 1, "batch": 32, "plane": 40, "window": 36, "filters": 0.1, "fc": "16,8", "samples": 1}
    options = [text for name, value in small.items() for text in (f"--{name}", str(value))]
    return out, CliRunner().invoke(app, ["reproduce", "table1", str(ava), "--out", str(out), *options])


def test_compact_architectures_keep_their_number_of_layers(table_1):
    out, _ = table_1
    layers = [load_model(out / f"scnn-arch{n}-local-aesthetics" / "last.safetensors").spec.columns[0].fc for n in (1, 5)]
    assert layers == [(16, 8), (16,)]


def test_iad_starts_the_double_column_from_the_single_ones(tmp_path, ava):
    path = synthetic.make("iad", tmp_path / "set", images=64, sides=(40, 50))
    small = {"filters": 0.05, "plane": 80, "window": 71, "fc": (8, 8)}
    found = rows("iad", path, tmp_path / "out", **small)
    assert list(found) == [f"{method}, {variant}" for method, variant in paper_tables.IAD]
    assert not any(row.skipped for row in found.values())
    with pytest.raises(ValueError, match="path must be a set of kind iad for this table, got ava"):
        rows("iad", ava, tmp_path / "other")


def test_iads_networks_are_measured_on_the_whole_of_another_set_above_five(tmp_path):
    path = synthetic.make("iad", tmp_path / "set", images=64, sides=(20, 30))
    other = synthetic.make("csv", tmp_path / "other", images=64, sides=(20, 30))
    small = {"filters": 0.05, "plane": 80, "window": 71, "fc": (8, 8)}
    found = rows("iad", path, tmp_path / "out", test=other, **small)
    high = sum(e.label for e in load_set(other, unsplit="test", threshold=5.0).test)
    assert 0 < high < 64 and {row.count for row in found.values()} == {64}
    assert [row.majority for row in found.values()] == [round(100 * max(high, 64 - high) / 64, 2)] * len(found)


def test_rows_that_a_set_does_not_allow_say_why(tmp_path):
    path = synthetic.make("csv", tmp_path / "set", images=64, sides=(40, 50))
    found = rows("table3", path, tmp_path / "out")
    assert found["SCNN, delta 1"].skipped == "needs AVA's ratings, around whose middle delta lies"
    assert found["RDCNN-style, delta 0"].skipped == "needs AVA's style lists"
    assert found["RDCNN-semantic, delta 0"].skipped == "needs the weights of an ImageNet network (semantic)"
    assert found["DCNN, delta 0"].measured["accuracy"] >= 0
    with pytest.raises(ValueError, match="table must be one of table1"):
        rows("table9", path, tmp_path / "out")
    with pytest.raises(ValueError, match="scale must lie above 0"):
        Protocol(scale=0)


def test_the_command_prints_the_papers_figures_beside_ours(ava, tmp_path, table_1):
    out, found = table_1
    assert found.exit_code == 0, found.output
    assert "Arch 7" in found.stdout and "70.93" in found.stdout and "majority" in found.stdout
    assert "| Arch 7 | 16 | 70.93 |" in (out / "table1.md").read_text()
    saved = json.loads((out / "table1.json").read_text())
    require_valid("table.v1", saved)
    assert len(saved["rows"]) == 7 and saved["protocol"]["filters"] == 0.1 and saved["choices"]
    with (out / "table1.csv").open() as file:
        lines = list(csv.DictReader(file))
    last = saved["rows"][-1]
    assert [line["row"] for line in lines if line["figure"] == "accuracy"] == [f"Arch {n}" for n in range(1, 8)]
    found = {line["figure"]: (line["paper"], line["here"]) for line in lines if line["row"] == "Arch 7"}
    assert found["accuracy"] == ("70.93", f"{last['measured']['accuracy']:.2f}")
    assert found["balanced"] == ("", f"{last['measured']['balanced']:.2f}")
    assert all(bool(line["low"]) == bool(line["high"]) == (line["figure"] == "accuracy") for line in lines)
    wrong = CliRunner().invoke(app, ["reproduce", "table8", str(ava), "--out", str(tmp_path / "x")])
    assert wrong.exit_code == 2 and "table must be one of" in wrong.output


def test_what_is_wrong_is_said_before_anything_is_trained_and_leaves_nothing(ava, tmp_path):
    for changes, why in (
        ({"test": tmp_path / "nowhere"}, "test must be there"),
        ({"images": tmp_path / "nowhere"}, "images must be there"),
        ({"semantic": tmp_path / "nowhere.pth"}, "not a readable state dict"),
    ):
        with pytest.raises(ValueError, match=why):
            rows("table3", ava, tmp_path / "out", **changes)
    with pytest.raises(ValueError, match="data must be there"):
        rows("table1", tmp_path / "nowhere", tmp_path / "out")
    assert not (tmp_path / "out").exists()


OPTIONS = (  # `SMALL` on the command line
    "--epochs", "1", "--adapt-epochs", "1", "--batch", "32", "--plane", "40", "--window", "36", "--filters", "0.125",
    "--fc", "16,8", "--samples", "1",
)  # fmt: skip


def test_other_peoples_files_are_left_as_they_are(ava, tmp_path):
    for name in ("table1.md", "protocol.json"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_text("mine")
        found = CliRunner().invoke(app, ["reproduce", "table1", str(ava), "--out", str(tmp_path / name), *OPTIONS])
        assert found.exit_code == 2 and "error: " in found.output, found.output
        assert (tmp_path / name / name).read_text() == "mine" and len(list((tmp_path / name).iterdir())) == 1
    found = CliRunner().invoke(app, ["reproduce", "table1", str(ava), "--out", str(ava), *OPTIONS])
    assert found.exit_code == 2 and "out must be a new or an empty folder, or one of such runs" in found.output


def test_a_protocol_is_the_same_however_its_paths_were_typed(ava, tmp_path, monkeypatch):
    first = rows("table5", ava, tmp_path / "out", scale=0.8)
    monkeypatch.chdir(ava.parent)
    assert rows("table5", Path(ava.name), tmp_path / "out", scale=0.8) == first


def test_a_table_that_cannot_be_written_costs_no_other(ava, tmp_path):
    out = tmp_path / "out"
    rows("table5", ava, out)
    (out / "table5.md").mkdir()
    found = CliRunner().invoke(app, ["reproduce", "table5", str(ava), "--out", str(out), *OPTIONS])
    assert found.exit_code == 3 and "table5.md could not be written" in found.output and "Traceback" not in found.output
    assert (out / "table5.csv").is_file() and (out / "table5.json").is_file() and "l_r (local)" in found.stdout


def test_a_table_tells_how_long_it_will_take_and_leaves_nothing(ava, tmp_path):
    """The windows and photographs of the epochs, parts and rows are counted; rows already trained count nothing."""
    jobs, _ = planned("table3", ava, tmp_path / "out", Protocol(**SMALL))
    data, thinned = load_set(ava), load_set(ava, delta=1)
    dcnn = jobs["dcnn local+warp aesthetics"]
    assert (dcnn.windows, dcnn.photographs, len(dcnn.network.columns)) == (len(data.train), len(data.test), 2)
    assert jobs["dcnn local+warp aesthetics 1"].windows == len(thinned.train)
    assert jobs["style-scnn-arch1 local style without the aesthetics test set"].photographs == 0
    assert not any(name.startswith("rdcnn-semantic") for name in jobs) and not (tmp_path / "out").exists()
    small = [text for name, value in SMALL.items() if name != "fc" for text in (f"--{name.replace('_', '-')}", str(value))]
    arguments = ["reproduce", "table5", str(ava), "--out", str(tmp_path / "out"), *small, "--fc", "16,8"]
    told = CliRunner().invoke(app, [*arguments, "--estimate"])
    style = load_set(ava, "ava-style")
    assert told.exit_code == 0, told.output
    wanted = f"4 trainings of {4 * len(style.train)} windows together, tests of {4 * len(style.test)} photographs"
    assert wanted in " ".join(told.stdout.split()) and "this will take about" in told.stdout
    assert not (tmp_path / "out").exists()
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0 and "this will take about" in done.output
    again = CliRunner().invoke(app, [*arguments, "--estimate"])
    assert f"0 trainings of 0 windows together, tests of {4 * len(style.test)} photographs" in " ".join(again.stdout.split())

    saved = json.loads((tmp_path / "out" / "table5.json").read_text())
    require_valid("table.v1", saved)
    unlabelled = sum(not example.truth for example in style.test)
    assert unlabelled and all(
        (row["count"], row["unlabelled"]) == (len(style.test) - unlabelled, unlabelled) for row in saved["rows"]
    )
    assert f"{len(style.test) - unlabelled} (+ {unlabelled} unlabelled)" in (tmp_path / "out" / "table5.md").read_text()
    assert any("aesthetic columns start from random weights" in choice for choice in saved["choices"])
    assert [(each["kind"], each["training"] > 0, each["window"] > 0) for each in saved["times"]] == [
        ("Style-SCNN", True, True)
    ] * 4
    assert "about a day" in done.stdout and "times (III-G)" in done.stdout


def test_photographs_that_cannot_be_read_are_passed_over_in_the_time(tmp_path):
    path = synthetic.make("csv", tmp_path / "set", images=64, sides=(20, 30))
    train = [Path(example.source) for example in load_set(path).train]
    for photograph in train[:9]:
        photograph.write_bytes(b"broken")
    small = Protocol(**SMALL)
    assert estimate("table1", path, tmp_path / "out", small).windows == 7 * len(train)
    for photograph in train:
        photograph.write_bytes(b"broken")
    with pytest.raises(UntoldError, match=f"none of the first {len(train)} photographs can be read"):
        estimate("table1", path, tmp_path / "out", small)


def test_the_papers_networks_are_known_by_what_they_learn():
    for preset, learns, kind in (
        ("scnn", AESTHETICS, "SCNN"), ("dcnn", TableSet(delta=1), "DCNN"), ("rdcnn-style", AESTHETICS, "RDCNN"),
        ("style-scnn", STYLE, "Style-SCNN"), ("quad", AESTHETICS, ""),
        ("alexnet-dcnn", TableSet("iad", variant="extremes"), "DCNN, IAD"), ("scnn", TableSet("iad"), "SCNN, IAD"),
        ("dcnn", TableSet("category", category="portrait"), ""), ("scnn", SHOWN, ""),
    ):  # fmt: skip
        assert kind_of_network(networks.preset(preset), learns) == kind and (kind in PAPER or not kind)
    assert [duration(each) for each in (0.25, 31.4, 90, 3600, 5400, 2 * 86400 + 3 * 3600)] == [
        "0.25 s", "31 s", "2 min", "1 h", "1 h 30 min", "2 d 3 h",
    ]  # fmt: skip


def test_runs_keep_the_names_that_earlier_ones_have():
    """Runs are found by their folders' names."""
    names = {
        AESTHETICS: "aesthetics", TableSet(delta=1): "aesthetics 1", STYLE: "style", SHOWN: "shown", IAD_TEST: "iad test",
        STYLE_APART: "style without the aesthetics test set", TableSet("category", category="floral"): "category floral",
        TableSet("iad", variant="extremes"): "iad extremes", TableSet("iad"): "iad threshold",
    }  # fmt: skip
    assert {each: str(each) for each in names} == names
