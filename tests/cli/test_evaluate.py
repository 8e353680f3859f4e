"""`dcnn-fast evaluate`: the measures of models on a data set, and what it writes."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from dcnn_fast.cli.main import app
from dcnn_fast.data import load_set, synthetic
from dcnn_fast.evaluation import average, measure, predict
from dcnn_fast.nets import Model, build, load_model, save_model, second_task
from dcnn_fast.networks import STYLES
from tests import small
from tests.cli.command import environment, main
from tests.export.schemas import require_valid


def run(*arguments):
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)])


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Two models and a set with one unreadable photograph."""
    root = tmp_path_factory.mktemp("evaluate")
    for name, seed in (("a", 1), ("b", 2)):
        save_model(Model(build(small.network(), seed=seed)), root / f"{name}.safetensors")
    synthetic.make("csv", root / "set", images=64, corrupt=4, sides=(30, 40))
    return root


def test_it_says_what_the_library_measures(place, tmp_path):
    found = run(
        place / "a.safetensors", place / "b.safetensors", place / "set" / "ratings.csv", "--average", "--samples", 3,
        "--resamples", 50, "--csv", tmp_path / "o.csv", "--json", tmp_path / "o.json", "--pictures", tmp_path / "p",
    )  # fmt: skip
    data = load_set(place / "set" / "ratings.csv", unsplit="test")
    ours = [predict(load_model(place / f"{name}.safetensors"), data.test, samples=3) for name in "ab"]
    assert found.exit_code == (1 if ours[0].errors else 0), found.output
    require_valid("measures.v1", json.loads((tmp_path / "o.json").read_text()))
    saved = json.loads((tmp_path / "o.json").read_text())["models"]
    assert list(saved) == ["a", "b", "average"]
    for name, predictions in zip(saved, [*ours, average(ours)], strict=True):
        expected = measure(predictions, resamples=50).to_dict()
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
    found = run(place / "a.safetensors", place / "set" / "ratings.csv", "--samples", 1, "--split", "all", "--resamples", 0)
    assert found.exit_code == 1
    assert found.output.count("unreadable: images/") == 4


def test_styles_have_average_precisions(tmp_path):
    root = synthetic.make("ava", tmp_path / "ava", images=64, sides=(30, 40))
    save_model(Model(build(replace(small.network(("local",)), labels=STYLES), seed=1)), tmp_path / "s.safetensors")
    found = run(tmp_path / "s.safetensors", root, "--kind", "ava-style", "--samples", 1, "--resamples", 0, "--ap", "voc07")
    assert found.exit_code == 0, found.output
    assert "1 photographs have no label" in found.stdout and "average precision" in found.stdout and "hdr" in found.stdout


