"""Fields of rows beside the score: size, time, camera, place in the collection, faults, samples and groups."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import time

import numpy as np
import pytest
from PIL import ExifTags, Image

from dcnn_fast.scoring.score import FIRST_CSV_FIELDS
from tests.cli.command import FIELDS, PROGRAM, VIEWS, alone, environment, files_of, lines, main, rows, score, wait_for
from tests.cli.conftest import photograph
from tests.photographs.scenes import scene

OLD = ",".join(FIRST_CSV_FIELDS) + "\n"


def shot(path, image, taken=None, camera="X100V", **tags):
    """A photograph with EXIF data."""
    exif = Image.Exif()
    exif[ExifTags.Base.Model] = camera
    if taken is not None:
        exif.get_ifd(ExifTags.IFD.Exif)[0x9003] = taken
    for tag, value in tags.items():
        exif[ExifTags.Base[tag]] = value
    image.save(path, exif=exif, quality=90)


@pytest.fixture
def album(tmp_path):
    """Three photographs; a cropped and re-encoded copy of the first; and one more of the second one's burst."""
    folder = tmp_path / "album"
    folder.mkdir()
    shot(folder / "a.jpg", scene(0), "2024:05:01 12:00:00")
    shot(folder / "b.jpg", scene(1), "2024:05:01 12:00:10")
    shot(folder / "c.jpg", scene(2), "2024:05:01 12:00:12")
    scene(0).crop((8, 8, 632, 412)).save(folder / "a-edited.jpg", quality=60)
    shot(folder / "b-next.jpg", scene(1).crop((40, 30, 640, 420)), "2024:05:01 12:00:14")
    return folder


def by_name(table):
    return {os.path.basename(row["path"]): row for row in rows(table)}


def scored(model, *arguments):
    result = score(model, *arguments)
    assert result.returncode in (0, 1), result.stderr
    return result


def test_a_row_says_what_the_file_says(model, tmp_path):
    shot(tmp_path / "a.jpg", scene(0), "2024:05:01 12:34:56", "=cmd()", Make="Evil, Inc", Orientation=6)
    Image.new("RGBA", (40, 50), (9, 9, 9, 9)).save(tmp_path / "b.png")
    (tmp_path / "bad.png").write_bytes(b"bad")
    files = ["--csv", tmp_path / "s.csv", "--jsonl", tmp_path / "s.jsonl"]
    scored(model, tmp_path / "a.jpg", tmp_path / "b.png", tmp_path / "bad.png", *files)
    found = by_name(tmp_path / "s.csv")
    first = found["a.jpg"]
    said = {name: first[name] for name in ("width", "height", "taken", "camera", "notes", "faults", "group", "best_of_group")}
    assert said == {
        "width": "420", "height": "640", "taken": "2024-05-01T12:34:56", "camera": "Evil, Inc =cmd()", "notes": "",
        "faults": "", "group": "", "best_of_group": "",
    }  # fmt: skip
    assert found["b.png"]["notes"] == "transparent pixels were laid over RGB 255 255 255"
    assert (found["b.png"]["width"], found["b.png"]["height"], found["b.png"]["camera"]) == ("40", "50", "")
    assert all(found["bad.png"][name] == "" for name in FIELDS if name not in ("path", "views", "seed", "error"))
    full = lines(tmp_path / "s.jsonl")[0]
    assert (full["width"], full["taken"], full["samples"], full["look"]) == (420, "2024-05-01T12:34:56", None, None)


def test_a_spreadsheet_calculates_none_of_the_new_texts(model, tmp_path):
    shot(tmp_path / "a.jpg", scene(0), camera="=1+1")
    scored(model, tmp_path / "a.jpg", "--csv", tmp_path / "s.csv", "--csv-for-spreadsheets")
    assert rows(tmp_path / "s.csv")[0]["camera"] == "'=1+1"
    again = scored(model, tmp_path / "a.jpg", "--csv", tmp_path / "s.csv", "--csv-for-spreadsheets", "--resume")
    assert "images in" not in again.stderr and rows(tmp_path / "s.csv")[0]["camera"] == "'=1+1"


def test_the_place_in_the_collection_counts_ties_half(model, folder, tmp_path):
    for copy in ("e.png", "f.png"):
        (folder / copy).write_bytes((folder / "a.png").read_bytes())
    (folder / "bad.png").write_bytes(b"bad")
    files = ["--csv", tmp_path / "s.csv", "--jsonl", tmp_path / "s.jsonl"]
    scored(model, folder, *files)
    table = rows(tmp_path / "s.csv")
    means = [float(row["mean"]) for row in table if row["mean"]]
    assert len(means) == 6 and len(set(means)) == 4
    for row, line in zip(table, lines(tmp_path / "s.jsonl"), strict=True):
        if not row["mean"]:
            assert row["collection_percentile"] == "" and line["collection_percentile"] is None
            continue
        mean = float(row["mean"])
        expected = 100 * (sum(each < mean for each in means) + sum(each == mean for each in means) / 2) / 6
        assert float(row["collection_percentile"]) == pytest.approx(expected, abs=1e-6)
        assert line["collection_percentile"] == pytest.approx(expected)


