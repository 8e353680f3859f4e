"""A model fitted to a person's ratings: its learning, its own estimate of quality, and refusals."""

from __future__ import annotations

import csv
import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from dcnn_fast.cli import personal_run
from dcnn_fast.cli.main import app
from dcnn_fast.data import DataSet, Example
from dcnn_fast.nets import Model, Percentiles, load_model, save_model
from dcnn_fast.scoring import Scorer
from dcnn_fast.training import personal
from dcnn_fast.training.model_history import learnt_by
from tests import small, small_lite
from tests.small_lite import LITE, LOCAL

WHOLE = replace(LITE, plane=33, fc=(12,))
RATED, OTHERS = range(30), range(30, 60)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Sixty noisy pictures of one colour each, rated by red minus blue; and a model."""
    folder = tmp_path_factory.mktemp("personal")
    rng = np.random.default_rng(4)
    ratings = []
    for number in range(60):
        colour = rng.uniform(40, 215, 3)
        pixels = (colour + rng.normal(0, 25, (44, 50, 3))).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        ratings.append(round(float(colour[0] - colour[2]) / 50, 3))
    np.save(folder / "ratings.npy", ratings)
    _write(folder / "rated.csv", RATED, ratings)
    save_model(Model(small_lite.model(WHOLE).net, {"trained on": "nothing"}), folder / "m.safetensors")
    return folder


def _write(path, numbers, ratings):
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "rating"))
        writer.writerows((f"{number}.png", ratings[number]) for number in numbers)


def _examples(folder, numbers=RATED):
    ratings = np.load(folder / "ratings.npy")
    return [Example(str(folder / f"{number}.png"), f"{number}.png", 0, float(ratings[number])) for number in numbers]


def _correlation(model, folder, numbers=OTHERS):
    scores = [score.mean for score in Scorer(model, samples=1).score_many([folder / f"{number}.png" for number in numbers])]
    return personal._spearman(np.array(scores), np.load(folder / "ratings.npy")[list(numbers)])


def test_it_ranks_photographs_that_were_not_rated_as_the_person_would(folder):
    model = load_model(folder / "m.safetensors")
    found = personal.fit_ratings(model, _examples(folder))
    assert abs(_correlation(model, folder)) < 0.5
    assert _correlation(found.model, folder) > 0.75
    assert found.ratings == 30 and found.skipped == () and found.before < found.after
    assert found.before == pytest.approx(_correlation(model, folder, RATED))
    assert found.after == pytest.approx(_correlation(found.model, folder), abs=0.15)  # its own estimate is honest
    again = personal.fit_ratings(model, _examples(folder), threads=3)
    assert again.model.digest == found.model.digest


def test_its_probabilities_are_of_a_rating_above_the_median_and_its_reference_the_rated_ones(folder):
    model = load_model(folder / "m.safetensors")
    rated = _examples(folder)
    found = personal.fit_ratings(replace(model, percentiles=Percentiles.of("others", [0.1, 0.2])), rated).model
    scores = np.array([score.mean for score in Scorer(found, samples=1).score_many([e.source for e in _examples(folder)])])
    ratings = np.load(folder / "ratings.npy")[list(RATED)]
    assert ((scores > 0.5) == (ratings > np.median(ratings))).mean() > 0.9
    assert found.percentiles.about == "30 photographs that were rated" and len(found.percentiles.scores) == 30
    assert 0 < found.percentiles.scores[0] < 0.3 and 0.7 < found.percentiles.scores[-1] < 1
    assert {key: found.provenance[key] for key in ("trained on", "fitted to")} == {
        "trained on": "nothing", "fitted to": "30 ratings",
    }  # fmt: skip
    assert learnt_by(found.provenance).threshold == np.median([example.rating for example in rated])
    assert learnt_by(found.provenance).seen_of(DataSet(("low", "high"), (), ()), rated) == rated
    assert found.spec.columns[0].fc == (14,) and torch.equal(found.net.columns[0].backbone, model.net.columns[0].backbone)


def test_what_is_said_of_each_rating_is_by_a_fit_to_all_others():
    rng = np.random.default_rng(0)
    values, own, spreads = rng.normal(size=(12, 5)), rng.normal(size=12), np.full(5, 1.0)
    targets = values[:, 0] + 0.3 * rng.normal(size=12)
    targets = (targets - targets.mean()) / targets.std()
    fit = personal._fit(values, own, targets, spreads)
    assert fit.strength in personal._STRENGTHS
    whole = values @ fit.weights + own * fit.own_weight + fit.offset
    assert np.corrcoef(whole, targets)[0, 1] > np.corrcoef(fit.left_out, targets)[0, 1] > 0.3
    for number in range(12):
        others = np.arange(12) != number
        scales = np.append(1 / (spreads * np.sqrt(5)), personal._OWN_SCORE / own.std())
        design = np.concatenate([values, own[:, None]], axis=1) * scales
        design = np.concatenate([design - design.mean(axis=0), np.full((12, 1), personal._INTERCEPT**0.5)], axis=1)
        left = design[others]
        weights = np.linalg.solve(left.T @ left + fit.strength * np.eye(7), left.T @ targets[others])
        assert design[number] @ weights == pytest.approx(fit.left_out[number], abs=1e-8)


def test_ratings_that_say_nothing_are_not_believed():
    """Leave-one-out fits cannot predict random ratings."""
    rng = np.random.default_rng(1)
    correlations = []
    for _ in range(20):
        values, targets = rng.normal(size=(20, 50)), rng.normal(size=20)
        fit = personal._fit(values, rng.normal(size=20), (targets - targets.mean()) / targets.std(), np.full(50, 1.0))
        correlations.append(np.corrcoef(fit.left_out, targets)[0, 1])
    assert np.mean(correlations) < 0.1


@pytest.mark.parametrize(
    ("make", "columns", "why"),
    [
        (small.model, (), "has 2 columns"),
        (small_lite.model, (), "has 2 columns"),
        (small_lite.model, (LITE,), "must see the whole view"),
        (small_lite.model, (replace(LOCAL, fc=(8,)),), "must see the whole view"),
        (small_lite.model, (replace(LITE, plane=33),), "one layer behind its features"),
    ],
)
def test_a_model_that_cannot_be_fitted_says_why(folder, make, columns, why):
    model = make(*columns)
    assert why in personal.why_not(model)
    with pytest.raises(ValueError, match=why):
        personal.fit_ratings(model, _examples(folder))


@pytest.mark.parametrize("change", ["few", "same", "none", "unreadable"])
def test_ratings_that_cannot_be_learnt_from_are_refused(folder, tmp_path, change):
    model, examples = load_model(folder / "m.safetensors"), _examples(folder)
    (tmp_path / "cut.png").write_bytes(b"\x89PNG")
    match change:
        case "few":
            examples = examples[:9]
        case "same":
            examples = [replace(example, rating=3.0) for example in examples]
        case "none":
            examples[4] = replace(examples[4], rating=float("nan"))
        case "unreadable":
            examples = [*examples[:9], replace(examples[9], source=str(tmp_path / "cut.png"))]
    with pytest.raises(ValueError, match="must have ratings, 10 or more and not all the same"):
        personal.fit_ratings(model, examples)


def _run(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


def test_the_command_writes_a_model_that_scores(folder, tmp_path):
    (folder / "cut.png").write_bytes(b"\x89PNG")
    text = (folder / "rated.csv").read_text()
    (folder / "more.csv").write_text(f"{text}cut.png,1.5\nmissing.png,1.0\n")
    result = _run("adapt", folder / "m.safetensors", folder / "more.csv", "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert "fitted to 30 ratings in closed form" in result.output and "skipped: cut.png" in result.output
    assert "1 listed photographs are not there, missing.png first" in result.output
    assert "is high" not in result.output  # no training, so its threshold is not printed
    best, last = ((tmp_path / "run" / f"{name}.safetensors").read_bytes() for name in ("best", "last"))
    assert best == last
    assert _correlation(load_model(tmp_path / "run" / "best.safetensors"), folder) > 0.75
    again = _run("adapt", folder / "m.safetensors", folder / "rated.csv", "--out", tmp_path / "run")
    assert again.exit_code == 2 and "out must be a new or an empty folder" in again.output.replace("\n", " ")


def test_the_command_refuses_by_name_and_trains_where_it_was_told_to(folder, tmp_path):
    few = folder / "few.csv"
    few.write_text("\n".join((folder / "rated.csv").read_text().splitlines()[:8]))
    wrong = _run("adapt", folder / "m.safetensors", few, "--out", tmp_path / "a")
    assert wrong.exit_code == 2 and "must have ratings, 10 or more" in wrong.output and not (tmp_path / "a").exists()
    save_model(small.model(), tmp_path / "blocks.safetensors")
    wrong = _run("adapt", tmp_path / "blocks.safetensors", folder / "rated.csv", "--out", tmp_path / "b", "--tune", "ratings")
    assert wrong.exit_code == 2 and "--tune ratings:" in wrong.output and "2 columns" in wrong.output
    wrong = _run("adapt", tmp_path / "none.safetensors", folder / "rated.csv", "--out", tmp_path / "c", "--tune", "ratings")
    assert wrong.exit_code == 2 and "none.safetensors" in wrong.output.replace("\n", "")
    for tune in ("label", "all"):
        result = _run(
            "adapt", folder / "m.safetensors", folder / "rated.csv", "--out", tmp_path / tune, "--tune", tune, "--epochs", 1
        )
        assert result.exit_code == 0 and "epoch" in result.output, result.output


def test_an_interrupt_ends_it_on_one_line_and_writes_nothing(folder, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(personal_run, "fit_ratings", interrupted)
    result = _run("adapt", folder / "m.safetensors", folder / "rated.csv", "--out", tmp_path / "run")
    assert result.exit_code == 143 and result.output == "error: interrupted: nothing was written\n"
    assert not (tmp_path / "run").exists()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
