"""`dcnn-fast evaluate`: the measures of models on a data set, and what it writes."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from dcnn_fast.cli.main import app
from dcnn_fast.data import load_set, synthetic
from dcnn_fast.evaluation import average, measure, predict
from dcnn_fast.nets import Model, build, load_model, save_model, second_task
from dcnn_fast.spec import STYLES
from tests import small


def run(*arguments):
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)])


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Two models and a set with one photograph that cannot be read."""
    root = tmp_path_factory.mktemp("evaluate")
    for name, seed in (("a", 1), ("b", 2)):
        save_model(Model(build(small.network(), seed=seed)), root / f"{name}.safetensors")
    synthetic.make("csv", root / "set", images=64, corrupt=4, sides=(30, 40))
    return root


def test_it_says_what_the_library_measures(place, tmp_path):
    found = run(
        place / "a.safetensors", place / "b.safetensors", place / "set" / "ratings.csv", "--average", "--views", 3,
        "--draws", 50, "--csv", tmp_path / "o.csv", "--json", tmp_path / "o.json", "--pictures", tmp_path / "p",
    )  # fmt: skip
    data = load_set(place / "set" / "ratings.csv")
    ours = [predict(load_model(place / f"{name}.safetensors"), data.test, views=3) for name in "ab"]
    assert found.exit_code == (1 if ours[0].errors else 0), found.output
    saved = json.loads((tmp_path / "o.json").read_text())["models"]
    assert list(saved) == ["a", "b", "average"]
    for name, predictions in zip(saved, [*ours, average(ours)], strict=True):
        expected = measure(predictions, draws=50).to_dict()
        for key in ("accuracy", "auc", "majority", "srcc", "confusion"):
            assert saved[name][key] == expected[key]
        assert f"{expected['accuracy']:.4f} (" in found.stdout
    with (tmp_path / "o.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == sum(len(p.examples) + len(p.errors) for p in [*ours, average(ours)])
    first = next(row for row in rows if row["model"] == "a" and not row["error"])
    assert float(first["p_high"]) == pytest.approx(ours[0].probs[0, 1], abs=1e-6)
    assert first["right"] == str(int(first["true"] == first["named"]))
    names = {path.name for path in (tmp_path / "p").iterdir()}
    assert {"ranked-a.jpg", "categories-b.jpg", "distribution-average.png", "filters-a-local-0.png"} <= names
    wins = (np.array([p.right for p in ours])[0] & ~ours[1].right).any()
    assert ("a-beats-b.jpg" in names) == wins


def test_what_cannot_be_read_is_named_and_fails_the_command(place):
    found = run(place / "a.safetensors", place / "set" / "ratings.csv", "--views", 1, "--split", "all", "--draws", 0)
    assert found.exit_code == 1
    assert found.output.count("unreadable: images/") == 4


def test_styles_have_average_precisions(tmp_path):
    root = synthetic.make("ava", tmp_path / "ava", images=64, sides=(30, 40))
    save_model(Model(build(replace(small.network(("local",)), labels=STYLES), seed=1)), tmp_path / "s.safetensors")
    found = run(tmp_path / "s.safetensors", root, "--kind", "ava-style", "--views", 1, "--draws", 0, "--ap", "voc07")
    assert found.exit_code == 0, found.output
    assert "1 photographs have no label" in found.stdout and "average precision" in found.stdout and "hdr" in found.stdout


def test_wrong_calls_leave_with_2(place, tmp_path):
    data = place / "set" / "ratings.csv"
    for arguments, message in [
        ((data,), "there must be at least one model file"),
        ((place / "a.safetensors", data, "--split", "dev"), "--split must be one of test, train, all; got 'dev'"),
        ((place / "a.safetensors", data, "--ap", "coco"), "--ap must be one of"),
        ((tmp_path / "none.safetensors", data), "no such file"),
        ((place / "a.safetensors", tmp_path / "none"), "path must exist"),
        ((place / "a.safetensors", data, "--views", "0"), "views must be an integer from 1"),
        ((place / "a.safetensors", data, "--csv", tmp_path / "none" / "o.csv"), "no such folder"),
        ((place / "a.safetensors", data, "--json", tmp_path / "none" / "o.json"), "no such folder"),
        ((shutil.copy(place / "a.safetensors", tmp_path / "average.safetensors"), data, "--average"), "may be called average"),
    ]:
        found = run(*arguments)
        assert found.exit_code == 2 and message in found.output, found.output
    save_model(Model(build(small.network(labels=("cat", "dog")), seed=1)), tmp_path / "c.safetensors")
    found = run(tmp_path / "c.safetensors", data)
    assert found.exit_code == 2 and "labels must be the data's, low, high; got cat, dog" in found.output


def test_photographs_are_routed_to_the_model_of_what_a_classifier_says_they_show(place, tmp_path):
    """Names are given to the models; what the classifier names and no model is called goes to the first."""
    data = load_set(place / "set" / "ratings.csv", by="category")
    assert len(data.labels) == 4
    classifier = tmp_path / "category.safetensors"
    save_model(Model(build(small.network(labels=data.labels), seed=3)), classifier)
    said = predict(load_model(classifier), data.test, views=2)
    names = {e.key: said.labels[i] for e, i in zip(said.examples, said.named, strict=True)}
    adapted = max(set(names.values()), key=list(names.values()).count)
    assert 0 < list(names.values()).count(adapted) < len(names)
    models = (f"generic={place / 'a.safetensors'}", f"{adapted}={place / 'b.safetensors'}")
    options = ("--views", 2, "--draws", 0, "--csv", tmp_path / "o.csv")
    found = run(*models, place / "set" / "ratings.csv", "--route", classifier, *options)
    assert found.exit_code in (0, 1), found.output
    with (tmp_path / "o.csv").open() as file:
        rows = {(row["model"], row["key"]): row["p_high"] for row in csv.DictReader(file) if not row["error"]}
    routed = {key: value for (name, key), value in rows.items() if name == "routed"}
    assert routed.keys() == names.keys()
    for key, value in routed.items():
        assert value == rows[adapted if names[key] == adapted else "generic", key]
    wrong = run(f"routed={place / 'a.safetensors'}", place / "set" / "ratings.csv", "--route", classifier)
    assert wrong.exit_code == 2 and "no model may be called routed" in wrong.output


def test_a_classifier_of_categories_is_measured(place, tmp_path):
    labels = load_set(place / "set" / "ratings.csv", by="category").labels
    save_model(Model(build(small.network(labels=labels), seed=3)), tmp_path / "c.safetensors")
    found = run(tmp_path / "c.safetensors", place / "set" / "ratings.csv", "--by", "category", "--views", 1, "--draws", 0)
    assert found.exit_code in (0, 1) and all(label in found.stdout for label in labels)
    wrong = run(tmp_path / "c.safetensors", place / "set" / "ratings.csv", "--by", "beauty")
    assert wrong.exit_code == 2 and "by must be one of quality, category" in wrong.output


def test_the_second_task_of_a_model_is_measured_on_a_set_of_its_labels(tmp_path):
    ava = synthetic.make("ava", tmp_path / "ava", images=64, sides=(30, 40))
    model = Model(build(small.network(attributes=STYLES), seed=1))
    save_model(model, tmp_path / "both.safetensors")
    found = run(
        tmp_path / "both.safetensors", ava, "--kind", "ava-style", "--views", 2, "--draws", 0, "--json", tmp_path / "o.json"
    )
    assert found.exit_code == 0, found.output
    saved = json.loads((tmp_path / "o.json").read_text())
    expected = measure(predict(second_task(model), load_set(ava, "ava-style").test, views=2))
    assert saved["labels"] == list(STYLES) and saved["models"]["both"]["accuracy"] == expected.accuracy
    with torch.no_grad():
        windows = [torch.randint(0, 256, (3, 3, 24, 24)).byte() for _ in range(2)]
        torch.testing.assert_close(second_task(model).net(*windows), model.net.eval()(*windows)[1])
    with pytest.raises(ValueError, match="model must have learnt attributes"):
        second_task(second_task(model))


def test_confusions_and_average_precisions_stand_in_one_table(place):
    found = run(place / "a.safetensors", place / "set" / "ratings.csv", "--views", 1, "--draws", 0)
    assert "called high" in found.stdout and "average precision" in found.stdout
