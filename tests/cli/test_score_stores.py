"""Photographs in stores on the command line: addresses of fsspec, and zip files."""

from __future__ import annotations

import json
import zipfile

import pytest

from tests import warm
from tests.cli.command import PROGRAM, VIEWS, environment, lines, rows, score


@pytest.fixture
def archive(folder, tmp_path):
    """The photographs in a zip file."""
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w") as file:
        for each in sorted(folder.rglob("*")):
            if each.is_file():
                file.write(each, each.relative_to(folder))
    return path


def means(path):
    return {row["path"].partition("::")[0].rpartition("/")[2]: row["mean"] for row in rows(path)}


def test_a_zip_file_stands_for_the_photographs_in_it(model, folder, archive, tmp_path):
    assert score(model, folder, "-r", "--csv", tmp_path / "folder.csv").returncode == 0
    done = score(model, archive, "-r", "--csv", tmp_path / "zip.csv", "--exclude", "c.webp")
    assert done.returncode == 0, done.stderr
    wanted = means(tmp_path / "folder.csv")
    del wanted["c.webp"]
    assert means(tmp_path / "zip.csv") == wanted and "1 file or folder (excluded" in done.stderr
    assert f"zip://sub/d.png::{archive}" in [row["path"] for row in rows(tmp_path / "zip.csv")]
    assert score(model, archive, "--csv", tmp_path / "top.csv").returncode == 0
    assert len(rows(tmp_path / "top.csv")) == 4 and "d.png" not in means(tmp_path / "top.csv")


def test_what_is_done_is_not_done_again(model, archive, tmp_path):
    csv = tmp_path / "s.csv"
    first = f"zip://a.png::{archive}"
    assert score(model, first, "--csv", csv).returncode == 0
    (tmp_path / "elsewhere").mkdir()
    done = score(model, archive, "-r", "--csv", csv, "--jsonl", tmp_path / "s.jsonl", "--resume", cwd=tmp_path / "elsewhere")
    assert done.returncode == 0 and "5 images in" in done.stderr, done.stderr  # including a.png, which --jsonl lacks
    assert sorted(row["path"] for row in rows(csv)) == sorted(line["path"] for line in lines(tmp_path / "s.jsonl"))
    assert len(rows(csv)) == 5
    again = score(model, archive, "-r", "--csv", csv, "--jsonl", tmp_path / "s.jsonl", "--resume")
    assert again.returncode == 0 and "images in" not in again.stderr and len(rows(csv)) == 5


def test_addresses_come_from_standard_input_too(model, folder, tmp_path):
    """A missing file and an unknown store are reported; files keep their names."""
    asked = [f"file://{folder}/a.png", f"file://{folder}/gone.png", "nostore://x/a.png", str(folder / "b.JPG")]
    done = score(model, "--jsonl", tmp_path / "s.jsonl", input="\n".join(asked))
    assert done.returncode == 1
    found = {line["path"]: line["error"] for line in lines(tmp_path / "s.jsonl")}
    named = [each.removeprefix("file://") for each in asked]  # local files have one name
    assert list(found) == named and found[named[0]] is None and found[named[3]] is None
    assert found[named[1]] == "no such file" and "nostore" in found[named[2]]


def test_an_address_that_only_a_row_has_is_not_followed(model, folder, archive, tmp_path):
    """A file of rows may come from somebody else, so a missing file's address is followed only when it is named."""
    address = f"zip://a.png::{archive}"
    assert score(model, address, "--csv", tmp_path / "s.csv").returncode == 0
    done = score(
        model, folder / "b.JPG", "--csv", tmp_path / "s.csv", "--jsonl", tmp_path / "s.jsonl", "--resume"
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "followed where it is named" in done.stderr
    assert [line["path"] for line in lines(tmp_path / "s.jsonl") if line["error"] is None] == [str(folder / "b.JPG")]


def test_a_store_of_this_process_is_searched(model, folder, tmp_path):
    """memory://, which the scoring process fills, is searched like any store of fsspec's."""
    program = f"""if True:
        import fsspec, pathlib
        system = fsspec.filesystem("memory")
        for path in pathlib.Path({str(folder)!r}).rglob("*"):
            if path.is_file():
                system.pipe_file("/bucket/" + path.name, path.read_bytes())
        system.pipe_file("/bucket/.hidden.png", b"x")
    """
    words = ["score", "--model", model, "--samples", VIEWS, "memory://bucket", "--csv", tmp_path / "s.csv"]
    done = warm.run(f"{program}\n{PROGRAM}", words, None, "", environment())
    assert done.returncode == 0, done.stderr
    assert [row["path"] for row in rows(tmp_path / "s.csv")] == [
        f"memory:///bucket/{name}" for name in ("a.png", "b.JPG", "c.webp", 'comma, "quote".png', "d.png")
    ]
    assert "1 hidden file" in done.stderr


@pytest.mark.parametrize(
    "options", [["--html", "s.html"], ["--xmp"], ["--copy", "best", "--best", 1], ["--move", "best", "--best", 1]]
)
def test_what_needs_files_of_this_machine_is_refused(model, archive, tmp_path, options):
    before = sorted(tmp_path.rglob("*"))
    done = score(model, archive, *options, cwd=tmp_path)
    assert done.returncode == 2 and f"{options[0]} needs files of this machine" in done.stderr
    done = score(model, *options, cwd=tmp_path, input=f"zip://a.png::{archive}\n")
    assert done.returncode == 1 and f"{options[0]} needs files of this machine" in done.stderr
    assert [path for path in sorted(tmp_path.rglob("*")) if path.name != "s.html"] == before


def test_a_zip_file_that_is_none_is_named(model, tmp_path):
    (tmp_path / "bad.zip").write_bytes(b"PK no zip")
    done = score(model, tmp_path / "bad.zip", "--jsonl", "-")
    assert done.returncode == 1 and json.loads(done.stdout)["error"].startswith("the store does not give it: ")


def test_without_fsspec_the_extra_is_named(model, archive):
    program = f"import sys; sys.modules['fsspec'] = sys.modules['fsspec.core'] = None\n{PROGRAM}"
    done = warm.run(program, ["score", "--model", model, archive], None, "", environment())
    assert done.returncode == 1 and "needs fsspec: pip install 'dcnn-fast[stores]'" in done.stderr