def test_the_place_is_among_all_that_the_files_hold(model, folder, tmp_path):
    files = ["--csv", tmp_path / "s.csv", "--jsonl", tmp_path / "s.jsonl"]
    scored(model, folder, *files)
    before = files_of(tmp_path)
    places = sorted(float(row["collection_percentile"]) for row in rows(tmp_path / "s.csv"))
    assert places == [12.5, 37.5, 62.5, 87.5]
    photograph(folder / "e.png", 7)
    scored(model, folder, *files, "--resume")
    assert sorted(float(row["collection_percentile"]) for row in rows(tmp_path / "s.csv")) == [10, 30, 50, 70, 90]
    assert sorted(line["collection_percentile"] for line in lines(tmp_path / "s.jsonl")) == [10, 30, 50, 70, 90]
    written = [os.stat(tmp_path / name).st_mtime_ns for name in ("s.csv", "s.jsonl")]
    scored(model, folder, *files, "--resume")  # nothing to add
    assert [os.stat(tmp_path / name).st_mtime_ns for name in ("s.csv", "s.jsonl")] == written
    os.remove(folder / "e.png")
    scored(model, folder, *files, "--overwrite")
    assert files_of(tmp_path) == before


def test_a_file_from_before_there_were_more_fields_is_gone_on_with(model, folder, tmp_path):
    table = tmp_path / "s.csv"
    scored(model, folder, "--csv", table)
    whole = rows(table)
    (tmp_path / "old.csv").write_text("".join(line.rsplit(",", 9)[0] + "\n" for line in table.read_text().splitlines()))
    assert (tmp_path / "old.csv").read_text().startswith(OLD)
    os.replace(tmp_path / "old.csv", table)
    photograph(folder / "new.png", 9)
    result = scored(model, folder, "--csv", table, "--resume")
    assert "1 images in" in result.stderr
    now = rows(table)
    assert list(now[0]) == FIELDS and len(now) == 5
    unknown = {"width": "", "height": "", "notes": ""}
    assert alone(now[:4]) == [{**row, **unknown} for row in alone(whole)]
    assert now[4]["width"] == "50" and all(row["collection_percentile"] for row in now)


def test_a_pipe_has_no_places_and_says_the_rest(model, folder):
    result = scored(model, folder / "a.png", "--csv", "-")
    header, row = result.stdout.splitlines()
    said = dict(zip(header.split(","), row.split(","), strict=True))
    assert (said["collection_percentile"], said["width"], said["height"]) == ("", "50", "40")


def test_an_interrupted_run_has_no_places_until_it_is_gone_on_with(model, folder, tmp_path):
    for i in range(400):
        os.link(folder / "a.png", folder / f"{i:03}.png")
    table = tmp_path / "s.csv"
    command = [*main(), "score", "--model", model, "--samples", VIEWS, folder, "--csv", table]
    with subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, env=environment()) as process:
        wait_for(process, table)
        while table.read_bytes().count(b"\n") < 5:
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130
    assert 4 <= len(rows(table)) < 404 and not any(row["collection_percentile"] for row in rows(table))
    scored(model, folder, "--csv", table, "--resume")
    assert len(rows(table)) == 404 and all(row["collection_percentile"] for row in rows(table))


