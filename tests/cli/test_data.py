"""`dcnn-fast data`: check, import and make."""

from __future__ import annotations

import csv
import os
import shutil

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from dcnn_fast.cli.main import app
from dcnn_fast.data import check, load_set, synthetic
from tests import warm
from tests.cli import command


def run(*arguments):
    return CliRunner().invoke(app, ["data", *map(str, arguments)])


def test_a_whole_set_is_checked_with_success(tmp_path):
    made = run("make", "csv", tmp_path / "s", "--images", 64)
    assert made.exit_code == 0, made.output
    path = made.stdout.strip()
    found = run("check", path, "--decode")
    assert found.exit_code == 0, found.output
    assert "0 of 64 photographs cannot be read" in found.stdout and "animal" in found.stdout


def test_what_is_missing_or_unreadable_is_named(tmp_path):
    path = synthetic.make("csv", tmp_path / "s", images=64, seed=2, corrupt=2, missing=1)
    plain, decoded = run("check", path), run("check", path, "--decode")
    assert plain.exit_code == decoded.exit_code == 1
    assert "1 photographs are missing" in plain.stdout
    assert decoded.stdout.count("unreadable: images/") == 2 and "2 of 63 photographs cannot be read" in decoded.stdout


def test_avas_counts_are_compared_with_the_official_ones(tmp_path):
    root = synthetic.make("ava", tmp_path / "s", images=64, sides=(8, 9))
    whole, partial = run("check", root), run("check", root, "--partial")
    assert (whole.exit_code, partial.exit_code) == (1, 0)
    assert "ids with ratings" in whole.stdout and "255,529" in whole.stdout and "differs" in whole.stdout
    counts = {count.what: count for count in check.ava_counts(root)}
    assert counts["ids with ratings"].found == 64 and not counts["ids with ratings"].ok
    assert counts["style, training ids"].found == 32
    assert counts["of them with ratings"].found == 16
    assert check.Count("a share, %", 71.1, 71.1).ok and not check.Count("a share, %", 71.1, 71.3).ok


@pytest.mark.parametrize("kind", ["idealo", "nima", "ava", "folders", "para"])
def test_other_formats_become_tables_that_say_the_same(tmp_path, kind):
    source = synthetic.make(kind, tmp_path / "s", images=64, seed=4, sides=(8, 9))
    done = run("import", source, tmp_path / "t.csv")
    assert done.exit_code == 0, done.output
    with (tmp_path / "t.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 64
    data = load_set(tmp_path / "t.csv", **({} if kind in ("folders", "para") else {"threshold": 5.0}))
    assert not data.missing and len(data.train) + len(data.test) == 64
    if kind in ("ava", "folders"):
        theirs = load_set(source)
        assert {e.source: e.label for e in data.train} == {e.source: e.label for e in theirs.train}
        assert {e.source: e.label for e in data.test} == {e.source: e.label for e in theirs.test}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", "{", "must be JSON"),
        ("a.json", "{}", "must be a list of images, got dict"),
        ("a.json", '[{"image_id": "1", "label": [1, 2]}]', "entry 0 must have an image_id and a label of ten numbers"),
        ("a.csv", "i,id,r\n0,5,1\n", "must have a column of ratings, as mean, or ten of votes"),
    ],
)
def test_a_bad_file_to_import_is_named(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    done = run("import", tmp_path / name, tmp_path / "out.csv")
    assert done.exit_code == 2 and message in done.output
    assert not (tmp_path / "out.csv").exists()


def test_wrong_calls_leave_with_2(tmp_path):
    assert run("check", tmp_path / "nothing").exit_code == 2
    made = run("make", "coco", tmp_path / "x")
    assert made.exit_code == 2 and "kind must be one of" in made.output
    path = synthetic.make("csv", tmp_path / "s", images=64, sides=(8, 9))
    wrong = run("check", path, "--field", "rating")
    assert wrong.exit_code == 2 and "--field must be MEANING=NAME" in wrong.output


def test_a_table_in_another_folder_finds_its_photographs(tmp_path, monkeypatch):
    synthetic.make("idealo", tmp_path / "s", images=64, sides=(8, 9))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other").mkdir()
    for out in ("other/t.csv", "t.csv"):
        assert run("import", "s/labels.json", out).exit_code == 0
        assert len(load_set(out, threshold=5.0).missing) == 0
    assert "s/" in (tmp_path / "t.csv").read_text() and str(tmp_path) not in (tmp_path / "t.csv").read_text()


def test_a_source_that_cannot_be_imported_is_refused(tmp_path):
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "s").mkdir()
    for arguments, why in (
        ((tmp_path / "nowhere",), "source must be there"),
        ((tmp_path / "empty.csv",), "must list photographs, got none"),
        ((tmp_path / "empty.csv", "--images", tmp_path / "nowhere"), "images must be there"),
    ):
        found = run("import", arguments[0], tmp_path / "t.csv", *arguments[1:])
        assert found.exit_code == 2 and why in found.output.replace("\n", " "), found.output
    assert not (tmp_path / "t.csv").exists()
    found = run("make", "csv", tmp_path / "n", "--seed", -1)
    assert found.output == "error: --seed must be an integer from 0 to 9223372036854775807, got -1\n" and found.exit_code == 2


def test_ava_without_its_style_lists_is_counted(tmp_path):
    root = synthetic.make("ava", tmp_path / "s", images=64, sides=(8, 9))
    shutil.rmtree(root / "style_image_lists")
    found = run("check", root)
    assert found.exit_code == 1 and "255,529" in found.stdout and "style lists" in found.stdout
    counts = {count.what: count for count in check.ava_counts(root)}
    assert counts["style lists"].found == 0 and not counts["style lists"].ok and "style, training ids" not in counts