def test_wrong_calls_leave_with_2(place, tmp_path):
    data = place / "set" / "ratings.csv"
    for arguments, message in [
        ((data,), "there must be at least one model file"),
        ((place / "a.safetensors", data, "--split", "dev"), "--split must be one of test, val, train, all; got 'dev'"),
        ((place / "a.safetensors", data, "--ap", "coco"), "--ap must be one of"),
        ((tmp_path / "none.safetensors", data), "no such file"),
        ((place / "a.safetensors", tmp_path / "none"), "path must exist"),
        ((place / "a.safetensors", data, "--samples", "0"), "samples must be an integer from 1"),
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
    """A model is chosen by the classifier's label; photographs whose label names no model go to the first one."""
    data = load_set(place / "set" / "ratings.csv", by="category", unsplit="test")
    assert len(data.labels) == 4
    classifier = tmp_path / "category.safetensors"
    save_model(Model(build(small.network(labels=data.labels), seed=3)), classifier)
    said = predict(load_model(classifier), data.test, samples=2)
    names = {e.key: said.labels[i] for e, i in zip(said.examples, said.named, strict=True)}
    adapted = max(set(names.values()), key=list(names.values()).count)
    assert 0 < list(names.values()).count(adapted) < len(names)
    models = (f"generic={place / 'a.safetensors'}", f"{adapted}={place / 'b.safetensors'}")
    options = ("--samples", 2, "--resamples", 0, "--csv", tmp_path / "o.csv")
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
    found = run(tmp_path / "c.safetensors", place / "set" / "ratings.csv", "--by", "category", "--samples", 1, "--resamples", 0)
    assert found.exit_code in (0, 1) and all(label in found.stdout for label in labels)
    wrong = run(tmp_path / "c.safetensors", place / "set" / "ratings.csv", "--by", "beauty")
    assert wrong.exit_code == 2 and "by must be one of quality, category" in wrong.output


def test_the_second_task_of_a_model_is_measured_on_a_set_of_its_labels(tmp_path):
    ava = synthetic.make("ava", tmp_path / "ava", images=64, sides=(30, 40))
    model = Model(build(small.network(attributes=STYLES), seed=1))
    save_model(model, tmp_path / "both.safetensors")
    found = run(
        tmp_path / "both.safetensors",
        ava,
        "--kind",
        "ava-style",
        "--samples",
        2,
        "--resamples",
        0,
        "--json",
        tmp_path / "o.json",
    )
    assert found.exit_code == 0, found.output
    saved = json.loads((tmp_path / "o.json").read_text())
    require_valid("measures.v1", saved)
    expected = measure(predict(second_task(model), load_set(ava, "ava-style").test, samples=2))
    assert saved["labels"] == list(STYLES) and saved["models"]["both"]["accuracy"] == expected.accuracy
    with torch.no_grad():
        windows = [torch.randint(0, 256, (3, 3, 24, 24)).byte() for _ in range(2)]
        torch.testing.assert_close(second_task(model).net(*windows), model.net.eval()(*windows)[1])
    with pytest.raises(ValueError, match="model must have learnt attributes"):
        second_task(second_task(model))


def test_confusions_and_average_precisions_stand_in_one_table(place):
    found = run(place / "a.safetensors", place / "set" / "ratings.csv", "--samples", 1, "--resamples", 0)
    assert "called high" in found.stdout and "average precision" in found.stdout


def command(*arguments, **options):
    """Run the command in its own process."""
    program = [*main(), "evaluate", *map(str, arguments)]
    variables = environment(options.pop("env", {}))
    return subprocess.run(program, env=variables, text=True, capture_output=True, check=False, timeout=120, **options)


QUICK = ("--samples", 1, "--resamples", 0)


@pytest.fixture
def copied(place, tmp_path):
    """A copy of set and model that the test may spoil, and the content of each file."""
    shutil.copytree(place / "set", tmp_path / "set")
    shutil.copy(place / "a.safetensors", tmp_path / "a.safetensors")
    return tmp_path, {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def test_no_input_is_written_over(copied):
    root, before = copied
    data, model = root / "set" / "ratings.csv", root / "a.safetensors"
    photograph = next((root / "set" / "images").iterdir())
    (root / "link.csv").symlink_to(data)
    (root / "hard.csv").hardlink_to(data)
    for option, path in (
        ("--csv", data), ("--json", data), ("--csv", model), ("--json", model), ("--csv", photograph),
        ("--csv", root / "link.csv"), ("--json", root / "hard.csv"), ("--pictures", photograph.parent), ("--pictures", data),
        ("--csv", root / "set"),
    ):  # fmt: skip
        for overwrite in ((), ("--overwrite",)):
            found = run(model, data, *QUICK, option, path, *overwrite)
            assert found.exit_code == 2 and "Traceback" not in found.output, (option, path, found.output)
    both = run(model, data, *QUICK, "--csv", root / "new", "--json", root / "new")
    assert both.exit_code == 2 and "is the file of --csv as well" in both.output.replace("\n", " ")
    (root / "link.csv").unlink()
    (root / "hard.csv").unlink()
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


def test_what_an_earlier_evaluation_wrote_is_replaced_only_when_asked_to(place, tmp_path):
    outputs = ("--csv", tmp_path / "o.csv", "--json", tmp_path / "o.json", "--pictures", tmp_path / "p")
    arguments = (place / "a.safetensors", place / "set" / "ratings.csv", *QUICK)
    first = run(*arguments, *outputs)
    assert first.exit_code in (0, 1), first.output
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for option, path in zip(outputs[::2], outputs[1::2], strict=True):
        again = run(*arguments, option, path)
        assert again.exit_code == 2 and "exists; --overwrite replaces it" in again.output.replace("\n", " "), again.output
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    again = run(*arguments, *outputs, "--overwrite")
    assert again.exit_code == first.exit_code and before.keys() == {p for p in tmp_path.rglob("*") if p.is_file()}
    (tmp_path / "p" / "ranked-a.jpg").write_bytes(b"a photograph of mine")
    again = run(*arguments, *outputs, "--overwrite")
    assert again.exit_code == 2 and "holds something else than a picture of this program" in again.output.replace("\n", " ")
    assert (tmp_path / "p" / "ranked-a.jpg").read_bytes() == b"a photograph of mine"


def test_pictures_are_no_labels_of_a_set_of_folders(place, tmp_path):
    root = synthetic.make("folders", tmp_path / "set", images=64, sides=(30, 40))
    found = run(place / "a.safetensors", root, *QUICK, "--pictures", root / "pictures")
    assert found.exit_code == 2 and "is in the set" in found.output and not (root / "pictures").exists()


def test_each_output_fails_alone(place, tmp_path):
    """A full disk, for one output that is written straight and for all files."""
    arguments = (place / "a.safetensors", place / "set" / "ratings.csv", *QUICK)
    found = command(*arguments, "--csv", "/dev/full", "--json", tmp_path / "o.json", "--pictures", tmp_path / "p")
    assert found.returncode == 3 and "--csv /dev/full: No space left on device" in found.stderr
    assert json.loads((tmp_path / "o.json").read_text())["models"] and (tmp_path / "p" / "distribution-a.png").exists()
    assert "accuracy" in found.stdout and "Traceback" not in found.stderr

    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))"
    code = f"{limited}; from dcnn_fast.cli.main import run; run()"
    options = ("--json", tmp_path / "n.json", "--pictures", tmp_path / "n")
    program = [*main(code), "evaluate", *map(str, (*arguments, *options))]
    found = subprocess.run(program, capture_output=True, text=True, check=False, timeout=120)
    assert found.returncode == 3 and "distribution-a.png: File too large" in found.stderr and "Traceback" not in found.stderr
    assert json.loads((tmp_path / "n.json").read_text())["models"] and "accuracy" in found.stdout
    assert not [path for path in tmp_path.rglob("*") if "partial" in path.name]


