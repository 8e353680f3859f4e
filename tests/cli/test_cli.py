"""The command line, run as a user runs it."""

from __future__ import annotations

import html
import json
import os
import subprocess
import sys
from xml.etree import ElementTree

import pytest
from PIL import Image
from typer.testing import CliRunner

from dcnn_fast import Scorer, engine, load_model, save_model
from dcnn_fast.cli.main import app
from dcnn_fast.nets import Model
from dcnn_fast.ops.head import BACKENDS
from tests.cli.command import FIELDS, environment, main, rows, run, score
from tests.export.schemas import require_valid


def test_a_folder_gives_a_table_and_files(model, folder, tmp_path):
    outputs = [tmp_path / name for name in ("s.csv", "s.jsonl", "s.html")]
    result = score(model, folder, "-r", "--csv", outputs[0], "--jsonl", outputs[1], "--html", outputs[2])
    assert result.returncode == 0, result.stderr
    table = rows(outputs[0])
    assert list(table[0]) == FIELDS
    assert sorted(row["path"] for row in table) == sorted(
        str(p) for p in folder.rglob("*") if p.suffix.lower() in (".png", ".jpg", ".webp")
    )
    ranked = sorted(table, key=lambda row: -float(row["mean"]))
    shown = [line for line in result.stdout.splitlines() if str(folder) in line]
    assert [row["path"] in line for row, line in zip(ranked, shown, strict=True)] == [True] * 5
    lines = [json.loads(line) for line in outputs[1].read_text().splitlines()]
    assert [(line["path"], f"{line['mean']:.6f}") for line in lines] == [(row["path"], row["mean"]) for row in table]
    page = outputs[2].read_text()
    assert page.count("data:image/webp;base64,") == 5
    assert "comma, &#34;quote&#34;.png" in page
    assert "\x1b" not in result.stdout + result.stderr  # no colours and no progress bar in a pipe


def test_rows_do_not_depend_on_order_batch_or_workers(model, folder, tmp_path):
    files = sorted(str(p) for p in folder.rglob("*.*g"))
    first, second = tmp_path / "1.csv", tmp_path / "2.csv"
    assert score(model, *files, "--csv", first).returncode == 0
    assert (
        score(model, *reversed(files), "--csv", second, "--batch", 3, "--workers", 3, env={"OMP_NUM_THREADS": "2"}).returncode
        == 0
    )
    assert sorted(first.read_text().splitlines()) == sorted(second.read_text().splitlines())
    assert first.read_text() != second.read_text()


def test_unreadable_files_are_named_with_a_reason_and_the_status_says_so(model, folder, tmp_path):
    (folder / "bad.jpg").write_bytes(b"\xff\xd8\xff\xe0 no")
    result = score(
        model, folder, folder / "notes.txt", folder / "gone.png", "--csv", tmp_path / "s.csv", "--html", tmp_path / "s.html"
    )
    assert result.returncode == 1
    errors = {os.path.basename(row["path"]): row["error"] for row in rows(tmp_path / "s.csv") if row["error"]}
    assert errors["gone.png"] == "no such file"
    assert set(errors) == {"bad.jpg", "notes.txt", "gone.png"}
    for name, reason in errors.items():
        assert f"{folder / name}: {reason}" in result.stderr
    assert "3 of 7 images could not be scored" in result.stderr
    assert "no such file" in (tmp_path / "s.html").read_text()


def test_paths_come_from_standard_input(model, folder, tmp_path):
    given = f"{folder / 'a.png'}\n\n{folder / 'sub'}\n"
    for arguments in ((), ("-",)):
        result = score(model, *arguments, "--csv", tmp_path / "s.csv", "--overwrite", input=given)
        assert result.returncode == 0, result.stderr
        assert [os.path.basename(row["path"]) for row in rows(tmp_path / "s.csv")] == ["a.png", "d.png"]


def test_a_byte_order_mark_before_the_first_name_is_none_of_it(model, folder):
    result = score(model, "-", input=f"\ufeff{folder}/a.png\n{folder}/b.JPG\n")
    assert result.returncode == 0, result.stderr
    assert "2 images in" in result.stderr


def test_standard_input_beside_other_paths_is_refused(model, folder):
    for paths in (["-", folder], [folder, "-"], ["-", "-"]):
        result = score(model, *paths, input=f"{folder}/a.png\n")
        assert result.returncode == 2
        assert result.stderr.startswith("error: - is standard input") and result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: path.mkdir(), "it is a folder"),
        (os.mkfifo, "not a regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "not a regular file"),
        (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
        (lambda path: None, "no such file"),
    ],
)
def test_a_model_that_is_no_file_is_named_with_the_true_reason(folder, tmp_path, make, why):
    path = tmp_path / "model.safetensors"
    make(path)
    result = score(path, folder)
    assert result.returncode == 2
    assert result.stderr == f"error: {path}: {why}\n"
    for arguments in (["describe", path], ["plan", folder / "a.png", "--model", path], ["explain", path]):
        found = CliRunner().invoke(app, list(map(str, arguments)))
        assert found.exit_code == 2 and found.output == f"error: {path}: {why}\n"


