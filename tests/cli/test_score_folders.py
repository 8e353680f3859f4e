"""`dcnn-fast score` on real folders: skipped files are reported, and one bad entry costs one row."""

from __future__ import annotations

import os
import shutil

from tests.cli.command import lines, names, rows, score


def test_what_is_passed_over_is_counted_by_kind(model, folder, tmp_path):
    for name in (".thumbnails/t.png", "@eaDir/a.png/t.png", "._a.png", "sub/a_small.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / "a.png", folder / name)
    for name in ("a.MOV", "b.mov", "sub/c.mov", "d.jxl"):
        (folder / name).touch()
    (folder / "loop").symlink_to(folder)
    result = score(model, folder, "-r", "--exclude", "*_small.*", "--csv", tmp_path / "s.csv")
    assert result.returncode == 0, result.stderr
    assert names(tmp_path / "s.csv") == ["a.png", "b.JPG", "c.webp", 'comma, "quote".png', "d.png"]
    said = result.stderr.splitlines()
    for line in (
        "4 files of kinds this cannot read: .jxl 1, .mov 3",
        "passed over: 1 hidden folder, 1 hidden file, 1 system folder (--hidden takes them)",
        "passed over: 1 link to a folder (--follow goes there)",
        "passed over: 1 file or folder (excluded by --exclude)",
    ):
        assert line in said
    taken = score(model, folder, "-r", "--hidden", "--follow", "--csv", tmp_path / "t.csv")
    assert taken.returncode == 0, taken.stderr
    assert len(rows(tmp_path / "t.csv")) == 9
    assert "passed over" not in taken.stderr
    named = score(model, folder / ".thumbnails", folder / "._a.png", "--exclude", "nothing", "--csv", tmp_path / "n.csv")
    assert named.returncode == 0
    assert names(tmp_path / "n.csv") == ["t.png", "._a.png"]


def test_bad_entries_of_a_folder_are_rows_and_the_others_are_scored(model, folder, tmp_path):
    (folder / "self.jpg").symlink_to("self.jpg")
    (folder / "dangling.jpg").symlink_to("gone")
    os.mkfifo(folder / "pipe.jpg")
    (folder / "empty.jpg").touch()
    result = score(model, folder, "--csv", tmp_path / "s.csv", "--jsonl", tmp_path / "s.jsonl", "--html", tmp_path / "s.html")
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    errors = {os.path.basename(row["path"]): row["error"] for row in rows(tmp_path / "s.csv") if row["error"]}
    assert errors == {
        "self.jpg": "too many levels of symbolic links",
        "dangling.jpg": "no such file",
        "pipe.jpg": "not a regular file",
        "empty.jpg": "the file is empty",
    }
    assert len(rows(tmp_path / "s.csv")) == len(lines(tmp_path / "s.jsonl")) == 8
    assert sum(str(folder) in line for line in result.stdout.splitlines()) == 4
    assert "too many levels of symbolic links" in (tmp_path / "s.html").read_text()


def test_bad_lines_of_standard_input_are_rows_and_the_others_are_scored(model, folder, tmp_path):
    long, inner = "x" * 300, f"{folder}/a.png/inner.png"
    given = "\n".join([long, f"{folder}/a.png", inner, f"{folder}/a\0.png", f"{folder}/gone.png", str(tmp_path / "s.csv"), ""])
    given += f"{folder}/b.JPG"
    options = ["--csv", tmp_path / "s.csv", "--jsonl", tmp_path / "s.jsonl"]
    for more in ([], ["--resume"]):
        result = score(model, "-", *options, *more, input=given)
        assert result.returncode == 1
        assert "Traceback" not in result.stderr
        errors = {row["path"]: row["error"] for row in rows(tmp_path / "s.csv") if row["error"]}
        assert errors == {
            long: "file name too long",
            inner: "not a directory",
            f"{folder}/a\\x00.png": "a name cannot hold a zero byte",
            f"{folder}/gone.png": "no such file",
            str(tmp_path / "s.csv"): "it is what --csv writes",
        }
        assert len(rows(tmp_path / "s.csv")) == len(lines(tmp_path / "s.jsonl")) == 7


def test_failures_keep_their_place_among_the_rows(model, folder, tmp_path):
    (folder / "b0.jpg").symlink_to("b0.jpg")
    score(model, folder, folder / ("y" * 300), "--csv", tmp_path / "s.csv")
    assert names(tmp_path / "s.csv") == ["a.png", "b.JPG", "b0.jpg", "c.webp", 'comma, "quote".png', "y" * 300]


def test_a_broken_entry_costs_no_old_rows(model, folder, tmp_path):
    table = tmp_path / "s.csv"
    assert score(model, folder, "--csv", table).returncode == 0
    (folder / "self.jpg").symlink_to("self.jpg")
    assert score(model, folder, "--csv", table, "--resume").returncode == 1
    assert len(rows(table)) == 5
    result = score(model, "-", "--csv", table, "--resume", input="1" * 300 + "\n")
    assert result.returncode == 1
    assert len(rows(table)) == 6
