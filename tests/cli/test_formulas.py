"""A file's name is never executed: no formula in a spreadsheet, no markup and no reversed letters in a page."""

from __future__ import annotations

import csv
import itertools
import re

import pytest

from dcnn_fast.cli import formulas
from tests.cli.command import run, score
from tests.cli.conftest import photograph

NAMES = [
    "=HYPERLINK(1)&x.jpg",
    "+1.jpg",
    "-2+3|cmd.jpg",
    "@SUM(1).jpg",
    "\tx.jpg",
    "\rx.jpg",
    "'quoted.jpg",
    "''=x.jpg",
    "plain=.jpg",
    "a;=1+1.jpg",
    "a;'b;+1;';'=2\t=3.jpg",
]
HARMLESS = [
    "<script>alert(1)</script>".replace("/", "\u2044") + ".jpg",
    "line\nbreak.jpg",
    "a\u202egpj.exe.jpg",
    b"\xff\xfe.jpg",
]


def rows(path):
    with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.DictReader(file))


def test_no_name_is_a_formula_and_each_is_known_again(model, tmp_path):
    for number, name in enumerate(NAMES):
        photograph(tmp_path / name, number)
    (tmp_path / "=bad.jpg").write_text("no picture")
    names = sorted([*NAMES, "=bad.jpg"])
    quiet = ("--csv", "s.csv", "--csv-for-spreadsheets", "--", ".")
    assert score(model, *quiet[:-2], "--", *["./" + name for name in names], cwd=tmp_path).returncode == 1
    plain = {row["path"]: row for row in rows(tmp_path / "s.csv")}
    typed = {formulas.from_text(path): path for path in plain}
    assert set(typed) == {"./" + name for name in names}
    assert all(typed["./" + name] == "./" + name for name in names if ";" not in name)  # they begin with a point
    given = "".join(name + "\n" for name in names if "\n" not in name and "\r" not in name)
    (tmp_path / "s.csv").unlink()
    first = score(model, *quiet[:3], cwd=tmp_path, input=given)
    assert first.returncode == 1, first.stderr
    cells = [row["path"] for row in rows(tmp_path / "s.csv")]
    assert not [cell for cell in cells if cell.startswith(tuple("=+-@\t\r"))]
    split = [part for line in (tmp_path / "s.csv").read_text().splitlines() for part in re.split("[;\t]", line)]
    assert not [part for part in split if part.startswith(tuple("=+-@"))]  # a locale with decimal commas
    assert sorted(map(formulas.from_text, cells)) == sorted(given.splitlines())
    before = (tmp_path / "s.csv").read_bytes()
    again = score(model, *quiet[:3], "--resume", "--keep-failures", cwd=tmp_path, input=given)
    assert again.returncode == 1 and "images in" not in again.stderr, again.stderr  # all are known, none is scored again
    assert (tmp_path / "s.csv").read_bytes() == before
    other = score(model, "--csv", "s.csv", "--resume", cwd=tmp_path, input=given)
    assert other.returncode == 2 and "s.csv was made with --csv-for-spreadsheets on (here off)" in other.stderr
    assert (tmp_path / "s.csv").read_bytes() == before


def test_evaluate_has_it_too(model, tmp_path):
    lines = ["path,label"]
    for number in range(10):
        photograph(tmp_path / f"=1+{number}.jpg", number)
        lines.append(f"=1+{number}.jpg,{('low', 'high')[number % 2]}")
    data = tmp_path / "set.csv"
    data.write_text("\n".join(lines) + "\n")
    out = ("--csv", tmp_path / "e.csv", "--csv-for-spreadsheets")
    found = run("evaluate", model, data, "--split", "all", "--samples", 1, *out)
    assert found.returncode == 0, found.stderr
    assert sorted(row["key"] for row in rows(tmp_path / "e.csv")) == [f"'=1+{number}.jpg" for number in range(10)]


@pytest.mark.parametrize("text", ["", "=", "'=", "''", "'a", "a=", "-1", "\t", *NAMES])
def test_a_text_is_known_again(text):
    assert formulas.from_text(formulas.as_text(text)) == text
    assert not formulas.as_text(text).startswith(tuple("=+-@\t\r"))
    assert not [part for part in re.split("[;\t\r\n]", formulas.as_text(text)) if part.startswith(tuple("=+-@"))]


def test_every_text_is_known_again():
    """All strings of up to five of the letters that matter."""
    for length in range(6):
        for letters in itertools.product("=';\ta", repeat=length):
            text = "".join(letters)
            assert formulas.from_text(formulas.as_text(text)) == text


def test_it_needs_a_csv(model, tmp_path):
    found = score(model, tmp_path, "--csv-for-spreadsheets")
    assert found.returncode == 2 and "--csv-for-spreadsheets needs --csv" in found.stderr


def test_no_name_acts_in_a_page(model, tmp_path):
    folder = tmp_path / "p"
    folder.mkdir()
    for number, name in enumerate([*HARMLESS, "b\u2067ad\u202e.png"]):
        path = folder / name if isinstance(name, str) else bytes(folder) + b"/" + name
        photograph(tmp_path / "x.jpg", number)
        with open(path, "wb") as file:
            file.write((tmp_path / "x.jpg").read_bytes() if number < len(HARMLESS) else b"no picture")
    assert score(model, folder, "--html", tmp_path / "s.html").returncode == 1
    page = (tmp_path / "s.html").read_bytes().decode()  # valid text, whatever the names are
    assert page.count("<script") == 1 and "&lt;script&gt;" in page
    assert not set("\u202e\u2067") & set(page) and "a\\u202egpj.exe.jpg" in page
