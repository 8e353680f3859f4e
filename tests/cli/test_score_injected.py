"""`score` with the disk full at each write in turn, killed within each write, and with each allocation failing."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from PIL import Image

from tests import injected
from tests.cli.command import VIEWS, alone

PICTURES = 2

needs_cc = pytest.mark.skipif(injected.compiler() is None, reason="needs the program cc")


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    with injected.Host(tmp_path_factory.mktemp("injected")) as found:
        yield found


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Pictures of sizes that tell a picture's allocations from all others."""
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(PICTURES):
        pixels = np.random.default_rng(number).integers(0, 256, (400, 420 + number, 4 if number == 1 else 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.{('jpg', 'png')[number]}")
    return folder


def arguments(model, pictures, out, *more):
    files = ("--csv", out / "s.csv", "--jsonl", out / "s.jsonl", "--html", out / "s.html")
    return ["score", pictures, "--model", model, "--samples", VIEWS, "--workers", 2, *files, *more]


def rows(out):
    with open(out / "s.csv", newline="") as file:
        return list(csv.DictReader(file))


def objects(out):
    return [json.loads(line) for line in (out / "s.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def whole(host, model, pictures, tmp_path_factory):
    """The outputs of a run without failures, and its number of writes."""
    out = tmp_path_factory.mktemp("whole")
    found = host.run("none", 0, arguments(model, pictures, out), under=out)
    assert found.status == 0 and found.count >= 2 * PICTURES + 4, found
    return rows(out), objects(out), found.count


def require_whole_rows(out, expected):
    """Check that each existing file holds rows of the whole run; only the last may be cut short, and only after a kill."""
    if (out / "s.csv").exists():
        lines = (out / "s.csv").read_text().splitlines(keepends=True)
        done = [line for line in lines if line.endswith("\n")]
        found = list(csv.DictReader(done)) if done else []
        assert all(row in alone(expected[0]) for row in alone(found))
        assert not any(row["collection_percentile"] for row in found) or found == expected[0]  # all at once
    if (out / "s.html").exists():
        assert (out / "s.html").read_text().rstrip().endswith("</html>")


@needs_cc
def test_a_disk_that_is_full_from_any_write_on(host, model, pictures, whole, tmp_path):
    """Each output that failed is named, the status is 3, and the files hold whole rows."""
    for number in range(1, whole[2] + 1):
        out = tmp_path / str(number)
        out.mkdir()
        found = host.run("full", number, arguments(model, pictures, out), under=out)
        assert found.status == 3 and "No space left on device" in found.stderr, (number, found)
        assert "Traceback" not in found.stderr, (number, found.stderr)
        require_whole_rows(out, whole)
        assert all(line.endswith("\n") for path in out.glob("s.*sv") for line in path.read_text().splitlines(keepends=True))
        assert not list(out.glob(".*")), (number, list(out.iterdir()))


@needs_cc
def test_a_kill_within_any_write(host, model, pictures, whole, tmp_path):
    """All rows but the last are whole, the user's own files stay, and --resume completes the outputs."""
    for number in range(1, whole[2] + 1):
        out = tmp_path / str(number)
        out.mkdir()
        (out / "notes.txt").write_text("mine")
        found = host.run("kill", number, arguments(model, pictures, out), under=out)
        assert found.status == -9, (number, found)
        require_whole_rows(out, whole)
        again = host.run("none", 0, arguments(model, pictures, out, "--resume"), under=out)
        assert again.status == 0 and "Traceback" not in again.stderr, (number, again)
        assert sorted(rows(out), key=str) == sorted(whole[0], key=str) and len(objects(out)) == PICTURES
        assert (out / "notes.txt").read_text() == "mine"
        left = {path.name for path in out.iterdir()}
        assert left == {"notes.txt", "s.csv", "s.jsonl", "s.html", "s.csv.run.json", "s.jsonl.run.json"}, (number, left)


@needs_cc
def test_each_allocation_of_a_picture_that_fails_is_that_pictures_error(host, model, pictures, whole, tmp_path):
    """The other picture has its score."""
    options = ["score", pictures, "--model", model, "--samples", VIEWS, "--workers", 1]
    count = host.run("memory", 0, options, under=tmp_path, least=300_000).count
    assert count >= 2 * PICTURES, count
    said = []
    for number in range(1, count + 1):
        out = tmp_path / str(number)
        out.mkdir()
        found = host.run("memory", number, [*options, "--csv", out / "s.csv"], under=out, least=300_000)
        assert found.status in (0, 1) and "Traceback" not in found.stderr, (number, found)
        done = rows(out)
        said += [row["error"] for row in done if row["error"]]
        assert len(done) == PICTURES and sum(bool(row["error"]) for row in done) == found.status
        assert all(row in alone(whole[0]) for row in alone(done) if not row["error"])
    assert said.count("there is not enough memory to read it") >= 2, said  # Pillow survives the other failures
