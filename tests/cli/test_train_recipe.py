"""The recipe of a run on the command line: options from a file, targets, frozen layers, and refusals."""

from __future__ import annotations

import csv
import os
import signal

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from dcnn_fast.cli.main import app
from dcnn_fast.nets import Model, build, load_model, save_model
from dcnn_fast.networks import Network
from dcnn_fast.training.checkpoint import load_checkpoint
from dcnn_fast.training.step import Step
from tests import small
from tests.cli.command import run

SIZES = ("--net", "scnn", "--view", "warp", "--plane", 36, "--window", 36, "--filters", 0.125, "--fc", "16,8", "--dropout", 0)
QUICK = (*SIZES, "--batch", 8, "--test-samples", 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pictures whose brightness is their rating, once as votes; a set of labels, and one with a part val."""
    where = tmp_path_factory.mktemp("sets")
    ratings, votes, labels = [], [], []
    for i in range(40):
        rng = np.random.default_rng(i)
        pixels = rng.integers(0, 40, (40, 44, 3)) + 5 * i
        Image.fromarray(pixels.astype(np.uint8)).save(where / f"{i}.png")
        ratings.append(f"{i}.png,{i}")
        counts = np.bincount(np.clip(np.round(rng.normal(1 + i / 4.5, 1.5, 30)), 1, 10).astype(int), minlength=11)[1:]
        votes.append(f"{i}.png," + ",".join(map(str, counts)))
        labels.append(f"{i}.png,{'high' if i > 24 else 'low'}")
    for name, head, rows in (
        ("ratings", "path,rating", ratings), ("votes", "path," + ",".join(f"r{k}" for k in range(1, 11)), votes),
        ("labels", "path,label", labels),
    ):  # fmt: skip
        (where / f"{name}.csv").write_text("\n".join([head, *rows]))
    return where


def trained(folder, out, *arguments, data="ratings.csv"):
    found = run("train", data, "--out", out, *arguments, cwd=folder)
    assert found.returncode == 0, found.stderr
    with open(folder / out / "log.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(("targets", "data"), [("soft", "ratings"), ("regression", "ratings"), ("emd", "votes")])
def test_each_kind_of_targets_is_learnt(folder, targets, data):
    recipe = ("--optimiser", "adamw", "--rate", 0.003, "--schedule", "cosine", "--warmup", 1, "--clip", 5, "--targets", targets)
    rows = trained(folder, targets, *QUICK, *recipe, "--epochs", 8, "--best-by", "auc", data=f"{data}.csv")
    assert float(rows[-1]["loss"]) < 0.8 * float(rows[0]["loss"])  # soft labels leave a positive minimum
    assert max(float(row["test_auc"]) for row in rows) > 0.9
    rates = [float(row["rate"]) for row in rows]
    assert rates[0] == pytest.approx(0.003) and rates[1:] == sorted(rates[1:], reverse=True) and rates[-1] < 3e-4
    said = run("describe", folder / targets / "best.safetensors").stdout
    assert f"targets {targets}" in said and "optimiser adamw" in said and "test_auc" in said and "of 8 epochs" in said


def test_a_model_that_has_high_first_learns_ratings_as_they_are(folder):
    column = small.column("warp", dropout=0.0)
    save_model(Model(build(Network("other way", (column,), ("high", "low")), seed=1)), folder / "first.safetensors")
    recipe = ("--net", "first.safetensors", "--optimiser", "adamw", "--rate", 0.003, "--batch", 8, "--test-samples", 1)
    rows = trained(folder, "high first", *recipe, "--targets", "soft", "--epochs", 6)
    assert float(rows[-1]["test_auc"]) > 0.9  # for the second label, low, by that label's probability


def test_a_run_is_had_again_from_its_file_of_options_wherever_that_is_read(folder, tmp_path):
    recipe = ("--optimiser", "adamw", "--targets", "soft", "--flip", "--class-weights", "1,2", "--ties", "first")
    options = (*QUICK, *recipe, "--epochs", 2)
    trained(folder, "first", *options, "--freeze", "columns.0.blocks.0")
    again = run("train", "--config", folder / "first" / "run.toml", "--out", tmp_path / "again", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    for name in ("best.safetensors", "last.safetensors", "run.toml", "curves.png"):
        assert (folder / "first" / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name
    other = run("train", "--config", folder / "first" / "run.toml", "--epochs", 1, "--out", tmp_path / "one", cwd=tmp_path)
    assert other.returncode == 0 and "epochs = 1\n" in (tmp_path / "one" / "run.toml").read_text()
    settings = load_model(tmp_path / "one" / "last.safetensors").provenance["training"]["settings"]
    assert (settings["epochs"], settings["flip"], settings["ties"]) == (1, True, "first")
    assert settings["freeze"] == ["columns.0.blocks.0"]


def test_a_run_goes_on_with_its_own_options_and_with_a_rate_that_is_said_anew(folder):
    trained(folder, "on", *QUICK, "--rate", 0.004, "--bias-rate", 0.002, "--epochs", 1)
    more = run("train", "--out", "on", "--resume", "--epochs", 2, "--rate", 0.001, cwd=folder)
    assert more.returncode == 0, more.stderr
    kept = load_checkpoint(folder / "on" / "checkpoint.safetensors")
    assert [row["rate"] for row in kept.progress.history] == [0.004, 0.001]
    assert (kept.settings.rate, kept.settings.bias_rate) == (0.001, 0.0005)  # the biases' rate keeps its ratio
    again = run("train", "ratings.csv", "--out", "on", "--resume", "--epochs", 3, cwd=folder)
    assert again.returncode == 0, again.stderr
    assert load_checkpoint(folder / "on" / "checkpoint.safetensors").progress.history[-1]["rate"] == 0.001
    wrong = run("train", "ratings.csv", "--out", "on", "--resume", "--epochs", 4, "--batch", 4, cwd=folder)
    assert wrong.returncode == 2 and "batch was 8 and is 4" in wrong.stderr
    said = run("describe", folder / "on" / "last.safetensors").stdout
    assert "rates of weights and biases  0.004 and 0.002 from step 0, then 0.001 and 0.0005 from step 4\n" in said
    other = run("train", "--config", "on/run.toml", "--out", "no", cwd=folder)
    assert other.returncode == 2 and "on/run.toml: must be of a run at one rate to be had again" in other.stderr


def test_a_run_that_is_interrupted_within_an_epoch_goes_on_with_its_options_and_its_last_rates(folder, monkeypatch):
    """Interrupted first in the first epoch, then in the second at another rate."""
    launch, seen = Step.launch, []

    def interrupted(self, *arguments):
        seen.append(1)
        if len(seen) in (1, 6):  # four mini-batches an epoch; the next one is the last
            os.kill(os.getpid(), signal.SIGINT)
        return launch(self, *arguments)

    def status(*arguments):
        monkeypatch.chdir(folder)
        return CliRunner().invoke(app, list(map(str, ("train", *arguments, "--out", "broken")))).exit_code

    monkeypatch.setattr(Step, "launch", interrupted)
    assert status("ratings.csv", *QUICK, "--epochs", 3) == 130
    assert status("--resume", "--rate", 0.0005) == 130
    kept = load_checkpoint(folder / "broken" / "checkpoint.safetensors").progress
    assert (kept.epoch, kept.step, kept.rates) == (1, 3, [[0, 0.001, 0.002], [2, 0.0005, 0.001]])
    assert status("--resume") == 0
    rates = [row["rate"] for row in load_checkpoint(folder / "broken" / "checkpoint.safetensors").progress.history]
    assert rates == [0.0005] * 3


def test_targets_of_another_threshold_are_another_run_also_where_all_labels_are_the_same(folder):
    trained(folder, "at 20", *QUICK, "--targets", "soft", "--threshold", 20, "--epochs", 1)
    other = run("train", "--out", "at 20", "--resume", "--epochs", 2, "--threshold", 20.5, cwd=folder)
    assert other.returncode == 2 and "threshold: 20.0 before, 20.5 now" in other.stderr


def test_the_rate_of_a_file_of_options_that_is_said_anew_leaves_the_biases(folder):
    trained(folder, "told", *QUICK, "--rate", 0.004, "--bias-rate", 0.002, "--epochs", 1)
    again = run("train", "--config", "told/run.toml", "--rate", 0.001, "--out", "told again", cwd=folder)
    assert again.returncode == 0, again.stderr
    settings = load_checkpoint(folder / "told again" / "checkpoint.safetensors").settings
    assert (settings.rate, settings.bias_rate) == (0.001, 0.002)


REFUSED = [
    (("ratings.csv", "--targets", "emd"), "targets must not be emd without a histogram of votes for each photograph"),
    (("labels.csv", "--targets", "soft"), "targets must be labels where labels are not made of ratings by one threshold"),
    (("ratings.csv", "--targets", "regression", "--class-weights", "balanced"), "class_weights must not be given for targets"),
    (("ratings.csv", "--class-weights", "1,2,3"), "class_weights must be one for each of 2 labels, got 3"),
    (("ratings.csv", "--class-weights", "heavy"), "class-weights must be numbers with commas between them, got 'heavy'"),
    (("ratings.csv", "--optimiser", "adamw", "--momentum", 0.9), "momentum must not be given for adamw"),
    (("ratings.csv", "--optimiser", "sgd"), "optimiser must be one of convnet, adamw; got 'sgd'"),
    (
        ("ratings.csv", "--epochs", 2, "--warmup", 0.2),
        "warmup must be longer than one of the 4 mini-batches of an epoch, got 0.2",
    ),
    (("ratings.csv", "--epochs", 3, "--patience", 2), "patience must be at least 2 less than the run's 3 looks"),
    (("ratings.csv", "--tune", "label", "--freeze", "columns.0"), "freeze must name layers that would learn, got 'columns.0'"),
    (("ratings.csv", "--class-weights", "2,2"), "class_weights must differ from one another, got 2 for all"),
    (("ratings.csv", "--epochs", 2, "--warmup", 2), "warmup must be shorter than the run of 2 epochs, got 2"),
    (("ratings.csv", "--freeze", "columns.0.blocks.9"), "freeze must name layers that learn"),
    (("ratings.csv", "--freeze", "columns.0", "--freeze", "label"), "freeze must leave a layer that learns, got all of them"),
    (("ratings.csv", "--patience", 2), "patience must not be given without photographs of the split val"),
    (("ratings.csv", "--fresh"), "fresh must not be given but for a model file"),
    (("ratings.csv", "--features", "f.sqlite"), "features must not be given but for layers next to the pixels of whole views"),
    (
        ("ratings.csv", "--features", "ratings.csv", "--freeze", "columns.0.blocks"),
        "features must be a new file or one of features, got ratings.csv",
    ),
    (("ratings.csv", "--config", "ratings.csv"), "ratings.csv: not a file of options"),
    (("ratings.csv", "--config", "none.toml"), "none.toml: not a file of options: No such file"),
    (("ratings.csv", "--config", "colour.toml"), "colour.toml: must have options of train that are not of a run's place"),
    (("ratings.csv", "--config", "python.toml"), "python.toml: must have options of the command"),
    (("ratings.csv", "--config", "one.toml", "--resume"), "config must not be given with resume"),
]


@pytest.mark.parametrize(("arguments", "why"), REFUSED, ids=[" ".join(map(str, each[1:])) for each, _ in REFUSED])
def test_what_makes_no_sense_or_does_nothing_is_refused_by_name(folder, monkeypatch, arguments, why):
    for name, text in (("colour", "colour = 1"), ("python", "[settings]\nepochs = 1"), ("one", "epochs = 1")):
        (folder / f"{name}.toml").write_text(text)
    monkeypatch.chdir(folder)
    found = CliRunner().invoke(app, list(map(str, ("train", *arguments, *QUICK, "--out", "no"))))
    assert found.exit_code == 2 and why in found.output and found.output.count("error:") == 1, found.output
    assert not (folder / "no" / "checkpoint.safetensors").exists()


def test_what_learns_of_a_model_file_is_drawn_anew_and_the_rest_is_taken(folder):
    trained(folder, "source", *QUICK, "--epochs", 1)
    source = load_model(folder / "source" / "last.safetensors")
    options = ("--net", "source/last.safetensors", "--fresh", "--freeze", "columns.0.blocks", "--epochs", 1, "--batch", 8)
    trained(folder, "fresh", *options, "--rate", 0, "--bias-rate", 0, data="labels.csv")
    fresh = load_model(folder / "fresh" / "last.safetensors")
    for name, tensor in source.net.state_dict().items():
        if not name.endswith("bias") or "blocks" in name:  # fresh biases are zero
            assert bool((fresh.net.state_dict()[name] == tensor).all()) == ("blocks" in name), name
    seen = [model.provenance["training"]["data"]["seen"] for model in (source, fresh)]
    assert len(seen[1]) > len(seen[0])  # layers that had learnt were taken, so their photographs count as seen


def test_layer_files_say_the_rates_themselves(folder):
    (folder / "l.cfg").write_text(
        "[data]\ntype=data\ndataIdx=0\n[labels]\ntype=data\ndataIdx=1\n[fc]\ntype=fc\noutputs=2\ninputs=data\ninitW=0.01\n"
        "[probs]\ntype=softmax\ninputs=fc\n[cost]\ntype=cost.logreg\ninputs=labels,probs\n"
    )
    (folder / "p.cfg").write_text("[fc]\nepsW=0.001\nepsB=0.002\nmomW=0.9\nmomB=0.9\nwc=0\n[cost]\ncoeff=1\n")
    files = ("--net", "l.cfg", "--layer-params", "p.cfg", "--window", 32, "--plane", 36)
    for option, value in (("--rate", 0.1), ("--bias-rate", 0.1), ("--momentum", 0.5), ("--decay", 0), ("--schedule", "linear")):
        found = run("train", "ratings.csv", *files, option, value, "--out", "no", cwd=folder)
        said = f"{option[2:].replace('-', '_')} must not be given for layer files, which say it of each layer"
        assert found.returncode == 2 and said in found.stderr, found.stderr
    assert run("train", "ratings.csv", *files, "--epochs", 1, "--out", "layers", cwd=folder).returncode == 0


def test_an_adaptation_has_a_file_of_options_too(folder):
    trained(folder, "general", *QUICK, "--epochs", 1)
    said = ("--out", "adapted", "--epochs", 1, "--batch", 8, "--rate", 0.002, "--tune", "label")
    first = run("adapt", "general/last.safetensors", "ratings.csv", *said, cwd=folder)
    assert first.returncode == 0, first.stderr
    again = run("adapt", "--config", "adapted/run.toml", "--out", "adapted2", cwd=folder)
    assert again.returncode == 0, again.stderr
    assert (folder / "adapted" / "last.safetensors").read_bytes() == (folder / "adapted2" / "last.safetensors").read_bytes()
    wrong = run("train", "--config", "adapted/run.toml", "--out", "no", cwd=folder)
    assert wrong.returncode == 2 and "must have options of train that are not of a run's place, got 'model'" in wrong.stderr


def test_rows_of_the_split_val_choose_the_best_epoch_and_end_the_run(folder):
    """With learning rates of zero no epoch is better than the first."""
    parts = ("train", "train", "val", "test")
    lines = [f"{i}.png,{i},{parts[i % 4]}" for i in range(40)]
    (folder / "three.csv").write_text("\n".join(["path,rating,split", *lines]))
    rows = trained(folder, "three", *QUICK, "--epochs", 9, "--patience", 2, "--rate", 0, "--bias-rate", 0, data="three.csv")
    assert len(rows) == 3 and {(row["val_count"], row["test_count"]) for row in rows} == {("10", "10")}
    best = load_model(folder / "three" / "best.safetensors").provenance["training"]
    assert best["epoch"] == 1 and best["data"]["val"] == 10


def test_equal_runs_have_equal_files_but_for_their_times(folder):
    recipe = ("--rate", 0.01, "--mean", "data", "--checkpoint-steps", 2, "--epochs", 2)
    for out in ("equal", "as equal"):
        trained(folder, out, *QUICK, *recipe)
    one, other = (
        {path.name: path.read_bytes() for path in (folder / out).iterdir() if not path.name.startswith(".")}
        for out in ("equal", "as equal")
    )
    assert (
        one.keys() == other.keys() >= {"checkpoint.safetensors", "best.safetensors", "last.safetensors", "log.csv", "run.toml"}
    )
    assert [name for name in one if one[name] != other[name]] == ["times.csv"]
    times = [[float(cell) for cell in line.split(",")] for line in one["times.csv"].decode().splitlines()[1:]]
    assert [epoch for epoch, *_ in times] == [1, 2] and all(seconds > 0 and rate > 0 for *_, seconds, rate in times)
