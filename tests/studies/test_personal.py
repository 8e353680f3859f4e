"""Adapting the shipped model to a person: the study's outputs, and the documents' statements about it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from studies.taste import personal
from studies.taste.features import Rated
from studies.taste.personal import Person

ROOT = Path(__file__).parents[2]
PEOPLE = [Person("cats", 0.5, {25: 0.6, 50: 0.65, 100: 0.7, 200: 0.75}, 5.0)]


@pytest.fixture
def brightness(tmp_path, monkeypatch):
    """OASIS-like photographs of one colour each, and a person who prefers bright ones."""
    folder = tmp_path / "data" / "oasis" / "images"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    levels = rng.permutation(np.linspace(10, 240, 30))
    for number, level in enumerate(levels):
        pixels = np.clip(level + rng.normal(0, 6, (40, 50, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    for name, value in (("SIZES", (14,)), ("DRAWS", 1), ("HELD_OUT", 10)):
        monkeypatch.setattr(personal, name, value)
    monkeypatch.setattr(personal, "tastes", lambda *_: {"bright": levels})
    names = [f"{number}.png" for number in range(len(levels))]
    return Rated(names, levels, np.array(names), np.array(names)), tmp_path / "data"


def test_ratings_by_the_command_teach_a_taste(brightness):
    (person,) = personal.measure(*brightness)
    assert person.likes == "bright" and person.after[14] > 0.9 and person.after[14] > person.before and person.seconds > 0


def test_a_persons_figures_are_written_and_drawn(tmp_path):
    personal.write(PEOPLE, tmp_path)
    assert json.loads((tmp_path / "personal.json").read_text())[0]["after"]["200"] == 0.75
    assert "| cats | 0.500 | 0.600 | 0.650 | 0.700 | 0.750 | 5 |" in (tmp_path / "personal.md").read_text()
    drawn = (tmp_path / "personal.svg").read_bytes()
    assert (drawn.startswith(b"<?xml") and b"cats" in drawn) or b"<svg" in drawn
    personal.draw(PEOPLE, tmp_path / "again.svg")
    assert (tmp_path / "again.svg").read_bytes() == drawn


def test_the_documents_say_what_was_measured():
    held = json.loads((ROOT / "docs" / "personal.json").read_text())
    people = [Person(**{**each, "after": {int(size): value for size, value in each["after"].items()}}) for each in held]
    assert personal.markdown(people) in (ROOT / "docs" / "taste-study.md").read_text()
    assert all(person.after[25] > person.before and person.after[200] > person.after[25] for person in people)
    assert "<svg" in (ROOT / "docs" / "personal.svg").read_text()
