"""`dcnn-fast evaluate --predictions`: measures of a file of predictions, written by this program or another."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

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
QUICK = ("--samples", 2, "--resamples", 0)


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
        "score", "--model", "m.safetensors", "--samples", 2, place / "img", "--csv", "scored.csv", "--overwrite", cwd=place
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


VOTES = np.random.default_rng(9).integers(0, 40, (16, 10)) + 1
FORETOLD = np.random.default_rng(10).dirichlet(np.ones(10), 16)
HEAD = ",".join(["path", *(f"r{i}" for i in range(1, 11))])


def distance(power):
    """The mean distance of `FORETOLD` from `VOTES`, photograph by photograph."""
    found = []
    for votes, foretold in zip(VOTES, FORETOLD, strict=True):
        apart = [sum(votes[: i + 1]) / sum(votes) - sum(foretold[: i + 1]) for i in range(10)]
        found.append((sum(abs(each) ** power for each in apart) / 10) ** (1 / power))
    return sum(found) / len(found)


@pytest.mark.parametrize("names", ["r{}", "p_{}", "vote_{}"])
@pytest.mark.parametrize("scale", [1, 210])
def test_foretold_shares_have_an_emd_and_their_means_are_scores(place, names, scale):
    table(place / "votes.csv", HEAD, [(f"img/{i}.png", *VOTES[i]) for i in range(16)])
    head = ",".join(["path", *(names.format(i) for i in range(1, 11))])
    table(place / "shares.csv", head, [(f"img/{i}.png", *(scale * FORETOLD[i])) for i in reversed(range(16))])
    said, found = measured(place, "votes.csv", "--predictions", "shares.csv", "--threshold", 5.5)
    one, means = found["shares"], FORETOLD @ np.arange(1, 11)
    assert one["emd"] == pytest.approx(distance(1)) and one["emd_2"] == pytest.approx(distance(2))
    true = VOTES @ np.arange(1, 11) / VOTES.sum(axis=1)
    assert one["srcc"] == pytest.approx(spearmanr(means, true).statistic)
    assert one["accuracy"] == accuracy_score(true > 5.5, means > 5.5)
    assert f"{names.format(1)} to {names.format(10)} are shares of the ratings 1 to 10, high where their mean is above" in said


def test_an_emd_without_histograms_is_refused_by_name(place):
    table(place / "votes.csv", HEAD, [(f"img/{i}.png", *VOTES[i]) for i in range(16)])
    table(place / "scores.csv", "path,p_low,p_high", [(f"img/{i}.png", 1 - i / 16, i / 16) for i in range(16)])
    table(place / "shares.csv", HEAD, [(f"img/{i}.png", *FORETOLD[i]) for i in range(16)])
    plain = run("evaluate", "set.csv", "--predictions", "scores.csv", *QUICK, cwd=place)
    assert plain.returncode == 0 and "EMD" not in plain.stdout
    both = run("evaluate", "votes.csv", "--predictions", "scores.csv", "--predictions", "shares.csv", *QUICK, cwd=place)
    assert "scores: no EMD: predictions must be of the ten ratings 1 to 10 for an EMD, got those of low, high" in both.stdout
    assert both.stdout.count("no EMD") == 1 and f"{distance(1):.4f}" in both.stdout
    without = run("evaluate", "set.csv", "--predictions", "shares.csv", *QUICK, cwd=place)
    assert "shares: no EMD: the set must have votes, r1 to r10, for an EMD, got none" in without.stdout


def test_a_model_of_the_ten_ratings_is_measured_by_its_shares(place):
    table(place / "votes.csv", HEAD, [(f"img/{i}.png", *VOTES[i]) for i in range(16)])
    ratings = tuple(f"r{i}" for i in range(1, 11))
    save_model(Model(build(replace(small.network(), labels=ratings), seed=1)), place / "ten.safetensors")
    _, found = measured(place, "ten.safetensors", "m.safetensors", "votes.csv", "--csv", "ten.csv", "--threshold", 5.5)
    assert found["ten"]["emd"] > 0 and found["m"]["emd"] is None and set(found["ten"]["average_precision"]) == {"low", "high"}
    _, again = measured(place, "votes.csv", "--predictions", "ten.csv", "--threshold", 5.5)
    assert again["ten/ten"]["emd"] == pytest.approx(found["ten"]["emd"], abs=1e-5)


def test_predictions_that_all_are_the_threshold_measure_as_what_they_are(place):
    table(place / "same.csv", "path,score", [(f"img/{i}.png", 3) for i in range(16)])
    _, found = measured(place, "set.csv", "--predictions", "same.csv", "--threshold", 3)
    low = sum(rating <= 3 for rating in RATINGS) / 16
    assert found["same"]["accuracy"] == low and found["same"]["auc"] == 0.5 and found["same"]["srcc"] is None


def test_another_programs_error_is_no_reason_to_pass_a_row_over(place):
    """A field `error` may hold the prediction's error; in a row without a prediction it is read as this program writes it."""
    rows = [(f"img/{i}.png", i / 16, abs(i / 16 - 0.5)) for i in range(16)]
    table(place / "off.csv", "path,score,error", rows)
    table(place / "plain.csv", "path,score", [row[:2] for row in rows])
    _, found = measured(place, "set.csv", "--predictions", "off.csv", "--predictions", "plain.csv")
    assert found["off"] == found["plain"] and found["off"]["count"] == 16
    table(place / "row.csv", "path,score,error", [("img/0.png", "", "broken"), ("img/1.png", 0.5, ""), ("img/2.png", "x", "")])
    wrong = run("evaluate", "set.csv", "--predictions", "row.csv", *QUICK, cwd=place)
    assert wrong.returncode == 2 and "row.csv: row 4 must have a number in column score, got 'x'" in wrong.stderr
    table(place / "features.csv", "path,score," + ",".join(f"f{i}" for i in range(1, 11)), [(*r[:2], *[-1] * 10) for r in rows])
    _, beside = measured(place, "set.csv", "--predictions", "features.csv")
    assert beside["features"] == found["plain"]


