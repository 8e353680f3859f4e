"""Former names of options work for one more release: the same outputs, and one note on standard error."""

from __future__ import annotations

from dataclasses import replace

import pytest
from typer.main import get_command

from dcnn_fast.cli import former
from dcnn_fast.cli.main import app
from dcnn_fast.nets import save_model
from dcnn_fast.scoring import Scorer
from dcnn_fast.training import Settings
from tests import small
from tests.cli.command import VIEWS, rows, run

CALLED = "is called {}: the former name goes with the next release"
NOTE = f"{CALLED}\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("former")
    save_model(small.model(), folder / "m.safetensors")
    done = run("data", "make", "csv", "set", "--images", 64, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


def said(done, *old):
    """The command's notes on former names, once each, after checking that the command succeeded."""
    assert done.returncode == 0, done.stderr
    for name in old:
        assert done.stderr.count(f"{name} " + NOTE.format(former.OPTIONS[name])) == 1, done.stderr
    assert done.stderr.count("is called") == len(old), done.stderr


@pytest.mark.parametrize("given", [("--views", 2), ("--views=2",), ("--views", 9, "--views", 2)], ids=str)
def test_score_takes_views_for_samples(place, given):
    photo = sorted((place / "set").rglob("*.[jp][pn]g"))[0]
    done = run("score", "--model", "m.safetensors", photo, *given, "--csv", "-", "--overwrite", cwd=place)
    said(done, "--views")
    expected = Scorer(small.model(), samples=2).score(photo)
    (table,) = [line for line in done.stdout.splitlines() if ",2,0," in line]
    assert f"{expected.mean:.6f},{expected.std:.6f}" in table


def test_what_is_said_by_the_present_name_counts(place):
    photo = sorted((place / "set").rglob("*.[jp][pn]g"))[0]
    said(run("score", "--model", "m.safetensors", photo, "--views", 9, "--samples", 2, "--csv", "o.csv", cwd=place), "--views")
    assert rows(place / "o.csv")[0]["views"] == "2"


def test_evaluate_takes_both_and_names_no_former_option_that_is_not_given(place):
    options = ("evaluate", "m.safetensors", "set/ratings.csv", "--split", "all")
    before = run(*options, "--views", VIEWS, "--draws", 20, cwd=place)
    said(before, "--views", "--draws")
    now = run(*options, "--samples", VIEWS, "--resamples", 20, cwd=place)
    said(now)
    assert now.stdout == before.stdout and "--views" not in run("score", "--help").stdout


def test_a_command_whose_own_option_has_a_former_name_keeps_it(place):
    net = ("--net", "scnn", "--plane", 36, "--window", 32, "--filters", 0.1, "--fc", "8,4", "--epochs", 1, "--mean", "spec")
    done = run("train", "set/ratings.csv", "--out", "run", *net, "--views", "warp", "--test-views", 2, cwd=place)
    said(done, "--test-views")
    assert "test_samples = 2\n" in (place / "run" / "run.toml").read_text()
    (place / "before.toml").write_text((place / "run" / "run.toml").read_text().replace("test_samples = 2", "test_views = 3"))
    again = run("train", "set/ratings.csv", "--out", "again", "--config", "before.toml", cwd=place)
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("before.toml: test_views " + CALLED.format("test_samples")) == 1, again.stderr
    assert "test_samples = 3\n" in (place / "again" / "run.toml").read_text()


@pytest.mark.parametrize(("looked_at", "line"), [(5, "settings  all as by default"), (3, "settings  test_samples 3")])
def test_a_model_that_an_earlier_version_trained_is_described_by_present_names(place, looked_at, line):
    settings = Settings().to_dict()
    settings["test_views"] = looked_at
    del settings["test_samples"]
    save_model(replace(small.model(), provenance={"training": {"settings": settings}}), place / "before.safetensors")
    done = run("describe", "before.safetensors", cwd=place)
    assert done.returncode == 0 and line in done.stdout.splitlines(), done.stdout


def test_a_file_of_options_has_former_names_and_present_ones_count():
    known = {"views", "test_samples", "field", "resamples"}
    given = {"views": "warp", "test_samples": 2, "test_views": 3, "column": ["path=name"], "draws": 9, "samples": 4}
    found, remarks = former.options_by_name(given, known)
    assert found == {"views": "warp", "test_samples": 2, "field": ["path=name"], "resamples": 9, "samples": 4}
    assert [remark.partition(":")[0] for remark in remarks] == [
        "test_views is called test_samples", "draws is called resamples", "column is called field",
    ]  # fmt: skip


def test_an_option_that_is_given_several_times_keeps_all(place):
    table = "name,beauty,theme\n" + "".join(f"{number:04}.jpg,{number % 7},{number % 3}\n" for number in range(12))
    (place / "t.csv").write_text(table)
    options = ("path=name", "--field", "rating=beauty", "--column", "group=theme")
    before = run("data", "check", "t.csv", "--images", "set", "--column", *options, cwd=place)
    now = run(
        "data",
        "check",
        "t.csv",
        "--images",
        "set",
        "--field",
        *(each.replace("--column", "--field") for each in options),
        cwd=place,
    )
    assert before.stderr.count("--column " + NOTE.format("--field")) == 1
    assert now.stdout == before.stdout and now.returncode == before.returncode
    assert before.stderr.replace("--column " + NOTE.format("--field"), "") == now.stderr


def test_completion_of_a_command_with_a_former_name_says_nothing(capsys):
    get_command(app).commands["score"].make_context("score", ["--views", "3"], resilient_parsing=True)
    assert "".join(capsys.readouterr()) == ""


def test_a_wrong_value_is_refused_by_the_present_name(place):
    done = run("plan", "none.png", "--views", "many", cwd=place)
    assert done.returncode == 2 and "--samples" in done.stderr