@pytest.mark.parametrize("option", ["--csv", "--jsonl", "--html"])
def test_a_name_that_ends_with_a_slash_is_no_files(model, folder, tmp_path, option):
    result = score(model, folder, option, f"{tmp_path}/new/")
    assert result.returncode == 2
    assert f"error: {option}: {tmp_path}/new/: is the name of a folder" in result.stderr
    assert not (tmp_path / "new").exists()


def test_a_terminal_of_no_width_shows_the_table(model, folder):
    ours, other = os.openpty()
    columns = environment({"COLUMNS": "0"})
    command = [*main(), "score", "--model", str(model), "--samples", "1", "a.png"]
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        process = subprocess.Popen(command, cwd=folder, env=columns, stdin=subprocess.DEVNULL, stdout=other, stderr=other)
        os.close(other)
        said = b""
        try:
            while part := terminal.read(4096):
                said += part
        except OSError:  # Linux reports in this way that no writer is left
            pass
        assert process.wait(60) == 0
    assert b"P(high)" in said and b"a.png" in said


def test_top_limits_the_table_and_the_sheet(model, folder, tmp_path):
    result = score(model, folder, "--top", 2, "--html", tmp_path / "s.html")
    assert sum(str(folder) in line for line in result.stdout.splitlines()) == 2
    assert (tmp_path / "s.html").read_text().count("<figure>") == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--samples", "0"], "samples must be an integer from 1"),
        (["--grid", "3"], "grid must be one of 1, 2, 4, 8"),
        (["--model", "missing.safetensors"], "missing.safetensors: no such file"),
        (["--resume"], "--resume needs --csv or --jsonl"),
        (["--keep-failures", "--csv", "k.csv"], "--keep-failures needs --resume"),
        (["--resume", "--overwrite", "--csv", "k.csv"], "only one of them can be meant"),
        (["--exclude", "/"], "--exclude: a pattern must name something"),
        (["--background", "red"], "--background must be six hexadecimal digits"),
        (["--device", "gpu"], "device must be one of auto, cpu, cuda"),
        (["--csv", "no/such/folder.csv"], "--csv: no/such/folder.csv: no such folder"),
        (["--batch", "0"], "batch must be an integer from 1"),
        (["--html", "no/such/sheet.html"], "--html: no/such/sheet.html: no such folder"),
        (["--dtype", "float16"], "dtype must be one of float32, bfloat16"),
    ],
)
def test_wrong_calls_end_with_status_2_and_one_line(model, folder, arguments, message):
    result = run("score", folder, "--model", model, *arguments)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("variable", "value"), [("DCNN_FAST_BACKEND", "magic"), ("DCNN_FAST_BACKEND", "cuda"), ("DCNN_FAST_BACKEND", "triton")]
)
def test_a_backend_that_cannot_run_is_one_line(model, folder, variable, value):
    result = score(model, folder, env={variable: value})
    assert result.returncode == 2
    assert result.stderr.startswith(f"error: {variable}")
    assert "Traceback" not in result.stderr


def test_a_wrong_option_leaves_an_old_csv_alone(model, folder, tmp_path):
    content = ",".join(FIELDS) + "\na.png,0.5,0.1,high,3,0,\n"
    (tmp_path / "s.csv").write_text(content)
    assert score(model, folder, "--csv", tmp_path / "s.csv", "--overwrite", "--workers", 0).returncode == 2
    assert (tmp_path / "s.csv").read_text() == content


def test_every_failure_is_named_whatever_the_table_shows(model, tmp_path):
    for i in range(30):
        (tmp_path / f"{i}.jpg").write_bytes(b"no")
    result = score(model, tmp_path, "--top", 1)
    assert sum("not an image" in line for line in result.stderr.splitlines()) == 30


