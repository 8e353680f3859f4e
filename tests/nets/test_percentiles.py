"""A model's reference collection: percentiles, through files, copies, scores, rows and the table."""

from __future__ import annotations

import copy
import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner

from dcnn_fast.cli.main import app
from dcnn_fast.cli.rows import CSV, JSONL
from dcnn_fast.nets import Model, ModelError, Percentiles, load_model, save_model
from dcnn_fast.scoring import Scorer
from tests import small, small_lite

PHOTO = np.random.default_rng(3).integers(0, 256, (50, 60, 3)).astype(np.uint8)
PERCENTILES = Percentiles.of("four photographs", [0.5, 0.1, 0.2, 0.2])


@pytest.mark.parametrize(
    ("score", "expected"), [(0.0, 0), (0.1, 12.5), (0.15, 25), (0.2, 50), (0.3, 75), (0.5, 87.5), (0.6, 100), (1.0, 100)]
)
def test_a_percentile_counts_the_lower_ones_and_half_of_the_equal(score, expected):
    assert PERCENTILES.percentile(score) == expected


def _model(percentiles=PERCENTILES):
    return replace(small.model(), percentiles=percentiles)


def test_a_score_has_it_and_a_model_without_one_has_none(tmp_path):
    plain, score = Scorer(_model(None), samples=3).score(PHOTO), Scorer(_model(), samples=3).score(PHOTO)
    assert plain.percentile is None and score == replace(plain, percentile=PERCENTILES.percentile(plain.mean))
    many = Model(small.model(labels=("a", "b", "c")).net, {}, PERCENTILES)
    assert Scorer(many, samples=3).score(PHOTO).percentile is None
    broken = Scorer(_model(), samples=3).score_many([tmp_path / "none.png"])
    assert next(broken).percentile is None


def test_a_file_and_copies_keep_it_and_it_decides_the_digest(tmp_path):
    model = _model()
    save_model(model, tmp_path / "m.safetensors")
    for found in (load_model(tmp_path / "m.safetensors"), copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert found.percentiles == PERCENTILES and found.digest == model.digest
    assert model.digest != _model(None).digest != _model(Percentiles.of("others", PERCENTILES.scores)).digest


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ([], "must be a JSON object of about and scores"), ({"about": "x"}, "must be a JSON object"),
        ({"about": "x", "scores": [0.1]}, "at least two"), ({"about": "x", "scores": [0.2, 0.1]}, "must ascend"),
        ({"about": "x", "scores": [0.2, 1.1]}, "from 0 to 1"), ({"about": "x", "scores": [0.1, None]}, "from 0 to 1"),
        ({"about": "", "scores": [0.1, 0.2]}, "about must be text"), ({"about": "x", "scores": [False, 0.2]}, "from 0 to 1"),
        ({"about": "x", "scores": [0.1, float("nan")]}, "from 0 to 1"),
    ],
)  # fmt: skip
def test_a_wrong_one_in_a_file_is_refused_by_name(tmp_path, reference, message):
    path = tmp_path / "m.safetensors"
    save_model(_model(), path)
    tensors = {name: value.copy() for name, value in load_file(path).items()}
    with safe_open(path, "numpy") as file:
        header = json.loads(file.metadata()["dcnn_fast"])
    save_file(tensors, path, {"dcnn_fast": json.dumps({**header, "reference": reference})})
    with pytest.raises(ModelError, match=message):
        load_model(path)


@pytest.mark.parametrize("form", [CSV, JSONL], ids=["csv", "jsonl"])
def test_rows_hold_it(form):
    score = replace(Scorer(_model(), samples=3).score(PHOTO), path="p.png", percentile=62.5)
    for each in (score, replace(score, percentile=None)):
        (found,) = form.read(form.head + form.line(each))
        assert found.percentile == each.percentile
    with pytest.raises(ValueError, match="percentile must be from 0 to 100"):
        form.read(form.head + form.line(replace(score, percentile=101.0)))


WHOLE = replace(small_lite.LITE, plane=33)


@pytest.mark.parametrize(("column", "varied"), [(small_lite.LITE, True), (small_lite.LOCAL, True), (WHOLE, False)])
def test_the_table_shows_it_and_a_spread_only_where_views_can_disagree(tmp_path, column, varied):
    Image.fromarray(PHOTO).save(tmp_path / "p.png")
    assert small_lite.network(column).windows_differ == varied
    net = small_lite.model(column).net
    save_model(Model(net, {}, PERCENTILES), tmp_path / "m.safetensors")
    arguments = [
        "score",
        str(tmp_path / "p.png"),
        "--model",
        str(tmp_path / "m.safetensors"),
        "--html",
        str(tmp_path / "s.html"),
    ]
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    assert "percentile" in result.output and ("std over samples" in result.output) == varied
    assert " · percentile " in (tmp_path / "s.html").read_text()
