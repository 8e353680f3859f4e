"""`dcnn-fast export`: the files, their check, the example that reads them, and failures."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image

from dcnn_fast import Scorer, load_model, save_model
from dcnn_fast.export import CheckError, Export, check, known_difference, measured_difference
from dcnn_fast.export.about import properties
from dcnn_fast.export.darktable import package, package_id
from dcnn_fast.export.expected import given_of, probabilities
from dcnn_fast.export.programs import onnx_file
from dcnn_fast.scoring import shipped_model
from tests import injected, small, small_lite
from tests.cli.command import PROGRAM, main, run
from tests.export.networks import photograph
from tests.export.schemas import require_valid

ROOT = Path(__file__).parents[2]
FILES = ["expected.json", "expected.png", "planes.onnx", "single.onnx", "windows.onnx", "windows.pt2"]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def save_picture(path, *shape, seed=0):
    Image.fromarray(photograph(*shape, seed=seed)).save(path)
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    save_model(small.model(views=("local", "pad")), path)
    return path


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    """An export with the package for darktable, checked when it was made, and the command's output."""
    folder = tmp_path_factory.mktemp("exports") / "made" / "here"
    done = run("export", model, folder, "--check", "--darktable")
    assert done.returncode == 0, done.stderr
    return folder, done


@pytest.fixture
def copied(exported, tmp_path):
    """A copy that the test may change."""
    return Path(shutil.copytree(exported[0], tmp_path / "copied"))


def test_the_files_are_there_and_pass_in_every_runtime(exported):
    folder, done = exported
    assert names(folder) == sorted([*FILES, "general-dcnn-fast-small.dtmodel"])
    said = [" ".join(line.split()[:-3]) for line in done.stdout.splitlines() if line.split()[-1:] == ["passed"]]
    of_onnx = [f"{kind}.onnx {runtime}" for kind in ("windows", "planes", "single") for runtime in ("ONNX Runtime", "OpenVINO")]
    assert said == [*of_onnx, "windows.pt2 torch.export"]
    assert "failed" not in done.stdout
    assert done.stderr == "how far single.onnx is from fifty samples was not measured: give --photographs\n"


def test_what_is_expected_is_what_the_scorer_gives(exported, model):
    said = json.loads((exported[0] / "expected.json").read_text())
    require_valid("export-expected.v1", said)
    score = Scorer(model).score(exported[0] / "expected.png")
    assert said["planes"] == {"probabilities": list(score.probs.values()), "mean": score.mean, "std": score.std}
    assert score.std > 0 and [column["key"] for column in said["columns"]] == ["local:0", "pad:0"]
    assert sorted(said["files"]) == [name for name in names(exported[0]) if name != "expected.json"]


def test_a_second_export_needs_leave_and_is_the_same_but_for_what_was_measured(exported, model, copied, tmp_path):
    before = {name: (copied / name).read_bytes() for name in names(copied)}
    refused = run("export", model, copied)
    assert refused.returncode == 2 and "exists; --overwrite replaces it" in refused.stderr
    assert {name: (copied / name).read_bytes() for name in names(copied)} == before
    (tmp_path / "photos").mkdir()
    save_picture(tmp_path / "photos" / "a.png", 60, 80)
    done = run("export", model, copied, "--overwrite", "--photographs", tmp_path / "photos")
    assert done.returncode == 0 and re.search(r"from fifty samples on average, .* on 1 photographs", done.stdout), done
    for name in ("windows.onnx", "planes.onnx", "expected.png"):
        assert (copied / name).read_bytes() == before[name], name
    said = metadata(copied / "single.onnx")["difference_from_samples"]
    assert said["photographs"] == 1 and said["largest"] > 0


def metadata(path):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return json.loads(session.get_modelmeta().custom_metadata_map["dcnn_fast"])


def spoilt_weights(folder):
    path = folder / "single.onnx"
    found = onnx.load(path)
    weight = next(each for each in found.graph.initializer if len(each.dims) == 4)
    weight.raw_data = bytes(len(weight.raw_data))
    onnx.save(found, path)


def spoilt_numbers(folder, kind, name):
    said = json.loads((folder / "expected.json").read_text())
    value = said[kind][name]
    said[kind][name] = value + 0.001 if isinstance(value, float) else np.add(value, 0.001).tolist()
    (folder / "expected.json").write_text(json.dumps(said))


def spoilt_picture(folder):
    save_picture(folder / "expected.png", 60, 60)


def spoilt_plane(folder):
    said = json.loads((folder / "expected.json").read_text())
    said["columns"][1]["plane_sha256"] = "0" * 64
    (folder / "expected.json").write_text(json.dumps(said))


def spoilt_offsets(folder):
    said = json.loads((folder / "expected.json").read_text())
    said["columns"][0]["offsets"][7][1] += 1
    (folder / "expected.json").write_text(json.dumps(said))


