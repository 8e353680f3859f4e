"""`dcnn-fast evaluate --predictions`: measures of what a file says, of this program or another."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from PIL import Image
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, roc_auc_score

from dcnn_fast import save_model
from dcnn_fast.nets import Model, build
from tests import small
from tests.cli.command import run

RATINGS = [round(1 + 4 * abs(np.sin(i)), 2) for i in range(16)]
QUICK = ("--views", 2, "--draws", 0)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("predictions")
    (folder / "img").mkdir()
    for i in range(16):
        pixels = np.random.default_rng(i).integers(0, 256, (34, 40, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / "img" / f"{i}.png")
    save_model(Model(build(small.network(), seed=1)), folder / "m.safetensors")
    table(folder / "set.csv", "path,rating", [(f"img/{i}.png", RATINGS[i]) for i in range(16)])
    return folder


def table(path, head, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([head.split(","), *rows])
    return path


def measured(place, *arguments, status=0):
    found = run("evaluate", *arguments, *QUICK, "--json", "o.json", "--overwrite", cwd=place)
    assert found.returncode == status, found.stderr
    return found.stderr, json.loads((place / "o.json").read_text())["models"]


def same(one, other):
    for name, value in one.items():
        if isinstance(value, float):
            assert other[name] == pytest.approx(value, abs=1e-5), name
    assert one["count"] == other["count"] and one["confusion"] == other["confusion"]


def test_what_evaluate_and_score_wrote_measures_the_same(place):
    _, found = measured(place, "m.safetensors", "set.csv", "--csv", "mine.csv")
    _, again = measured(place, "set.csv", "--predictions", "mine.csv")
    same(found["m"], again["mine"])
    scored = run(
        "score", "--model", "m.safetensors", "--views", 2, place / "img", "--csv", "scored.csv", "--overwrite", cwd=place
    )
    assert scored.returncode == 0, scored.stderr
    said, both = measured(place, "m.safetensors", "set.csv", "--predictions", "theirs=scored.csv", "--average")
    assert "scored.csv: mean is P(high)" in said and list(both) == ["m", "theirs", "average"]
    same(both["m"], both["theirs"])
    same(both["m"], both["average"])


def test_predicted_ratings_are_measured_as_libraries_do(place):
    predicted = np.random.default_rng(5).normal(RATINGS, 1.5).round(3)
    assert (predicted > 1).any()
    table(place / "theirs.csv", "Image,MOS", [(f"img/{i}.png", f"{value:g}") for i, value in enumerate(predicted)])
    said, found = measured(place, "set.csv", "--predictions", "nima=theirs.csv", "--threshold", 3)
    high = np.array(RATINGS) > 3
    one = found["nima"]
    assert "theirs.csv: MOS is a rating, high above 3" in said
    assert one["auc"] == pytest.approx(roc_auc_score(high, predicted))
    assert one["accuracy"] == pytest.approx(accuracy_score(high, predicted > 3))
    assert one["plcc"] == pytest.approx(pearsonr(predicted, RATINGS).statistic)
    assert one["srcc"] == pytest.approx(spearmanr(predicted, RATINGS).statistic)


def test_a_photograph_without_a_prediction_is_named(place):
    rows = [(f"img/{i}.png", 0.1 + i / 20, "") for i in range(14)]
    rows += [("img/14.png", "", "broken"), ("img/nowhere.png", 0.5, "")]
    table(place / "part.csv", "path,score,error", rows)
    said, found = measured(place, "set.csv", "--predictions", "part.csv", status=1)
    assert found["part"]["count"] == 14 and found["part"]["unreadable"] == 2
    assert "img/14.png: the file has no prediction of it" in said and "img/15.png: the file has no prediction" in said
    assert "1 of its 15 rows are of no photograph that is measured" in said


@pytest.mark.parametrize(
    ("head", "rows", "message"),
    [
        ("path,score", [("img/0.png", 0.5), ("./img/0.png", 0.6)], "must have one prediction of each photograph, got two of"),
        ("path,score", [("img/0.png", 0.5), ("IMG/0.png", "x")], "row 3 must have a number in column score"),
        ("path,score,mean", [("img/0.png", 0.5, 1)], "must have one column of scores, or p_low, p_high, got score, mean"),
        ("path,p_low,p_high", [("img/0.png", 0.5, 0.6)], "p_low, p_high must be probabilities, which sum to 1"),
        ("path,p_low,p_high", [("img/0.png", -0.5, 1.5)], "p_low, p_high must be probabilities, which sum to 1"),
        (
            "path,p_no,p_yes",
            [("img/0.png", 0.5, 0.5)],
            "must have one column of scores, or p_low, p_high, got path, p_no, p_yes",
        ),
        ("path,score", [("a.png", 0.5)], "must have predictions of the set's photographs, as 'img/0.png', got none of them"),
        ("path,score", [], "must have a row for each photograph, got none"),
        ("a,b", [(1, 2)], "must have one column of photographs, got a, b"),
    ],
)
def test_a_file_that_says_too_little_is_refused(place, head, rows, message):
    table(place / "wrong.csv", head, rows)
    found = run("evaluate", "set.csv", "--predictions", "wrong.csv", *QUICK, cwd=place)
    assert found.returncode == 2 and f"error: wrong.csv: {message}" in found.stderr, found.stderr


def test_numbers_that_could_be_two_things_are_refused(place):
    table(place / "unit.csv", "path,rating", [(f"img/{i}.png", RATINGS[i] / 5) for i in range(16)])
    table(place / "scores.csv", "path,score", [(f"img/{i}.png", i / 16) for i in range(16)])
    found = run("evaluate", "unit.csv", "--predictions", "scores.csv", *QUICK, cwd=place)
    assert found.returncode == 2 and "could be probabilities or ratings, which both are 0 to 1; call it p_high" in found.stderr
    table(place / "words.csv", "path,label", [(f"img/{i}.png", "high" if i % 2 else "low") for i in range(16)])
    table(place / "scores.csv", "path,score", [(f"img/{i}.png", i) for i in range(16)])
    found = run("evaluate", "words.csv", "--predictions", "scores.csv", *QUICK, cwd=place)
    assert found.returncode == 2 and "must be probabilities, 0 to 1, for a set whose labels are of no ratings" in found.stderr
    for files, message in (
        (("m.safetensors", "set.csv", "--predictions", "m=set.csv"), "must differ in their names from all others, got m twice"),
        (("set.csv", "--predictions", "nowhere.csv"), "nowhere.csv: no such file"),
        (("set.csv",), "there must be at least one model file before the data set, or --predictions"),
    ):
        found = run("evaluate", *files, *QUICK, cwd=place)
        assert found.returncode == 2 and message in found.stderr, found.stderr