def test_a_file_that_cannot_be_written_anew_keeps_its_rows(model, folder, tmp_path):
    scored(model, folder, "--csv", tmp_path / "whole.csv")
    most = (tmp_path / "whole.csv").stat().st_size - 1  # the rows fit, but their places in the collection do not
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({most}, {most})); " + PROGRAM
    command = [*main(limited), "score", "--model", model, "--samples", VIEWS, folder, "--csv", tmp_path / "s.csv"]
    result = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, env=environment())
    assert result.returncode == 3 and f"error: --csv {tmp_path}/s.csv: File too large" in result.stderr
    assert rows(tmp_path / "s.csv") == alone(rows(tmp_path / "whole.csv"))
    assert not list(tmp_path.glob(".dcnn-fast*"))
    scored(model, folder, "--csv", tmp_path / "s.csv", "--resume")
    assert (tmp_path / "s.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_faults_are_named_beside_the_score_and_change_nothing_else(model, album, tmp_path):
    Image.new("RGB", (300, 100), (90, 90, 90)).save(album / "plain.png")
    scored(model, album, "--csv", tmp_path / "off.csv")
    scored(model, album, "--csv", tmp_path / "s.csv", "--jsonl", tmp_path / "s.jsonl", "--faults")
    found = by_name(tmp_path / "s.csv")
    assert found["plain.png"]["faults"] == "blurred underexposed flat tiny empty"
    assert found["a.jpg"]["faults"] == "none"
    assert [{**row, "faults": ""} for row in rows(tmp_path / "s.csv")] == rows(tmp_path / "off.csv")
    (line,) = (line for line in lines(tmp_path / "s.jsonl") if line["path"].endswith("plain.png"))
    assert line["faults"] == ["blurred", "underexposed", "flat", "tiny", "empty"]
    assert line["measures"]["short_side"] == 100 and line["measures"]["detail"] == 0
    again = scored(model, album, "--csv", tmp_path / "s.csv", "--jsonl", tmp_path / "s.jsonl", "--faults", "--resume")
    assert "images in" not in again.stderr and by_name(tmp_path / "s.csv") == found


def test_samples_are_the_views_that_the_score_is_the_mean_of(model, folder, tmp_path):
    scored(model, folder, "--jsonl", tmp_path / "s.jsonl", "--per-sample")
    for line in lines(tmp_path / "s.jsonl"):
        samples = line["samples"]
        high = samples["labels"].index("high")
        means = [probs[high] for probs in samples["probs"]]
        assert len(means) == VIEWS and line["mean"] == pytest.approx(sum(means) / VIEWS, abs=1e-12)
        assert [column["view"] for column in samples["columns"]] == ["local", "warp"]
        for column in samples["columns"]:
            (height, width), (tall, wide) = column["plane"], column["window"]
            assert len(column["corners"]) == VIEWS
            assert all(0 <= top <= height - tall and 0 <= left <= width - wide for top, left in column["corners"])
    again = scored(model, folder, "--jsonl", tmp_path / "s.jsonl", "--per-sample", "--resume")
    assert "images in" not in again.stderr


def test_groups_have_the_name_of_their_first_and_one_best(model, album, tmp_path):
    files = ["--csv", tmp_path / "s.csv", "--jsonl", tmp_path / "s.jsonl"]
    scored(model, album, *files, "--groups")
    found = by_name(tmp_path / "s.csv")
    groups = {name: os.path.basename(row["group"]) for name, row in found.items()}
    assert groups == {"a.jpg": "a.jpg", "a-edited.jpg": "a.jpg", "b.jpg": "b.jpg", "b-next.jpg": "b.jpg", "c.jpg": ""}
    assert found["a.jpg"]["group"] == found["a.jpg"]["path"] and found["c.jpg"]["best_of_group"] == ""
    for first, second in (("a.jpg", "a-edited.jpg"), ("b.jpg", "b-next.jpg")):
        assert sorted(found[name]["best_of_group"] for name in (first, second)) == ["no", "yes"]
    for line in lines(tmp_path / "s.jsonl"):
        row = found[os.path.basename(line["path"])]
        assert (line["group"] or "", {True: "yes", False: "no", None: ""}[line["best_of_group"]]) == (
            row["group"],
            row["best_of_group"],
        )


def test_groups_reach_across_runs(model, album, tmp_path):
    files = ["--csv", tmp_path / "s.csv", "--jsonl", tmp_path / "s.jsonl", "--groups"]
    os.rename(album / "a-edited.jpg", tmp_path / "a-edited.jpg")
    scored(model, album, *files)
    assert by_name(tmp_path / "s.csv")["a.jpg"]["group"] == ""
    os.rename(tmp_path / "a-edited.jpg", album / "a-edited.jpg")
    result = scored(model, album, *files, "--resume")
    assert "1 images in" in result.stderr
    found = by_name(tmp_path / "s.csv")
    assert found["a.jpg"]["group"] == found["a-edited.jpg"]["group"] == f"{album}/a.jpg"


@pytest.mark.parametrize("option", ["--faults", "--per-sample", "--groups"])
def test_rows_made_without_an_option_are_not_gone_on_with_by_it(model, folder, tmp_path, option):
    table, objects = tmp_path / "s.csv", tmp_path / "s.jsonl"
    files = ["--csv", table, "--jsonl", objects]
    scored(model, folder, *files)
    before = table.read_bytes(), objects.read_bytes()
    result = score(model, folder, *files, "--resume", option)
    assert result.returncode == 2 and f"was made with {option} off (here on)" in result.stderr
    scored(model, folder, *files, "--overwrite", option)
    result = score(model, folder, *files, "--resume")
    assert result.returncode == 2 and f"was made with {option} on (here off)" in result.stderr
    scored(model, folder, *files, "--overwrite")
    assert (table.read_bytes(), objects.read_bytes()) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--per-sample", "--csv", "s.csv"], "--per-sample needs --jsonl: a CSV has no room for the samples"),
        (["--faults"], "--faults needs --csv, --jsonl, --parquet or --html, which show what it finds"),
        (["--groups"], "--groups needs --csv, --jsonl, --parquet or --html, which show what it finds"),
        (["--groups", "--csv", "s.csv", "--resume"], "--groups with --resume needs --jsonl"),
        (["--groups", "--csv", "-"], "--groups needs a file: groups are known at the end, when - has been written"),
    ],
)
def test_an_option_without_what_it_needs_is_refused(model, folder, tmp_path, options, message):
    result = score(model, folder, *options, cwd=tmp_path)
    assert result.returncode == 2 and message in result.stderr
    assert result.stderr.count("\n") == 1 and not list(tmp_path.glob("s.*"))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"samples": {"labels": ["low"]}}, "samples must have labels, probs and columns"),
        (
            {"samples": {"labels": ["low", "high"], "probs": [[0.5]], "columns": []}},
            "samples must have a probability for each label",
        ),
        ({"look": {"bits": "zz"}}, "look must be an object"),
        ({"faults": "blurred"}, "faults must be a list of names"),
        ({"measures": {"noise": "much"}}, "measures must be an object of numbers"),
        ({"best_of_group": "maybe"}, "best_of_group must be true, false or nothing"),
        ({"width": 0}, "width and height must be whole numbers from 1"),
        ({"camera": 5}, "path must be text; label, error, plan, taken, camera and group text or nothing"),
    ],
)
def test_a_line_with_a_field_that_is_none_is_named(model, folder, tmp_path, change, reason):
    objects = tmp_path / "s.jsonl"
    scored(model, folder / "a.png", "--jsonl", objects)
    objects.write_text(json.dumps({**lines(objects)[0], **change}) + "\n")
    before = objects.read_bytes()
    result = score(model, folder, "--jsonl", objects, "--resume")
    assert result.returncode == 2 and f"line 1 is not a score of this program: {reason}" in result.stderr
    assert objects.read_bytes() == before


