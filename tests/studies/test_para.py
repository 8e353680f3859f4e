"""The study of PARA on drawn photographs: its tables, its steps by the commands, and its conclusions."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dcnn_fast.data import load_set, synthetic
from studies.para import report
from studies.para.collection import FOLDS, doubled, read_collection
from studies.para.recipe import FULL, QUICK
from studies.para.report import Found
from studies.para.steps import IMAGENET, steps
from tests import warm
from tests.lite_files import lite_state

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def para(tmp_path_factory):
    """A copy with 160 photographs, one of which lies in both parts."""
    folder = synthetic.make("para", tmp_path_factory.mktemp("study") / "para", images=160, sides=(60, 70))
    test = next((folder / "imgs").rglob("iaa_pub4_.jpg"))
    pixels = np.asarray(Image.open(test))
    Image.fromarray(pixels).save(next((folder / "imgs").rglob("iaa_pub5_.jpg")), quality=80)
    return folder


@pytest.fixture(scope="module")
def collection(para):
    return read_collection(para, 1)


def test_what_lies_in_both_parts_is_not_learnt_from(collection):
    names = [photograph.name for photograph in collection.photographs]
    assert collection.doubles == 1 and "iaa_pub5_.jpg" not in names and "iaa_pub4_.jpg" in names
    assert len(collection.train) == 119 and len(collection.test) == len(collection.annotated) == 40
    rng = np.random.default_rng(0)
    thumbnails = rng.uniform(0, 255, (3, 256)).astype(np.float32)
    brighter = thumbnails[1] * 0.9 + 20 + rng.normal(size=256)
    assert doubled(np.stack([*thumbnails, brighter]), thumbnails[1:2]).tolist() == [False, True, False, True]
    assert doubled(thumbnails[:0], thumbnails).tolist() == []


def test_tables_are_what_the_commands_read(collection, tmp_path):
    rows = collection.drawn(24, seed=3)
    assert set(rows) <= set(collection.drawn(60, seed=3)) <= set(collection.train) and len(set(rows)) == 24
    path = collection.table(tmp_path / "t.csv", rows, collection.test)
    data = load_set(path, threshold=collection.threshold, attributes=True)
    assert [e.source for e in data.train] == [collection.files[row] for row in rows] and not data.missing
    assert [e.label for e in data.test] == (collection.ratings[collection.test] > collection.threshold).tolist()
    assert all(e.attribute == -1 for e in data.train) and all(e.attribute >= 0 for e in data.test)
    values = np.array([collection.photographs[row].attributes for row in collection.annotated])
    best = ((values - values.mean(axis=0)) / values.std(axis=0)).argmax(axis=1)
    names = ("quality", "composition", "color", "depth_of_field", "light", "content")
    assert [data.attributes[e.attribute] for e in data.test] == [names[i] for i in best]


def test_folds_share_no_session(collection):
    held = []
    for number in range(FOLDS):
        train, out = collection.fold(number)
        assert not set(collection.sessions[train]) & set(collection.sessions[out])
        assert sorted([*train, *out]) == sorted(collection.annotated)
        held += out.tolist()
    assert sorted(held) == sorted(collection.annotated)


@pytest.mark.parametrize("recipe", [FULL, QUICK], ids=["full", "quick"])
def test_a_step_comes_behind_what_it_starts_from_and_what_is_judged_was_not_learnt_from(collection, recipe):
    found = steps(collection, replace(recipe, fewest=4, sizes={24: 3, 60: 2}))
    done = {IMAGENET: set()}
    for step in found:
        assert step.name not in done and not set(step.train) & set(step.test)
        assert all(name in done for name, _ in step.starts)
        learnt = set(step.train).union(*(done[name] for name, _ in step.starts))
        assert not learnt & set(step.test), step.name
        done[step.name] = learnt
    kinds = {step.group for step in found}
    assert {f"{kind} {size}" for kind in ("SCNN local", "SCNN warp", "DCNN", "RDCNN") for size in (24, 60, 119)} <= kinds
    assert {"rating alone", "rating and attribute", "cats", "adapt"} <= kinds
    assert [step.group for step in found[:5]] == [
        "SCNN local 119", "SCNN warp 119", "DCNN 119", "Lite0 column 119", "RDCNN 119",
    ]  # fmt: skip
    assert {step.seed for step in found} == set(range(recipe.seeds))


def command(*words):
    """Run the study in its own process, which trains and judges in processes of `warm.python()`."""
    program = f"import runpy, sys; sys.executable = {warm.python()!r}; runpy.run_module('studies.para', run_name='__main__')"
    return warm.run(program, words, cwd=ROOT)


def test_the_commands_train_judge_and_go_on(para, tmp_path):
    """Local and DCNN with 24 photographs, then the other models; a finished step is not repeated."""
    torch.save(lite_state("lite0"), tmp_path / "lite0.pth")
    place = ("--out", tmp_path / "out", "--quick")
    weights = ("--lite", tmp_path / "lite0.pth")
    first = command("run", para, *place, *weights, "--only", "scnn-*-24-seed0", "--only", "dcnn-24-*")
    assert first.returncode == 0, first.stderr
    assert [line.split(":")[0] for line in first.stdout.splitlines()] == [
        "scnn-local-24-seed0",
        "scnn-warp-24-seed0",
        "dcnn-24-seed0",
    ]
    second = command("run", para, *place, *weights, "--only", "*-24-seed0")
    assert second.returncode == 0, second.stderr
    assert [line.split(":")[0] for line in second.stdout.splitlines()] == ["lite0-24-seed0", "rdcnn-24-seed0"]
    listed = command("run", para, *place, *weights, "--list").stdout.splitlines()
    assert sum(" done " in line for line in listed) == 5
    told = command("report", para, *place)
    assert told.returncode == 0, told.stderr
    found = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (tmp_path / "out" / "report.md").read_text() == report.markdown(found) and report.markdown(found) in told.stdout
    groups = ("SCNN local", "SCNN warp", "AVG_SCNN", "DCNN", "Lite0 column", "RDCNN", "Lite0 + ridge")
    assert {f"{group} 24" for group in groups} | {"Lite0 + ridge 119", "shipped model", "larger class"} == set(found["models"])
    assert found["photographs"] == {"train": 119, "test": 40, "in both": 1}
    with (tmp_path / "out" / "steps" / "dcnn-24-seed0" / "predictions.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 40


def test_a_folder_holds_one_study(para, tmp_path):
    """Tiny networks are not mistaken for large ones, nor are results with other photographs or weights for these."""
    (tmp_path / "w.pth").write_bytes(b"no weights")
    (tmp_path / "v.pth").write_bytes(b"others")
    place = ("--out", tmp_path / "out")
    assert command("run", para, *place, "--quick", "--lite", tmp_path / "w.pth").returncode == 1  # it has claimed the folder
    for words, what in (
        (("run", para, *place, "--lite", tmp_path / "w.pth"), "sizes"),
        (("run", para, *place, "--quick", "--lite", tmp_path / "v.pth"), "weights"),
        (("report", para, *place), "sizes"),
    ):
        found = command(*words)
        assert found.returncode == 2 and f"holds a study of other {what}" in found.stderr, found.stderr


def test_networks_of_folds_are_compared_within_their_folds(collection):
    """Networks that each rank their own fold perfectly lose nothing by differing between folds."""
    values = np.full(len(collection.ratings), np.nan)
    for number in range(FOLDS):
        rows = collection.fold(number)[1]
        values[rows] = collection.ratings[rows] + (0, 9, -9)[number]
    alone = np.where(np.isnan(values), np.nan, 0.5)
    part = values.copy()
    part[collection.fold(0)[1]] = np.nan
    told = report.figures(collection, QUICK, [Found("rating and attribute", 0, values), Found("rating alone", 0, alone)])
    (difference,) = told["differences"].values()
    assert difference["value"] == pytest.approx(0.5)
    assert not report.figures(collection, QUICK, [Found("rating and attribute", 0, values), Found("rating alone", 0, part)])[
        "differences"
    ]


def test_differences_are_of_the_same_seeds(collection):
    high = (collection.ratings > collection.threshold).astype(float)
    found = [Found("DCNN 24", 0, 1 - high), Found("DCNN 24", 1, high), Found("SCNN local 24", 1, high)]
    (difference,) = report.figures(collection, QUICK, found)["differences"].values()
    assert difference["value"] == 0 and difference["seeds"] == 1
    assert not report.figures(collection, QUICK, [found[0], found[2]])["differences"]


def test_a_wrong_call_is_named(para, tmp_path):
    (tmp_path / "w.pth").write_bytes(b"no weights")
    place = ("--out", tmp_path / "out", "--quick", "--lite", tmp_path / "w.pth")
    for words, status, why in (
        (("run", tmp_path / "nothing", *place), 2, "a copy of PARA must have this file"),
        (("run", para, *place, "--only", "scnn"), 2, "only must name steps (--list prints them), got scnn"),
        (("run", para, *place, "--only", "scnn-local-24-*"), 1, "error: convert"),
    ):
        found = command(*words)
        assert found.returncode == status and why in found.stderr, found.stderr
        assert "Traceback" not in found.stderr


def test_claims_follow_from_the_intervals(collection):
    """Three networks: one knows the ratings, one half knows them, and one knows nothing."""
    rng = np.random.default_rng(1)
    high = (collection.ratings > collection.threshold).astype(float)
    noise = [rng.uniform(size=len(high)) for _ in range(3)]
    found = [
        Found("SCNN local 24", 0, noise[0]), Found("SCNN warp 24", 0, 0.4 * high + 0.6 * noise[1]),
        Found("AVG_SCNN 24", 0, 0.4 * high + 0.6 * noise[1]), Found("DCNN 24", 0, 0.8 * high + 0.2 * noise[2]),
        Found("RDCNN 24", 0, 0.8 * high + 0.2 * noise[2]), Found("DCNN 24", 1, 0.8 * high + 0.2 * noise[0]),
    ]  # fmt: skip
    told = report.figures(collection, QUICK, found)
    assert told["models"]["DCNN 24"]["seeds"] == 2 and told["models"]["DCNN 24"]["AUC"]["value"] == 1.0
    verdicts = {each["claim"]: report.verdict(each) for each in told["differences"].values()}
    assert verdicts["two columns are better than one, local (III-B)"] == "holds"
    assert verdicts["a frozen column helps (III-E)"] == "not decided"
    assert verdicts["the warped view is better than the local one (Table I)"] == "holds"
    assert report.verdict({"interval": [-0.2, -0.1]}) == "the opposite holds"
    low, high_end = told["models"]["SCNN warp 24"]["AUC"]["interval"]
    assert low < told["models"]["SCNN warp 24"]["AUC"]["value"] < high_end


def test_the_documents_say_what_was_measured():
    found = json.loads((ROOT / "docs" / "para-study.json").read_text())
    assert report.markdown(found) in (ROOT / "docs" / "para-study.md").read_text()
    assert found["photographs"] == {"train": 28_172, "test": 3000, "in both": 48}