def without(folder, *path):
    said = json.loads((folder / "expected.json").read_text())
    inner = said
    for name in path[:-1]:
        inner = inner[name]
    del inner[path[-1]]
    (folder / "expected.json").write_text(json.dumps(said))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoilt_weights, "single.onnx is not the file that was exported together with expected.json"),
        (spoilt_picture, "expected.png is not the file that was exported"),
        (spoilt_plane, "the plane of column pad:0 is not the one that was exported"),
        (spoilt_offsets, "the windows of column local:0 are not those that were exported"),
        (lambda folder: (folder / "planes.onnx").unlink(), "planes.onnx is missing"),
        (lambda folder: (folder / "expected.json").unlink(), "expected.json is missing"),
        (lambda folder: (folder / "expected.json").write_text("[1]"), "expected.json is not of an export of this version"),
        (lambda folder: (folder / "expected.json").write_text("{"), "expected.json cannot be read"),
        (lambda folder: (folder / "expected.json").write_text('{"dcnn_fast_expected": 1, "files": {}}'), "another model"),
        (lambda folder: without(folder, "columns"), "columns must be those of the model, 2"),
        (lambda folder: without(folder, "columns", 0), "columns must be those of the model, 2"),
        (lambda folder: without(folder, "samples"), "samples must be 50, got None"),
        (lambda folder: without(folder, "files", "windows.onnx"), "windows.onnx is not the file"),
        (lambda folder: without(folder, "windows"), "windows must have the numbers probabilities"),
        (lambda folder: without(folder, "planes", "std"), "planes must have the numbers probabilities, mean, std"),
    ],
)  # fmt: skip
def test_what_is_not_as_exported_is_named(model, copied, spoil, message):
    spoil(copied)
    with pytest.raises(CheckError, match=re.escape(message)):
        list(check(load_model(model), copied))


@pytest.mark.parametrize(
    ("kind", "name"),
    [("windows", "probabilities"), ("planes", "probabilities"), ("planes", "mean"), ("planes", "std"), ("single", "mean")],
)
def test_a_number_that_is_off_fails_in_every_runtime(model, copied, kind, name):
    spoilt_numbers(copied, kind, name)
    for outcome in check(load_model(model), copied):
        assert outcome.passed == (not outcome.file.startswith(kind)), outcome
        if not outcome.passed:
            assert outcome.difference == pytest.approx(0.001, abs=1e-4)


def test_a_failed_check_is_status_1_and_changes_nothing(model, copied):
    spoilt_numbers(copied, "planes", "mean")
    before = {name: (copied / name).read_bytes() for name in names(copied)}
    done = run("export", model, copied, "--check")
    assert done.returncode == 1 and "failed" in done.stdout and done.stderr == ""
    (copied / "windows.onnx").unlink()
    done = run("export", model, copied, "--check")
    assert done.returncode == 1 and "windows.onnx is missing" in done.stderr and done.stderr.count("\n") == 1
    assert {name: (copied / name).read_bytes() for name in names(copied)}.items() <= before.items()


@pytest.mark.parametrize("options", [["--darktable"], ["--photographs", "."]])
def test_an_export_that_is_only_checked_takes_no_options_of_writing(model, copied, options):
    done = run("export", model, copied, "--check", *options)
    assert done.returncode == 2 and f"{options[0]} needs --overwrite" in done.stderr and done.stderr.count("\n") == 1


def test_an_export_of_another_model_fails_the_check(copied):
    with pytest.raises(CheckError, match="is an export of another model"):
        list(check(small.model(labels=("a", "b")), copied))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["dcnn", "out"], "dcnn: no such file"),
        (["shipped", "photo.png"], "DIR must be a folder"),
        ([".", "out"], "it is a folder"),
        (["photo.png", "out"], "photo.png"),
        (["{model}", "photo.png"], "DIR must be a folder"),
        (["{model}", "out", "--photographs", "nowhere"], "photographs must be a folder"),
        (["{model}", "out", "--photographs", "empty"], "photographs: none could be read"),
        (["{model}", "taken"], "holds something else than an ONNX file of this program"),
        (["{model}", "taken", "--overwrite"], "holds something else than an ONNX file of this program"),
    ],
)
def test_a_wrong_call_is_one_line_and_writes_nothing(model, tmp_path, arguments, message):
    save_picture(tmp_path / "photo.png", 40, 50)
    (tmp_path / "empty").mkdir()
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "planes.onnx").write_bytes(b"somebody's")
    done = run("export", *(each.format(model=model) for each in arguments), cwd=tmp_path)
    assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1, done
    assert not list((tmp_path / "out").glob("*")) and names(tmp_path / "taken") == ["planes.onnx"]