def test_standard_output_may_be_asked_for_closed_full_or_left(place):
    arguments = (place / "a.safetensors", place / "set" / "ratings.csv", *QUICK)
    found = command(*arguments, "--csv", "-")
    assert found.stdout.startswith("model,key,true,named,right,p_low,p_high,") and "accuracy" in found.stderr
    for redirection, status in ((">&-", 3), (">/dev/full", 3), ("<&-", 0), ("2>&-", 0)):
        process = ["bash", "-c", f'"$0" "$@" {redirection}', *main(), "evaluate", *map(str, arguments)]
        found = subprocess.run(process, capture_output=True, text=True, check=False, timeout=120)
        assert found.returncode in (status, status or 1) and "Traceback" not in found.stderr, (redirection, found)


def test_what_files_say_is_printed_as_text(tmp_path):
    """Rich's markup, escape sequences, dollars and letters missing from the terminal, in labels, categories and names."""
    labels = ("[/x]", "\x1b[31m$a$ ü")
    (tmp_path / "set").mkdir()
    rows = []
    for i in range(12):
        Image.fromarray(np.full((30, 40, 3), 20 * i, np.uint8)).save(tmp_path / "set" / f"[b]{i}ü.png")
        rows.append((f"[b]{i}ü.png", labels[i % 2], "[/]\x1b]0;x\x07", "test" if i % 3 else "train"))
    (tmp_path / "set" / "[b]1ü.png").write_bytes(b"no picture")
    with (tmp_path / "set" / "r.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("path", "label", "category", "split"), *rows])
    model = tmp_path / "[red]\x1bü.safetensors"
    save_model(Model(build(small.network(labels=tuple(sorted(labels))), seed=1)), model)
    for encoding in ("ascii", "utf-8"):
        options = ("--csv", tmp_path / f"{encoding}.csv", "--pictures", tmp_path / encoding)
        found = command(model, tmp_path / "set" / "r.csv", *QUICK, *options, env={"PYTHONIOENCODING": encoding})
        assert found.returncode == 1 and "Traceback" not in found.stderr, found.stderr
        assert "[/x]" in found.stdout and "[red]" in found.stdout and "unreadable: [b]1" in found.stderr
        assert "\x1b" not in found.stdout + found.stderr and "\x07" not in found.stdout + found.stderr
        assert ("\\xfc" in found.stdout) == (encoding == "ascii")
        assert len(list((tmp_path / encoding).iterdir())) == 5
    assert (tmp_path / "ascii.csv").read_bytes() == (tmp_path / "utf-8.csv").read_bytes()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_end_it_on_one_line(place, tmp_path, number):
    arguments = (place / "a.safetensors", place / "set" / "ratings.csv", "--split", "all", "--csv", tmp_path / "o.csv")
    program = [*main(), "evaluate", *map(str, arguments)]
    process = subprocess.Popen(program, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    while not list(tmp_path.glob(".*.lock")):  # the outputs are reserved just before the first photograph is read
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number and "interrupted" in errors and "Traceback" not in errors
    assert not list(tmp_path.iterdir())


def test_a_lock_that_is_another_output_or_something_else_is_refused(place, tmp_path):
    arguments = (place / "a.safetensors", place / "set" / "ratings.csv", "--samples", 1, "--resamples", 0)
    found = run(*arguments, "--csv", tmp_path / ".e.json.lock", "--json", tmp_path / "e.json")
    assert found.exit_code == 2 and "the lock of" in found.output, found.output
    assert os.listdir(tmp_path) == []
    (tmp_path / ".e.json.lock").write_text("precious")
    found = run(*arguments, "--json", tmp_path / "e.json")
    assert found.exit_code == 2 and "cannot be locked: its lock would be .e.json.lock" in found.output
    assert os.listdir(tmp_path) == [".e.json.lock"] and (tmp_path / ".e.json.lock").read_text() == "precious"
