"""docs/concepts.md shows what the code does."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "concepts.md"
WORDS = (
    "view", "plane", "window", "block", "column", "network", "region", "plan", "rounding", "geometry", "reference", "backend",
    "phase", "piece", "store", "rim", "brute force", "lattice",
)  # fmt: skip


@pytest.mark.needs_engine
def test_every_example_prints_what_the_page_says():
    found = doctest.testfile(str(PAGE), module_relative=False, encoding="utf-8")
    assert found.attempted > 20
    assert found.failed == 0


@pytest.mark.parametrize("word", WORDS)
def test_the_page_explains_every_word(word):
    text = PAGE.read_text(encoding="utf-8").lower()
    assert f"**{word}**" in text or f"**{word}s**" in text or f"`{word}`" in text
