"""`dcnn-fast data examples`: a category's photographs, and those among them with a style (the paper's Fig. 10)."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from PIL import Image

from tests.cli.command import run

COLOURS = {"plain": (10, 20, 200), "styled": (200, 30, 20), "other": (20, 180, 30)}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Photographs in one colour each, by kind: blue ones without a style, red ones with one, green ones from another
    category."""
    folder = tmp_path_factory.mktemp("examples")
    rows = []
    for i in range(24):
        kind = ("plain", "styled", "other")[i % 3]
        Image.fromarray(np.full((20, 20, 3), COLOURS[kind], np.uint8)).save(folder / f"{i}.png")
        style = ("Macro", "HDR")[i % 2] if kind == "styled" else ""
        rows.append((f"{i}.png", i % 5, "floral" if kind == "other" else "stilllife", style))
    with (folder / "set.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "rating", "category", "attribute"), *rows])
    return folder


def colours(path):
    """The number of squares of 160 pixels of each colour in a picture."""
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    return {name: round(float((abs(pixels - colour).max(axis=2) < 12).sum()) / 400) for name, colour in COLOURS.items()}


def test_a_category_is_shown_with_and_without_its_styles(place):
    found = run("data", "examples", "set.csv", "fig.png", "--category", "stilllife", "--count", 8, cwd=place)
    assert found.returncode == 0, found.stderr
    counts = colours(place / "fig.png")
    assert counts["other"] == 0 and counts["plain"] + counts["styled"] == 16 and counts["styled"] >= 8
    again = run("data", "examples", "set.csv", "fig.png", "--category", "stilllife", cwd=place)
    assert again.returncode == 2 and "fig.png exists; --overwrite replaces it" in again.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("set.csv", "x.png", "--category", "portrait"), "category must be one that photographs show, floral, stilllife; got"),
        (("set.csv", "x.png", "--category", "floral"), "photographs that show floral must have a style, got none of 8"),
        (("set.csv", "x.txt", "--category", "floral"), "OUT must be a picture, .jpg or .png"),
        (("set.csv", "0.png", "--category", "stilllife", "--overwrite"), "0.png is one of the inputs"),
    ],
)
def test_what_cannot_be_shown_is_refused(place, words, message):
    found = run("data", "examples", *words, cwd=place)
    assert found.returncode == 2 and message in found.stderr, found.stderr
    assert not (place / "x.png").exists() and not (place / "x.txt").exists()
