"""`dcnn-fast crossval`: measures over all held-out parts, by networks that have not learnt from them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time

import pytest
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from dcnn_fast.data import load_set, synthetic
from dcnn_fast.evaluation import predict
from dcnn_fast.nets import load_model
from dcnn_fast.training.model_history import learnt_by
from tests.cli.command import environment, main, rows, run, wait_for
from tests.export.schemas import require_valid

SMALL = ("--net", "scnn", "--view", "warp", "--plane", 40, "--window", 32, "--filters", 0.125, "--fc", "16,8", "--batch", 32)
OPTIONS = (*SMALL, "--epochs", 2, "--folds", 3, "--samples", 2, "--resamples", 50)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("crossval")
    synthetic.make("csv", folder / "set", images=66, seed=2, sides=(20, 30))
    for path in (folder / "set").rglob("*"):
        os.utime(path, (time.time() - 60,) * 2)  # files written just now are not cached
    return folder


@pytest.fixture(scope="module")
def done(place):
    found = run("crossval", "set/ratings.csv", "--out", "out", *OPTIONS, cwd=place)
    assert found.returncode == 0, found.stderr
    return found


def test_every_photograph_is_judged_by_a_network_that_has_not_seen_its_group(place, done):
    table = rows(place / "out" / "predictions.csv")
    whole = load_set(place / "set" / "ratings.csv", unsplit="test")
    groups = {example.key: example.group for example in whole.test}
    assert sorted(row["key"] for row in table) == sorted(groups) and {row["fold"] for row in table} == {"0", "1", "2"}
    for fold in range(3):
        model = load_model(place / "out" / f"fold-{fold}" / "last.safetensors")
        mine = {row["key"] for row in table if row["fold"] == str(fold)}
        seen = {example.key for example in learnt_by(model.provenance).seen_of(whole, whole.test)}
        assert seen == set(groups) - mine and not {groups[key] for key in seen} & {groups[key] for key in mine}
        assert learnt_by(model.provenance).threshold == whole.threshold
        theirs = predict(model, [example for example in whole.test if example.key in mine], samples=2, seed=0)
        assert {row["key"]: float(row["p_high"]) for row in table if row["fold"] == str(fold)} == pytest.approx(
            dict(zip((example.key for example in theirs.examples), theirs.probs[:, 1].tolist(), strict=True)), abs=1e-6
        )
    assert f"a rating above {whole.threshold:g} is high in all folds (the median of the whole set)" in done.stderr


def test_the_pooled_measures_are_those_of_libraries_and_of_evaluate(place, done):
    table = rows(place / "out" / "predictions.csv")
    measures = json.loads((place / "out" / "measures.json").read_text())
    require_valid("crossval.v1", measures)
    pooled = measures["pooled"]
    high, scores = [row["true"] == "high" for row in table], [float(row["p_high"]) for row in table]
    ratings = [float(row["rating"]) for row in table]
    assert pooled["count"] == 66 and [each["count"] for each in measures["folds"]] == [
        sum(row["fold"] == str(fold) for row in table) for fold in range(3)
    ]
    assert pooled["auc"] == pytest.approx(roc_auc_score(high, scores), abs=2e-3)  # the file has six digits
    assert pooled["srcc"] == pytest.approx(spearmanr(scores, ratings).statistic, abs=2e-3)
    assert pooled["accuracy"] == sum(row["right"] == "1" for row in table) / 66
    for name in ("accuracy", "auc", "srcc"):
        low, up = pooled["intervals"][name]
        assert low < pooled[name] < up
        assert f"{pooled[name]:.4f} ({low:.3f} to {up:.3f})" in done.stdout
    assert pooled["emd"] is None and "22 groups" in done.stdout
    again = run(
        "evaluate", "set/ratings.csv", "--predictions", "out/predictions.csv", "--resamples", 0, "--json", "o.json", cwd=place
    )
    assert again.returncode == 0, again.stderr
    require_valid("measures.v1", json.loads((place / "o.json").read_text()))
    found = json.loads((place / "o.json").read_text())["models"]["predictions"]
    assert found["confusion"] == pooled["confusion"]
    assert all(found[name] == pytest.approx(pooled[name], abs=2e-3) for name in ("auc", "srcc", "plcc", "accuracy"))


def test_a_killed_one_goes_on_to_the_same_predictions(place, done):
    arguments = [str(each) for each in ("crossval", "set/ratings.csv", "--out", "killed", *OPTIONS)]
    process = subprocess.Popen([*main(), *arguments], cwd=place, env=environment(), stderr=subprocess.PIPE, text=True)
    with process:
        wait_for(process, place / "killed" / "fold-1" / "checkpoint.safetensors")
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert not (place / "killed" / "predictions.csv").exists()
    before = (place / "killed" / "fold-0" / "log.csv").read_bytes()
    found = run(*arguments, cwd=place)
    assert found.returncode == 0, found.stderr
    assert (place / "killed" / "fold-0" / "log.csv").read_bytes() == before  # the network was not trained again
    assert (place / "killed" / "predictions.csv").read_bytes() == (place / "out" / "predictions.csv").read_bytes()


def test_a_fold_is_what_train_makes_of_it_and_a_cache_of_planes_changes_nothing(place, done):
    threshold = json.loads((place / "out" / "crossval.json").read_text())["threshold"]
    alone = (*SMALL, "--epochs", 2, "--folds", 3, "--fold", 1, "--threshold", repr(threshold))
    found = run("train", "set/ratings.csv", "--out", "plain", *alone, cwd=place)
    assert found.returncode == 0, found.stderr
    ours, theirs = (load_model(place / folder / "last.safetensors").net for folder in ("out/fold-1", "plain"))
    assert all((value == theirs.state_dict()[name]).all() for name, value in ours.state_dict().items())
    assert len(list((place / "out" / "planes").rglob("*.plane"))) == 66 and not (place / "plain" / "planes").exists()
    drawn = ("--val", 0.25, "--plane-cache", "out/planes")
    found = run("train", "set/ratings.csv", "--out", "val", *SMALL, "--epochs", 1, *drawn, cwd=place)
    assert found.returncode == 0 and "listed photographs to train on are drawn for validation" in found.stderr
    assert len(list((place / "out" / "planes").rglob("*.plane"))) == 66
    arguments = ("--split", "val", "--val", 0.25, "--samples", 1, "--resamples", 0, "--json", "val.json")
    part = run("evaluate", "val/last.safetensors", "set/ratings.csv", *arguments, cwd=place)
    assert part.returncode == 0, part.stderr
    (measured,) = json.loads((place / "val.json").read_text())["models"].values()
    assert measured["count"] == len(load_set(place / "set" / "ratings.csv", val=0.25).val)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--plane-cache", "set"), "a cache of planes must be a new or an empty folder, or such a cache, got set"),
        (
            ("--plane-cache", "refused"),
            "the cache of planes must be in a folder of its own",
        ),
        (("--plane-cache", "planes", "--cache", 5), "--cache must not be given beside --plane-cache, got 5"),
        (("--val", 1.5), "val must be a share above 0 and below 1, got 1.5"),
        (("--val", 0.001), "val must be a share that leaves photographs on both sides, got 0.001"),
    ],
)
def test_options_that_cannot_be_are_refused(place, options, message):
    found = run("train", "set/ratings.csv", "--out", "refused", *SMALL, *options, cwd=place)
    assert found.returncode == 2 and message in found.stderr, found.stderr
    assert not (place / "refused").exists() and not (place / "planes").exists()


def test_what_cannot_be_is_refused_before_anything_is_trained(place, done):
    (place / "mine").mkdir()
    (place / "mine" / "notes.txt").write_text("mine")
    own = synthetic.make("histograms", place / "own", images=64, sides=(20, 30))
    learnt = "out/fold-0/last.safetensors"
    before = (place / "out" / "predictions.csv").read_bytes()
    for arguments, message in (
        ((own, "--out", "new", *OPTIONS), "must not be given for a set with a split of its own"),
        (("set/ratings.csv", "--out", "mine", *OPTIONS), "out must be a new or an empty folder, or that of such runs"),
        (("set/ratings.csv", "--out", "out", *OPTIONS, "--folds", 2), "out must be a new folder or one of the same folds"),
        (("set/ratings.csv", "--out", "out", *OPTIONS, "--threshold", 3), "threshold: "),
        (("set/ratings.csv", "--out", "new", *OPTIONS, "--fold", 1), "No such option"),
        (
            ("set/ratings.csv", "--out", "new", "--net", learnt, *OPTIONS[-6:]),
            f"{learnt} has learnt from 21 of the 21 of fold 1",
        ),
        (("set/ratings.csv", "--out", "new", *OPTIONS, "--init", f"0={learnt}"), "must be new to the networks that judge them"),
        (("set/ratings.csv", "--out", "new", *OPTIONS, "--folds", 40), "every label must have at least 40 examples"),
    ):
        found = run("crossval", *arguments, cwd=place)
        assert found.returncode == 2 and message in found.stderr, found.stderr
    assert not (place / "new").exists() and [each.name for each in (place / "mine").iterdir()] == ["notes.txt"]
    assert (place / "out" / "predictions.csv").read_bytes() == before


def test_with_val_the_epoch_that_it_chose_is_measured_and_without_it_the_last(place, done):
    """The held-out photographs choose no epoch in either case."""
    options = (
        *SMALL,
        "--epochs",
        3,
        "--folds",
        2,
        "--samples",
        2,
        "--resamples",
        0,
        "--val",
        0.3,
        "--best-by",
        "auc",
        "--rate",
        0.05,
    )
    found = run("crossval", "set/ratings.csv", "--out", "chosen", *options, "--patience", 1, cwd=place)
    assert found.returncode == 0, found.stderr
    assert (
        "measured: best.safetensors of each fold" in found.stdout and "measured: last.safetensors of each fold" in done.stdout
    )
    table = rows(place / "chosen" / "predictions.csv")
    whole = load_set(place / "set" / "ratings.csv", unsplit="test")
    for fold in range(2):
        model = load_model(place / "chosen" / f"fold-{fold}" / "best.safetensors")
        said = {row["key"]: float(row["p_high"]) for row in table if row["fold"] == str(fold)}
        theirs = predict(model, [example for example in whole.test if example.key in said], samples=2, seed=0)
        ours = [said[example.key] for example in theirs.examples]
        assert ours == pytest.approx(theirs.probs[:, 1].tolist(), abs=1e-6)
    for out, name in (("chosen", "best.safetensors"), ("out", "last.safetensors")):
        folds = json.loads((place / out / "measures.json").read_text())["folds"]
        assert {each["model"] for each in folds} == {name}