def test_foretold_ratings_are_on_one_scale_in_all_files(place):
    """Their probabilities do not depend on the file's other predictions, so that averages weigh all files alike."""
    table(place / "votes.csv", HEAD, [(f"img/{i}.png", *VOTES[i]) for i in range(16)])
    narrow = np.random.default_rng(11).dirichlet(np.full(10, 200.0), 16)
    for name, values in (("wide", FORETOLD), ("narrow", narrow)):
        table(place / f"{name}.csv", HEAD, [(f"img/{i}.png", *values[i]) for i in range(16)])
    files = ("--predictions", "wide.csv", "--predictions", "narrow.csv", "--average", "--threshold", 5)
    _, found = measured(place, "votes.csv", *files, "--csv", "averages.csv")
    means, true = (FORETOLD + narrow) @ np.arange(1, 11) / 2, VOTES @ np.arange(1, 11) / VOTES.sum(axis=1)
    assert found["average"]["srcc"] == pytest.approx(spearmanr(means, true).statistic)
    assert found["average"]["plcc"] == pytest.approx(pearsonr(means, true).statistic)
    with (place / "averages.csv").open(newline="", encoding="utf-8") as file:
        said = {row["key"]: float(row["p_high"]) for row in csv.DictReader(file) if row["model"] == "average"}
    assert [said[f"img/{i}.png"] for i in range(16)] == pytest.approx((0.5 + (means - 5) / 10).tolist(), abs=1e-5)


def test_ratings_between_1_and_10_have_that_scale_and_others_are_averaged_with_none_of_another(place):
    inside, outside = [1 + i / 2 for i in range(16)], [i * 10 - 40 for i in range(16)]
    for name, values in (("inside", inside), ("outside", outside)):
        table(place / f"{name}.csv", "path,score", [(f"img/{i}.png", values[i]) for i in range(16)])
    table(place / "half.csv", "path,score", [(f"img/{i}.png", inside[i]) for i in range(8)])
    _, found = measured(place, "set.csv", "--predictions", "outside.csv", "--average", "--threshold", 3)
    assert found["average"] == found["outside"]
    run("evaluate", "set.csv", "--predictions", "half.csv", *QUICK, "--threshold", 3, "--csv", "half-out.csv", cwd=place)
    with (place / "half-out.csv").open(newline="", encoding="utf-8") as file:
        said = {row["key"]: float(row["p_high"]) for row in csv.DictReader(file) if row["p_high"]}
    expected = {f"img/{i}.png": 0.5 + (inside[i] - 3) / 14 for i in range(8)}
    assert said == pytest.approx(expected, abs=1e-5)
    for other in (("--predictions", "inside.csv"), ("m.safetensors",)):
        files = (*other, "set.csv") if other[0].startswith("m") else ("set.csv", *other)
        refused = run("evaluate", *files, "--predictions", "outside.csv", "--average", *QUICK, "--threshold", 3, cwd=place)
        message = "predictions must be on one scale to be put together, got probabilities, 107 from the threshold"
        assert refused.returncode == 2 and message in refused.stderr, refused.stderr