def test_an_import_takes_a_format_a_source_and_a_file(tmp_path, monkeypatch):
    """The format or the file may be left out; a folder named like a format is a source."""
    monkeypatch.chdir(tmp_path)
    synthetic.make("para", tmp_path / "para", images=64, sides=(8, 9))
    for words, written in (
        (("import", "para"), "para.csv"),
        (("import", "para", "a.csv"), "a.csv"),
        (("import", "para", "para"), "para.csv"),
        (("import", "para", "para", "b.csv"), "b.csv"),
        (("import", "folders", "para/imgs"), "folders.csv"),
    ):
        done = run(*words)
        assert done.exit_code == 0 and f"64 rows in {written}" in done.output, done.output
        assert len((tmp_path / written).read_text().splitlines()) == 65
        if written == "para.csv":
            (tmp_path / written).unlink()
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert run("import", "para").exit_code == 0
    for words, why in (
        (("para",), "exists; --overwrite replaces it"),
        (("coco", "para", "c.csv"), "format must be one of ava, para, folders, idealo, nima, xmp, page; got 'coco'"),
        (("nima", "para", "c.csv"), "source must be a file for the format nima, got para"),
        (("para", "a.csv", "c.csv"), "source must be a folder for the format para, got a.csv"),
        (("para", "para/imgs", "c.csv"), "a copy of PARA must have this file"),
        (("para", "para", "c.csv", "d.csv"), "must have at most three words, FORMAT SOURCE OUT, got 4"),
    ):
        found = run("import", *words)
        assert found.exit_code == 2 and why in found.output.replace("\n", " "), found.output
    assert not (tmp_path / "c.csv").exists()
    labels = synthetic.make("nima", tmp_path / "nima", images=64, sides=(8, 9))
    # A folder of that name exists, and "labels" is not an import format.
    assert "64 rows in nima.csv" in run("import", "nima", labels).output
    mistyped = run("import", "pra", "para")
    why = "pra is not there, and FORMAT must be one of ava, para"
    assert mistyped.exit_code == 2 and why in mistyped.output.replace("\n", " ")


def test_an_import_goes_over_nothing_but_an_import_and_only_when_asked_to(tmp_path, capfd):
    root = synthetic.make("folders", tmp_path / "s", images=64, sides=(8, 9))
    labels = synthetic.make("nima", tmp_path / "n", images=64, sides=(8, 9))
    photograph = next(root.rglob("*.jpg"))
    (tmp_path / "mine.csv").write_text("path,rating\na.jpg,3\n")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for source, out in ((root, photograph), (labels, labels), (root, tmp_path / "mine.csv"), (root, tmp_path), (root, root)):
        for overwrite in ((), ("--overwrite",)):
            found = run("import", source, out, *overwrite)
            assert found.exit_code == 2 and "error: OUT: " in found.output, found.output
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert run("import", root, tmp_path / "t.csv").exit_code == 0
    again = run("import", labels, tmp_path / "t.csv")
    assert again.exit_code == 2 and "exists; --overwrite replaces it" in again.output.replace("\n", " ")
    assert run("import", labels, tmp_path / "t.csv", "--overwrite").exit_code == 0
    assert (tmp_path / "t.csv").read_text().startswith("path,r1,")
    straight = run("import", root, "-")
    assert straight.exit_code == 0 and straight.stdout == "" and "64 rows in -" in straight.stderr
    assert capfd.readouterr().out.startswith("path,label,split\n")  # the process's own output, which the runner doesn't capture
    full = run("import", root, "/dev/full")
    assert full.exit_code == 3 and "No space left on device" in full.output


def test_what_a_set_says_is_printed_as_text(tmp_path):
    rows = [f"{i}.jpg,{label},[/]" for i, label in enumerate(["[/x]", "\x1b[31mü"] * 6)]
    (tmp_path / "t.csv").write_text("\n".join(["path,label,category", *rows, "[/bold]\x1b.jpg,[/x],[/]"]))
    for i in range(12):
        Image.fromarray(np.zeros((8, 9, 3), np.uint8)).save(tmp_path / f"{i}.jpg")
    found = run("check", tmp_path / "t.csv", "--decode")
    assert found.exit_code == 1 and "missing: [/bold]\\x1b.jpg" in found.stdout and "[/x]" in found.stdout
    assert "\x1b" not in found.output


def test_a_full_disk_is_said_with_the_file(tmp_path):
    """The error names the file that did not fit: a photograph or a list."""
    for size, name in ((500, "images/00000.jpg"), (4000, "ratings.csv")):
        limited = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size})); "
        program = limited + "from dcnn_fast.cli.main import run; run()"
        arguments = ["data", "make", "csv", tmp_path / str(size), "--images", 200]
        if name == "ratings.csv":  # each photograph is smaller than the list
            program = (
                limited + "import sys; from dcnn_fast.data import synthetic; from dcnn_fast.cli.main import run; "
                "make = synthetic.make; synthetic.make = lambda *a, **k: make(*a, **k, sides=(8, 9)); run()"
            )
        found = warm.run(program, arguments)
        assert found.returncode == 3, found.stderr
        assert found.stderr == f"error: {tmp_path / str(size) / name}: File too large\n"


@pytest.mark.parametrize("kind", ["fifo", "device"])
def test_what_is_no_file_is_not_waited_for(tmp_path, kind):
    source = tmp_path / "source.csv"
    os.mkfifo(source) if kind == "fifo" else source.symlink_to("/dev/zero")
    for arguments in (("import", source, tmp_path / "out.csv"), ("check", source)):
        found = command.run("data", *arguments)
        assert found.returncode == 2
        assert found.stderr == f"error: {source}: not a regular file\n"
    assert not (tmp_path / "out.csv").exists()