def test_names_on_standard_input_need_not_be_text(model, folder, tmp_path):
    name = os.fsencode(folder) + b"/caf\xe9.png"
    Image.new("RGB", (40, 40)).save(os.fsdecode(name), "PNG")
    command = [*main(), "score", "--model", str(model), "--samples", "3", "--csv", str(tmp_path / "s.csv")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8:strict"}
    result = subprocess.run(command, input=name + b"\n", capture_output=True, check=False, env=environment)
    assert result.returncode == 0, result.stderr
    assert [os.fsencode(row["path"]) for row in rows(tmp_path / "s.csv")] == [name]


def test_an_empty_folder_is_no_success(model, tmp_path):
    result = score(model, tmp_path)
    assert result.returncode == 1
    assert "no images were found" in result.stderr


def test_names_that_are_not_text_go_through(model, tmp_path):
    name = os.fsencode(tmp_path) + b"/bad\xff\nname.png"
    Image.new("RGB", (40, 40)).save(os.fsdecode(name), "PNG")
    result = score(model, tmp_path, "--csv", tmp_path / "s.csv", "--html", tmp_path / "s.html", "--jsonl", tmp_path / "s.jsonl")
    assert result.returncode == 0, result.stderr
    (row,) = rows(tmp_path / "s.csv")
    assert os.fsencode(row["path"]) == name
    assert json.loads((tmp_path / "s.jsonl").read_text())["path"] == os.fsdecode(name)


def test_describe_prints_the_facts_of_arch_1():
    result = run("describe", "scnn")
    assert result.returncode == 0
    for piece in ("64x108x108", "64x54x54", "64x27x27", "270,978,048", "46,657,000", "0.670 G"):
        assert piece in result.stdout, piece


def test_describe_draws_the_first_filters_of_a_model_file(model, tmp_path):
    assert run("describe", model, "--filters", tmp_path / "pictures").returncode == 0
    assert {path.name for path in (tmp_path / "pictures").iterdir()} == {"filters-local-0.png", "filters-warp-0.png"}
    wrong = run("describe", "scnn", "--filters", tmp_path / "pictures")
    assert wrong.returncode == 2 and "filters are those of a model file" in wrong.stderr


def test_describe_lists_presets_and_reads_model_files(model):
    assert "rdcnn-semantic" in run("describe").stdout
    assert "column local:0: 24x24 windows of a 32x32 plane" in run("describe", model).stdout
    assert "2x3x24x24" not in run("explain", model).stdout
    assert "1x3x24x24-8@5s2p0" in run("explain", model).stdout
    wrong = run("describe", "vgg")
    assert wrong.returncode == 2
    assert "preset must be one of" in wrong.stderr


def test_describe_says_the_same_as_json(model, tmp_path):
    for name in ("scnn", model):
        done = run("describe", name, "--json", tmp_path / "n.json")
        said = json.loads((tmp_path / "n.json").read_text())
        require_valid("network.v1", said)
        assert (
            done.returncode == 0 and f"total    {said['parameters']:,} parameters, {said['multiplications']:,}" in done.stdout
        )
        layers = [layer["name"] for column in said["columns"] for layer in column["layers"]]
        assert layers and all(f"{layer} " in done.stdout for layer in layers)
        assert json.loads(run("describe", name, "--json", "-").stdout) == said
    presets = json.loads(run("describe", "--json", "-").stdout)
    require_valid("presets.v1", presets)
    assert "rdcnn-semantic" in presets["presets"]
    (tmp_path / "theirs").write_text("theirs")
    assert run("describe", "scnn", "--json", tmp_path / "theirs").returncode == 2
    assert run("describe", model, "--json", model).returncode == 2
    assert (tmp_path / "theirs").read_text() == "theirs" and run("describe", "scnn", "--json", "/dev/full").returncode == 3


def test_explain_prints_the_choice_and_every_refusal():
    forced = run("explain", "scnn", env={"DCNN_FAST_BACKEND": "reference"})
    assert forced.returncode == 0
    assert "1x3x224x224-64@11s2p0-pool3s2-cross5-up-all-float32-ieee: reference" in forced.stdout
    assert "not triton: Triton's kernels run on cuda, not on cpu" in forced.stdout
    for isa, why in engine.refusals().items():
        assert f"not {isa}: {why}" in forced.stdout
    assert run("explain", "scnn", env={"DCNN_FAST_BACKEND": "magic"}).returncode == 2
    halves = run("explain", "scnn", "--dtype", "float16").stdout
    assert "1x3x224x224-64@11s2p0-pool3s2-cross5-up-all-uint8-float16-float16-ieee: reference" in halves
    assert "dtype must be one of float32, float16, bfloat16; got 'half'" in run("explain", "scnn", "--dtype", "half").stderr


def test_explain_lists_views_head_and_update_and_what_lacks_a_forced_backend():
    found = run("explain", "dcnn").stdout
    assert found.count("  1 cut of 1 photograph: cpu\n    not cuda: CUDA C++ kernels run on cuda, not on cpu") == 2
    best = "cpu" if engine.isas() else "reference"
    assert f"  head: 50x1000-256+50x1000-256-2 labels-50 samples-1 images-float32-float64: {best}" in found
    assert f"  update: 26 parameters of 94226770 values-float32-float32: {best}" in found
    on_gpu = run("explain", "scnn", "--device", "cuda", env={"DCNN_FAST_BACKEND": "triton"}).stdout
    view = on_gpu.split("column local:0\n")[1].split("\n  1x3x224")[0]
    assert "chooses for itself" in view and "not cpu: these views are made on the cpu, not on cuda" in view
    assert "head: 50x1000-256-2 labels-50 samples-1 images-float32: triton" in on_gpu
    gradient = "-bwd: triton\n    the gradient of the convolution "
    assert on_gpu.count(gradient) == 2, "blocks 1 and 2 have a pool"
    asked = {"DCNN_FAST_BACKEND": "triton", "DCNN_FAST_CONV_GRADIENT": "hits"}
    from_hits = run("explain", "scnn", "--device", "cuda", env=asked).stdout
    assert from_hits.count(f"{gradient}from hits: DCNN_FAST_CONV_GRADIENT asks for it\n") == 2
    wrong = run("explain", "scnn", env={"DCNN_FAST_CONV_GRADIENT": "registers"})
    assert (wrong.returncode, "must be one of auto, hits, memory; got 'registers'" in wrong.stderr) == (2, True)


class Noted:
    """A backend that notes each call of its `forward`."""

    def __init__(self, name, backend, ran):
        self._name, self._backend, self._ran = name, backend, ran

    def __getattr__(self, name):
        return getattr(self._backend, name)

    def forward(self, *operands):
        self._ran.append(self._name)
        return self._backend.forward(*operands)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("forced", ["", "reference"])
def test_explain_names_the_head_that_runs(forced, dtype, model, folder, monkeypatch):
    monkeypatch.setenv("DCNN_FAST_BACKEND", forced)
    ran = []
    for name, backend in BACKENDS.items():
        monkeypatch.setitem(BACKENDS, name, Noted(name, backend, ran))
    Scorer(model, samples=3, dtype=dtype).score(folder / "a.png")
    said = CliRunner().invoke(app, ["explain", str(model), "--dtype", dtype]).output
    (head,) = [line for line in said.splitlines() if line.startswith("  head: ")]
    assert ran == [head.rpartition(": ")[2]]


@pytest.mark.needs_engine
def test_plan_prints_what_sharing_saves_and_draws_it(model, folder, tmp_path):
    result = run("plan", folder / "a.png", "--model", "dcnn", "--svg", tmp_path / "plan.svg")
    assert result.returncode == 0, result.stderr
    assert "column local:0: 50 windows" in result.stdout
    assert "column warp:0: 50 windows" in result.stdout
    (conv1, *_) = [line.split() for line in result.stdout.split("column warp:0")[1].splitlines() if "conv1" in line]
    ours, alone, sums = (int(cell.replace(",", "")) for cell in conv1[5:8])
    assert ours * 3 < alone < sums
    assert ours * 8 < sums
    picture = ElementTree.parse(tmp_path / "plan.svg")
    assert len(picture.findall(".//{*}image")) == 2
    assert len(picture.findall(".//{*}rect/{*}title")) >= 4
    wrong = run("plan", folder / "notes.txt")
    assert wrong.returncode == 2
    assert "notes.txt: not an image" in wrong.stderr
    assert "grid must be one of" in run("plan", folder / "a.png", "--grid", 3).stderr


def test_a_models_caution_stands_first_on_the_sheet_and_last_on_standard_error(folder, model, tmp_path):
    caution = "It rewards blur & noise."
    save_model(Model(load_model(model).net, {"caution": caution}), tmp_path / "m.safetensors")
    result = score(tmp_path / "m.safetensors", folder / "a.png", "--samples", 1, "--html", tmp_path / "s.html")
    assert result.returncode == 0, result.stderr
    assert result.stderr.splitlines()[-1] == caution
    assert result.stderr.count(caution) == 1
    page = (tmp_path / "s.html").read_text()
    assert 0 < page.index(html.escape(caution)) < page.index("<figure>")
    other = score(model, folder / "a.png", "--html", tmp_path / "t.html")
    assert "blur" not in other.stderr and 'caution">' not in (tmp_path / "t.html").read_text()


def test_version_and_help_do_not_import_torch():
    code = (
        "import sys; from dcnn_fast.cli.main import app; app(['--help'], standalone_mode=False); "
        "assert 'torch' not in sys.modules"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert run("--version").stdout.startswith("dcnn-fast 0.")


def test_the_package_runs_as_a_module():
    command = [sys.executable, "-m", "dcnn_fast", "--version"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == run("--version").stdout
