"""`dcnn-fast score --resume`: the same run continues, each picture has one row, and no row is lost on the way."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess

import pytest
from PIL import Image

from dcnn_fast import load_model, save_model
from tests import small
from tests.cli.command import FIELDS, PROGRAM, VIEWS, alone, environment, lines, main, names, rows, score
from tests.cli.conftest import photograph

HEADER = ",".join(FIELDS) + "\n"


def scored(model, folder, tmp_path, *options):
    """A CSV file, a JSONL file and their run, whole."""
    result = score(model, folder, "--csv", tmp_path / "s.csv", "--jsonl", tmp_path / "s.jsonl", *options)
    assert result.returncode in (0, 1), result.stderr
    return tmp_path / "s.csv", tmp_path / "s.jsonl"


def resumed(model, folder, table, objects=None, *options, **more):
    files = ["--csv", table, *(["--jsonl", objects] if objects else [])]
    return score(model, folder, *files, "--resume", *options, **more)


def test_what_the_csv_holds_is_skipped_and_a_cut_line_is_mended(model, folder, tmp_path):
    table, _ = scored(model, folder, tmp_path)
    whole = table.read_text()
    kept = whole.splitlines(keepends=True)
    table.write_text("".join(kept[:3]) + kept[3][:10])
    result = resumed(model, folder, table)
    assert result.returncode == 0, result.stderr
    assert "2 images in" in result.stderr
    assert table.read_text() == whole
    again = resumed(model, folder, table)
    assert again.returncode == 0 and "images in" not in again.stderr
    assert table.read_text() == whole
    assert sum(str(folder) in line for line in again.stdout.splitlines()) == 4


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("file,score\na,1\n", "holds something else than a CSV file of scores"),
        (HEADER + "a.png,x,0.1,high,3,0,\n", "line 2 is not a score"),
        (HEADER + "a.png,0.5\n", "line 2 is not a score"),
        (HEADER + "a.png,0.5,0.1,high,50,0,\n", "a row made with 50 samples and seed 0, this run has 3 and 0"),
    ],
)
def test_a_csv_that_cannot_be_gone_on_with_is_refused_and_left(model, folder, tmp_path, content, message):
    table, _ = scored(model, folder, tmp_path)
    table.write_text(content)
    result = resumed(model, folder, table)
    assert result.returncode == 2
    assert message in result.stderr and str(table) in result.stderr
    assert table.read_text() == content


def test_another_run_is_refused_by_the_options_that_differ(model, folder, tmp_path):
    table, objects = scored(model, folder, tmp_path)
    before = table.read_bytes(), objects.read_bytes()
    other = load_model(model)
    other.net.label.bias.data += 0.01
    save_model(other, tmp_path / "other.safetensors")
    for options, differing in (
        (["--grid", 2], "--grid 1 (here 2);"),
        (["--seed", 7], "--seed 0 (here 7);"),
        (["--samples", 4], "--samples 3 (here 4);"),
        (["--dtype", "bfloat16"], "--dtype float32 (here bfloat16);"),
        (["--background", "#000000", "--seed", 1], "--seed 0 (here 1), --background ffffff (here 000000);"),
        (["--model", tmp_path / "other.safetensors"], f"--model {model} of digest"),
    ):
        both = ["--csv", table, "--jsonl", objects]
        for files in (both, both[:2], both[2:]) if options[0] == "--grid" else (both,):
            result = score(model, folder, *files, "--resume", *options)
            assert result.returncode == 2
            assert "was made with " + differing in result.stderr, result.stderr
    assert (table.read_bytes(), objects.read_bytes()) == before
    copy = tmp_path / "copy.safetensors"
    shutil.copy(model, copy)  # the same weights under another name
    assert resumed(copy, folder, table, objects, "--batch", 1, "--workers", 1, "--max-megapixels", 5).returncode == 0


def test_rows_without_a_record_are_refused_and_a_file_without_rows_is_not(model, folder, tmp_path):
    table, objects = scored(model, folder, tmp_path)
    for path in (table, objects):
        os.remove(f"{path}.run.json")
        before = path.read_bytes()
        option = "--csv" if path == table else "--jsonl"
        result = score(model, folder, option, path, "--resume")
        assert result.returncode == 2
        assert "has rows, but" in result.stderr and "--overwrite starts anew" in result.stderr
        assert path.read_bytes() == before
    table.write_text(HEADER[:20])  # the run was killed before it wrote its record
    assert resumed(model, folder, table).returncode == 0
    assert len(rows(table)) == 4


def test_a_record_of_another_version_or_device_is_noted_and_a_broken_one_refused(model, folder, tmp_path):
    table, _ = scored(model, folder, tmp_path)
    record = tmp_path / "s.csv.run.json"
    said = json.loads(record.read_text())
    record.write_text(json.dumps({**said, "version": "0.0.9", "device": "cpu, sse"}))
    result = resumed(model, folder, table)
    assert result.returncode == 0
    assert "begun with version 0.0.9" in result.stderr and "device cpu, sse" in result.stderr
    for device in ("cuda, avx2", "cuda:1, backend triton"):
        record.write_text(json.dumps({**said, "device": device}))
        before = table.read_bytes()
        refused = resumed(model, folder, table)
        assert refused.returncode == 2 and table.read_bytes() == before
        assert "was made with --device cuda (here cpu); --overwrite starts anew" in refused.stderr
    for broken in ({**said, "dcnn_fast_run": 2}, {**said, "settings": {"--grid": 1}}, {**said, "folder": None}):
        record.write_text(json.dumps(broken))
        refused = resumed(model, folder, table)
        assert refused.returncode == 2
        assert "s.csv.run.json, cannot be read" in refused.stderr and "--overwrite starts anew" in refused.stderr
    for broken in (json.dumps(said, indent=1)[:60], json.dumps(said)[:60], "{\n", "\0" * 100):
        record.write_text(broken)
        refused = resumed(model, folder, table)
        assert refused.returncode == 2 and "--overwrite starts anew" in refused.stderr
        again = score(model, folder, "--csv", table, "--overwrite")
        assert again.returncode == 0, again.stderr
        assert json.loads(record.read_text())["folder"] == said["folder"]
    record.write_text("my notes")
    for more in ("--resume", "--overwrite"):
        refused = score(model, folder, "--csv", table, more)
        assert refused.returncode == 2
        assert "s.csv.run.json holds something else than the record of a run" in refused.stderr
        assert "move it away" in refused.stderr
    assert record.read_text() == "my notes"


def test_failed_pictures_are_tried_again_and_have_one_row(model, folder, tmp_path):
    (folder / "later.png").write_bytes(b"not yet")
    (folder / "never.png").write_bytes(b"never")
    table, objects = scored(model, folder, tmp_path)
    shutil.copy(folder / "a.png", folder / "later.png")
    kept = resumed(model, folder, table, objects, "--keep-failures")
    assert kept.returncode == 1 and "images in" not in kept.stderr
    assert "2 of 6 images could not be scored" in kept.stderr
    result = resumed(model, folder, table, objects)
    assert result.returncode == 1
    assert "1 of 6 images could not be scored" in result.stderr
    assert sorted(names(table)) == sorted(os.path.basename(line["path"]) for line in lines(objects))
    assert sorted(names(table)) == ["a.png", "b.JPG", "c.webp", 'comma, "quote".png', "later.png", "never.png"]
    errors = {os.path.basename(row["path"]): row["error"] for row in rows(table) if row["error"]}
    assert errors == {"never.png": "not an image of a known format"}


def test_a_failure_that_is_not_named_again_keeps_its_row(model, folder, tmp_path):
    table, objects = scored(model, folder / "gone.png", tmp_path)
    result = resumed(model, folder / "a.png", table, objects)
    assert result.returncode == 1
    assert names(table) == ["gone.png", "a.png"]
    assert "1 of 2 images could not be scored" in result.stderr


def test_a_folder_that_could_not_be_listed_leaves_no_failure_once_it_can(model, folder, tmp_path):
    missing = tmp_path / "drive"
    table, objects = scored(model, missing, tmp_path)
    assert names(table) == ["drive"]
    shutil.copytree(folder, missing)
    result = resumed(model, missing, table, objects)
    assert result.returncode == 0, result.stderr
    assert len(rows(table)) == len(lines(objects)) == 4


def test_a_picture_is_known_however_it_was_typed(model, folder, tmp_path):
    (tmp_path / "link").symlink_to(folder)
    (folder / "z.png").symlink_to(folder / "a.png")
    first = score(model, "photos", "--csv", "s.csv", cwd=tmp_path)
    assert first.returncode == 0
    assert "1 of the paths led to an image that was named before" in first.stderr
    before = (tmp_path / "s.csv").read_text()
    assert names(tmp_path / "s.csv") == ["a.png", "b.JPG", "c.webp", 'comma, "quote".png']
    assert "\nphotos/a.png," in before
    listed = "photos/a.png\n./photos/b.JPG\n"
    for typed in (
        [folder],
        ["./photos/"],
        ["photos/sub/../"],
        ["link"],
        ["link/a.png", folder / "b.JPG"],
        ["photos/z.png"],
        ["-"],
    ):
        again = score(model, *typed, "--csv", "s.csv", "--resume", cwd=tmp_path, input=listed)
        assert again.returncode == 0, again.stderr
        assert "images in" not in again.stderr
        assert (tmp_path / "s.csv").read_text() == before
    twice = score(model, "photos/a.png", folder / "a.png", "link/a.png", "--csv", "t.csv", cwd=tmp_path)
    assert "2 of the paths led to an image that was named before" in twice.stderr
    assert len(rows(tmp_path / "t.csv")) == 1


def test_hard_links_are_pictures_of_their_own(model, folder, tmp_path):
    os.link(folder / "a.png", folder / "hard.png")
    table, _ = scored(model, folder, tmp_path)
    assert len(rows(table)) == 5


def test_relative_paths_are_known_from_another_folder(model, folder, tmp_path):
    (tmp_path / "elsewhere" / "photos").mkdir(parents=True)
    shutil.copy(folder / "a.png", tmp_path / "elsewhere" / "photos" / "a.png")  # another picture with the same relative path
    (folder / "bad.png").write_bytes(b"bad")
    files = ["--csv", tmp_path / "s.csv", "--jsonl", tmp_path / "s.jsonl"]
    other = tmp_path / "elsewhere"
    assert score(model, "photos/a.png", "photos/bad.png", *files, cwd=tmp_path).returncode == 1
    again = score(model, "../photos/a.png", *files, "--html", "sheet.html", "--resume", cwd=other)
    assert "images in" not in again.stderr
    assert (other / "sheet.html").read_text().count("data:image/webp;base64,") == 1
    result = score(model, "photos", "../photos", *files, "--resume", cwd=other)
    assert result.returncode == 1
    expected = [f"{tmp_path}/elsewhere/photos/a.png", *(f"{folder}/{name}" for name in ("b.JPG", "bad.png", "c.webp"))]
    assert [row["path"] for row in rows(tmp_path / "s.csv")][:5] == ["photos/a.png", *expected]
    assert [line["path"] for line in lines(tmp_path / "s.jsonl")] == [row["path"] for row in rows(tmp_path / "s.csv")]
    back = score(model, "photos", "elsewhere/photos", *files, "--resume", cwd=tmp_path)
    assert len(rows(tmp_path / "s.csv")) == 6
    assert "1 of 6 images could not be scored" in back.stderr


def test_a_folder_that_was_moved_with_its_csv_goes_on(model, folder, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    folder.rename(home / "photos")
    assert score(model, "photos", "--csv", "s.csv", cwd=home).returncode == 0
    home.rename(tmp_path / "moved")
    result = score(model, "photos", "--csv", "s.csv", "--resume", cwd=tmp_path / "moved")
    assert result.returncode == 0
    assert "images in" not in result.stderr and "is gone" in result.stderr
    assert "is gone" not in score(model, "photos", "--csv", "s.csv", "--resume", cwd=tmp_path / "moved").stderr


@pytest.mark.parametrize("where", ["here", "from elsewhere", "photographs alone"])
def test_photographs_that_were_moved_while_their_old_folder_stays_go_on(model, folder, tmp_path, where):
    (tmp_path / "new").mkdir()
    (tmp_path / "old").mkdir()
    folder.rename(tmp_path / "old" / "photos")
    up = "../" if where == "photographs alone" else ""
    options = ["--csv", f"{up}s.csv", "--jsonl", f"{up}s.jsonl"]
    assert score(model, "photos", *options, cwd=tmp_path / "old").returncode == 0
    for path in (tmp_path / "old").iterdir():
        path.rename(tmp_path / "new" / path.name)
    start, named = tmp_path / "new", "photos"
    if where == "from elsewhere":
        start, named, options = tmp_path, "new/photos", ["--csv", "new/s.csv", "--jsonl", "new/s.jsonl"]
    result = score(model, named, *options, "--resume", cwd=start)
    assert result.returncode == 0, result.stderr
    assert "images in" not in result.stderr
    assert "s.csv was made in has none of its pictures: its relative paths are taken from" in result.stderr
    again = score(model, named, *options, "--resume", cwd=start)
    assert again.returncode == 0 and "was made in" not in again.stderr and "images in" not in again.stderr
    assert len(rows(start / options[1])) == len(lines(start / options[3])) == 4


def test_other_photographs_with_some_of_the_names_are_not_those_of_the_rows(model, folder, tmp_path):
    (tmp_path / "other").mkdir()
    shutil.copy(folder / "b.JPG", tmp_path / "other" / "a.png")
    assert score(model, ".", "--csv", tmp_path / "s.csv", cwd=folder).returncode == 0
    for path in folder.iterdir():
        if path.is_file():
            path.unlink()  # the pictures were sorted out, and their folder still exists
    result = score(model, ".", "--csv", tmp_path / "s.csv", "--resume", cwd=tmp_path / "other")
    assert result.returncode == 0 and "1 images in" in result.stderr
    assert len(rows(tmp_path / "s.csv")) == 5


@pytest.mark.parametrize("lost", ["csv", "jsonl", "both", "all of jsonl", "all of csv", "changed"])
def test_csv_and_jsonl_agree_after_any_crash(model, folder, tmp_path, lost):
    (folder / "bad.png").write_bytes(b"bad")
    table, objects = scored(model, folder, tmp_path)
    expected = {row["path"]: row for row in alone(rows(table))}
    in_table, in_objects = table.read_text().splitlines(True), objects.read_text().splitlines(True)
    if lost in ("csv", "both"):
        del in_table[2]
    if lost in ("jsonl", "both"):
        del in_objects[3]
    if lost == "changed":
        in_table[1] = in_table[1].replace(expected[f"{folder}/a.png"]["mean"], "0.999999")
    table.write_text("".join(in_table[:1] if lost == "all of csv" else in_table))
    objects.write_text("" if lost == "all of jsonl" else "".join(in_objects) + in_objects[0][:30])
    result = resumed(model, folder / "sub", table, objects)  # missing photographs are not named here
    assert result.returncode == 1
    (sub,) = (row for row in alone(rows(table)) if row["path"].endswith("/sub/d.png"))
    assert {row["path"]: row for row in alone(rows(table))} == {**expected, sub["path"]: sub}
    assert len(rows(table)) == len(lines(objects)) == 6
    for line in lines(objects):
        row = next(row for row in rows(table) if row["path"] == line["path"])
        assert (row["mean"], row["error"]) == ("" if line["mean"] is None else f"{line['mean']:.6f}", line["error"] or "")
        assert line["error"] or set(line["probs"]) == {"low", "high"}


@pytest.mark.parametrize("lost", ["row of jsonl", "jsonl", "jsonl has a failure", "files differ"])
def test_a_score_never_gives_way_to_a_failure(model, folder, tmp_path, lost):
    table, objects = scored(model, folder, tmp_path)
    expected, in_objects = rows(table), objects.read_text().splitlines(True)
    failure = {**json.loads(in_objects[0]), "probs": {}, "mean": None, "std": None, "label": None, "error": "no such file"}
    whole = "".join(in_objects)
    objects.write_text({
        "row of jsonl": "".join(in_objects[1:]),
        "jsonl": "",
        "jsonl has a failure": json.dumps(failure) + "\n" + "".join(in_objects[1:]),
        "files differ": whole,
    }[lost])  # fmt: skip
    if lost == "files differ":
        table.write_text(table.read_text().replace(expected[0]["mean"], "0.999999"))
        expected = rows(table)
    (folder / "a.png").rename(tmp_path / "kept.png")
    result = resumed(model, folder, table, objects)
    assert result.returncode == 1
    assert "a.png: no such file; the score that the files have of it is kept" in result.stderr
    assert "next --resume tries again" in result.stderr
    assert sorted(alone(rows(table)), key=str) == sorted(alone(expected), key=str)
    assert f"{folder}/a.png" in result.stdout and "could not be scored" not in result.stderr
    (tmp_path / "kept.png").rename(folder / "a.png")
    assert resumed(model, folder, table, objects).returncode == 0
    assert sorted(objects.read_text().splitlines(True)) == sorted(in_objects)
    if lost != "files differ":
        assert sorted(rows(table), key=str) == sorted(expected, key=str)


def test_a_file_whose_disk_is_full_fails_alone_when_it_must_be_put_in_order(model, folder, tmp_path):
    table, objects = scored(model, folder, tmp_path, "-r")
    objects.write_text(objects.read_text() + '{"probs": {"lo')
    before = objects.read_bytes()
    photograph(folder / "new.png")
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)); " + PROGRAM
    options = ["--csv", table, "--jsonl", objects, "--html", "/dev/null", "--resume"]
    command = [*main(limited), "score", "--model", model, "--samples", VIEWS, folder, *options]
    result = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, env=environment())
    assert result.returncode == 3, result.stderr
    assert f"error: --jsonl {objects}: File too large" in result.stderr
    assert "new.png" in names(table) and len(rows(table)) == 6
    assert objects.read_bytes() == before
    assert resumed(model, folder / "a.png", table, objects).returncode == 0
    assert sorted(names(table)) == sorted(os.path.basename(line["path"]) for line in lines(objects))


def test_a_label_without_a_name_is_not_scored_again(model, folder, tmp_path):
    nameless = small.model(labels=("", "high"))
    nameless.net.label.bias.data[0] += 100
    save_model(nameless, tmp_path / "nameless.safetensors")
    table, objects = scored(tmp_path / "nameless.safetensors", folder, tmp_path)
    again = resumed(tmp_path / "nameless.safetensors", folder, table, objects)
    assert again.returncode == 0 and "images in" not in again.stderr


def test_a_jsonl_file_alone_is_gone_on_with(model, folder, tmp_path):
    objects = tmp_path / "s.jsonl"
    assert score(model, folder / "a.png", "--jsonl", objects).returncode == 0
    objects.write_text(objects.read_text() + '{"probs": {"lo')
    result = score(model, folder, "--jsonl", objects, "--resume")
    assert result.returncode == 0
    assert "3 images in" in result.stderr
    assert len(lines(objects)) == 4
    objects.write_text(objects.read_text() + '{"probs": 1}\n')
    result = score(model, folder, "--jsonl", objects, "--resume")
    assert result.returncode == 2 and "line 5 is not a score of this program" in result.stderr


@pytest.mark.parametrize("saved", ["excel", "excel in Europe", "quoted", "shortened", "trimmed"])
def test_a_csv_that_a_spreadsheet_saved_is_taken(model, folder, tmp_path, saved):
    Image.open(folder / "a.png").save(folder / "größe.png")
    table, objects = scored(model, folder, tmp_path)
    before = rows(table)
    text = table.read_text()
    if saved == "quoted":
        text = "".join(",".join('"' + cell.replace('"', '""') + '"' for cell in row.values()) + "\n" for row in before)
        text = ",".join(f'"{field}"' for field in FIELDS) + "\n" + text
    elif saved == "excel in Europe":
        cells = [[*row.values()] for row in before]
        for row in cells:
            row[0] = '"' + row[0].replace('"', '""') + '"'
            row[1:3] = [value.replace(".", ",") for value in row[1:3]]
        text = "\n".join(";".join(row) for row in [FIELDS, *cells]) + "\n"
    elif saved == "trimmed":
        text = re.sub(",$", "", text, flags=re.MULTILINE)
        assert text != table.read_text()
    elif saved == "shortened":
        text = text.replace("0,low", ",low").replace("0,high", ",high")
    table.write_bytes(b"\xef\xbb\xbf" * ("excel" in saved) + text.replace("\n", "\r\n").encode())
    result = resumed(model, folder, table, objects)
    assert result.returncode == 0, result.stderr
    assert "images in" not in result.stderr
    assert rows(table) == before
    assert resumed(model, folder / "sub", table, objects).returncode == 0
    assert alone(rows(table)[:-1]) == alone(before) and len(rows(table)) == 6
    assert b"\r" not in table.read_bytes()


def test_a_sheet_is_refreshed_with_resume(model, folder, tmp_path):
    sheet = tmp_path / "s.html"
    table, objects = scored(model, folder, tmp_path, "--html", sheet)
    assert resumed(model, folder / "sub", table, objects, "--html", sheet).returncode == 0
    assert sheet.read_text().count("<figure>") == 5