@pytest.mark.parametrize(
    ("missing", "options", "message"),
    [("onnx", [], "export needs the package onnx"), ("onnxruntime", ["--check"], "--check needs the package onnxruntime")],
)
def test_a_missing_package_is_named(model, tmp_path, missing, options, message):
    program = f"import sys; sys.modules[{missing!r}] = None\n{PROGRAM}"
    command = [*main(program), "export", str(model), str(tmp_path / "out"), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and message in done.stderr and "dcnn-fast[export]" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_full_disk_is_named_and_leaves_nothing_half(model, tmp_path):
    if injected.compiler() is None:
        pytest.skip("needs the program cc")
    out = tmp_path / "out"
    out.mkdir()
    with injected.Host(tmp_path) as host:
        full = host.run("full", 2, ["export", model, out], under=out)
    assert full.status == 3 and "No space left on device" in full.stderr
    assert names(out) in ([], ["windows.onnx"])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_model_without_finite_numbers_is_refused_before_anything_is_written(tmp_path, value):
    broken = small.model()
    with torch.no_grad():
        broken.net.label.bias[0] = value
    with pytest.raises(ValueError, match="not finite"):
        next(Export(broken).files())
    empty = small_lite.model()
    empty.net.columns[0].backbone.zero_()
    save_model(empty, tmp_path / "empty.safetensors")
    done = run("export", tmp_path / "empty.safetensors", tmp_path / "out")
    assert done.returncode == 2 and "no weights yet" in done.stderr and done.stderr.count("\n") == 1
    assert not list((tmp_path / "out").iterdir())


def test_the_example_scores_as_the_command_does(exported, model, tmp_path):
    shapes = [(90, 120), (33, 20), (400, 60), (60, 400), (32, 32)]
    pictures = [save_picture(tmp_path / f"{i}.png", *shape, seed=i) for i, shape in enumerate(shapes)]
    command = [sys.executable, str(ROOT / "examples" / "onnx_score.py"), str(exported[0]), *map(str, pictures)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    for said, score in zip(found, Scorer(model).score_many(pictures), strict=True):
        assert abs(said["mean"] - score.mean) < 1e-5, said
        assert all(abs(said["probs"][label] - value) < 1e-5 for label, value in score.probs.items())
    assert "dcnn_fast" not in (ROOT / "examples" / "onnx_score.py").read_text().split('"""', 2)[2].replace('"dcnn_fast', "")


def test_the_difference_of_one_pass_is_that_of_the_photographs(model, tmp_path):
    loaded = load_model(model)
    photos = [save_picture(tmp_path / f"{i}.png", 60 + i, 80, seed=i) for i in range(3)]
    (tmp_path / "bad.png").write_bytes(b"bad")
    found = measured_difference(loaded, [*photos, tmp_path / "bad.png"])
    distances = []
    for path in photos:
        pixels = np.asarray(Image.open(path))
        single = probabilities(loaded, tuple(each.centre for each in given_of(loaded, pixels)))[0, 1]
        distances.append(abs(single - Scorer(loaded).score(path).mean))
    assert found.photographs == 3 and found.samples == 50
    assert abs(found.mean - np.mean(distances)) < 1e-9 and abs(found.largest - max(distances)) < 1e-9


def test_darktable_s_package_is_a_folder_of_its_id(exported):
    loaded = small.model(views=("local", "pad"))
    name = package_id(loaded)
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)
    with zipfile.ZipFile(exported[0] / f"{name}.dtmodel") as archive:
        assert archive.namelist() == [f"{name}/config.json", f"{name}/model.onnx"]
        config, content = json.loads(archive.read(f"{name}/config.json")), archive.read(f"{name}/model.onnx")
    wanted = {"id": name, "task": "general", "backend": "onnx", "num_inputs": 2, "tiling": False}
    assert wanted.items() <= config.items() and config["name"] and config["version"]
    require_valid("export-metadata.v1", config["attributes"])
    assert content == (exported[0] / "single.onnx").read_bytes()
    assert package(loaded, None) == package(loaded, None)


def test_the_shipped_model_needs_no_photographs_and_one_pass_is_its_score(tmp_path):
    loaded = load_model(shipped_model())
    (tmp_path / "single.onnx").write_bytes(
        onnx_file(loaded.net, "single", properties(loaded, "single", known_difference(loaded)))
    )
    said = metadata(tmp_path / "single.onnx")
    assert said["difference_from_samples"]["largest"] == 0 and "same pixels" in said["difference_from_samples"]["why"]
    assert said["preprocessing"]["long_side"] == 500
    pixels = photograph(400, 600)
    session = onnxruntime.InferenceSession(tmp_path / "single.onnx", providers=["CPUExecutionProvider"])
    found = session.run(["mean"], {"plane_warp_0": given_of(loaded, pixels, 1)[0].plane})[0]
    assert abs(found - Scorer(loaded).score(pixels).mean) < 1e-5