def test_a_row_that_is_too_long_for_one_block_is_read_whole(model, tmp_path):
    """The files are read in blocks at the end; notes and paths with quotes and line ends lie across block borders."""
    from dcnn_fast.cli import rows as module  # noqa: PLC0415

    content = module.CSV.head + b"".join(
        module.CSV.line(module.Score(path=f'{n}"\n,' * 9, mean=0.5, std=0.1, label="high", samples_count=3)) for n in range(50)
    )
    with io.BufferedReader(io.BytesIO(content), 64) as file:
        assert list(module.rows_of(file, module.CSV)) == module.CSV.read(content)
    assert b"".join(read for read, _ in module.CSV.rows(io.BytesIO(content))) == content.removeprefix(module.CSV.head)


def test_the_page_shows_places_stars_groups_and_faults(model, tmp_path):
    """The page of a run without any file of rows; two photographs are one picture, saved twice."""
    pixels = np.random.default_rng(3).integers(0, 256, (30, 40, 3)).astype(np.uint8)
    large = Image.fromarray(pixels).resize((640, 480))
    for name, quality in (("a.jpg", 95), ("b.jpg", 85)):
        large.save(tmp_path / name, quality=quality)
    Image.fromarray(np.full((300, 400, 3), 7, np.uint8)).save(tmp_path / "c.png")
    result = scored(model, tmp_path, "--html", tmp_path / "s.html", "--groups", "--faults")
    page = (tmp_path / "s.html").read_text()
    cards = re.findall(r'<li id="p\d"[^>]*>', page)
    found = {re.search(r'data-name="([^"]*)"', card)[1]: card for card in cards}
    assert sorted(found) == ["a.jpg", "b.jpg", "c.png"]
    assert 'data-group="1"' in found["a.jpg"] and 'data-group="1"' in found["b.jpg"] and 'data-group=""' in found["c.png"]
    assert [re.search(r'data-best="([^"]*)"', found[name])[1] for name in ("a.jpg", "b.jpg")].count("yes") == 1
    assert "empty" in re.search(r'data-faults="([^"]*)"', found["c.png"])[1]
    assert sorted(re.search(r'data-suggested="(\d)"', card)[1] for card in cards) == ["1", "3", "4"]  # by the default shares
    assert "page: " in result.stderr
