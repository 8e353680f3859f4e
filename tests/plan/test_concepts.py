"""docs/concepts.md explains every word, and its examples print the shown results."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "concepts.md"
WORDS = (
    "view", "plane", "window", "block", "column", "network", "region", "plan", "rounding", "geometry", "reference", "backend",
    "phase", "piece", "store", "rim", "brute force", "lattice",
)  # fmt: skip


@pytest.mark.needs_engine
def test_every_example_prints_what_the_page_says():
    examples = "\n".join(re.findall(r"```pycon\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL))
    said = doctest.DocTestParser().get_doctest(examples, {}, PAGE.name, str(PAGE), 0)
    found = doctest.DocTestRunner().run(said)
    assert found.attempted > 20
    assert found.failed == 0


@pytest.mark.parametrize("word", WORDS)
def test_the_page_explains_every_word(word):
    text = PAGE.read_text(encoding="utf-8").lower()
    assert f"**{word}**" in text or f"**{word}s**" in text or f"`{word}`" in text
