"""Personal taste: how well a few ratings adapt the shipped model to four people with different preferences.

The people are synthetic: each rates OASIS's photographs by their mean beauty and by a personal preference. The measure is the
Spearman correlation with their ratings of held-out photographs, before and after `dcnn-fast adapt`. The shipped model was
trained on the mean beauty of these photographs, but not on the preferences.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.stats import spearmanr

from dcnn_fast.data.reading import read
from dcnn_fast.scoring import Scorer
from studies.taste.features import Rated

SIZES, DRAWS, HELD_OUT = (25, 50, 100, 200), 3, 300  # held out: photographs used only for testing


@dataclass(frozen=True)
class Person:
    """A model's Spearman correlation for one person's held-out photographs, before and after each number of ratings.

    likes: in words. seconds: the median for one adaptation.
    """

    likes: str
    before: float
    after: dict[int, float]
    seconds: float


def tastes(rated: Rated, data: Path) -> dict[str, np.ndarray]:
    """Each person's ratings of all photographs, from standardised measures."""
    colours, edges, warmth = [], [], []
    for name in rated.names:
        pixels = np.asarray(Image.fromarray(read(data / "oasis" / "images" / name).pixels).resize((100, 80)), np.float64)
        colours.append((pixels.max(axis=2) - pixels.min(axis=2)).mean())
        warmth.append((pixels[..., 0] - pixels[..., 2]).mean())
        edges.append(np.abs(np.diff(pixels.mean(axis=2), axis=1)).mean())
    beauty = _standard(rated.ratings)
    return {
        "animals above all": beauty + 2 * (rated.categories == "Animal"),
        "warm colours": beauty + _standard(np.array(warmth)),
        "simple pictures": beauty - _standard(np.array(edges)),
        "muted colours": beauty - _standard(np.array(colours)),
    }


def measure(rated: Rated, data: Path) -> list[Person]:
    """Each person's agreement for every number of ratings; each line is printed as soon as it is measured."""
    found = []
    for name, ratings in tastes(rated, data).items():
        before: list[float] = []
        after: dict[int, list[float]] = {size: [] for size in SIZES}
        seconds = []
        for draw in range(DRAWS):
            order = np.random.default_rng(draw).permutation(len(ratings))
            unseen = order[-HELD_OUT:]
            before.append(_agreement(Scorer(samples=1), rated, ratings, unseen, data))
            for size in SIZES:
                with tempfile.TemporaryDirectory() as folder:
                    started = time.monotonic()
                    model = _adapted(Path(folder), rated, ratings, order[:size], data)
                    seconds.append(time.monotonic() - started)
                    after[size].append(_agreement(Scorer(model, samples=1), rated, ratings, unseen, data))
        person = Person(
            name, _mean(before), {size: _mean(values) for size, values in after.items()}, round(float(np.median(seconds)), 1)
        )
        found.append(person)
        print(_row(person), flush=True)
    return found


def write(found: Sequence[Person], out: Path) -> None:
    """Write personal.json, personal.md and personal.svg."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "personal.json").write_text(json.dumps([asdict(person) for person in found], indent=1) + "\n")
    (out / "personal.md").write_text(markdown(found))
    draw(found, out / "personal.svg")


def markdown(found: Sequence[Person]) -> str:
    """The table of all people and numbers of ratings."""
    head = ["likes", "before", *(f"{size} ratings" for size in SIZES), "seconds"]
    return "\n".join([f"| {' | '.join(head)} |", "|" + "---|" * len(head), *map(_row, found)]) + "\n"


def _row(person: Person) -> str:
    values = (person.before, *(person.after[size] for size in SIZES))
    return f"| {' | '.join((person.likes, *(f'{value:.3f}' for value in values), f'{person.seconds:.0f}'))} |"


def draw(found: Sequence[Person], path: Path) -> None:
    """Draw agreement over the number of ratings, a line for each person."""
    from matplotlib import rc_context  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    with rc_context({"svg.hashsalt": "personal", "font.size": 9}):
        figure = Figure(figsize=(6, 3.4), layout="constrained")
        axes = figure.subplots()
        for person in found:
            axes.plot((0, *SIZES), (person.before, *(person.after[size] for size in SIZES)), marker="o", label=person.likes)
        axes.set_xlabel("photographs rated")
        axes.set_ylabel("Spearman, photographs not rated")
        axes.set_xticks((0, *SIZES))
        axes.grid(alpha=0.3)
        axes.legend()
        figure.savefig(path, format="svg", metadata={"Date": None})


def _mean(values: Sequence[float]) -> float:
    return round(float(np.mean(values)), 4)


def _adapted(folder: Path, rated: Rated, ratings: np.ndarray, rows: np.ndarray, data: Path) -> Path:
    """The model file that the command makes from these ratings."""
    with open(folder / "ratings.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "rating"))
        writer.writerows((data / "oasis" / "images" / rated.names[row], ratings[row]) for row in rows)
    program = [sys.executable, "-c", "from dcnn_fast.cli.main import run; run()"]
    options = ["adapt", "shipped", str(folder / "ratings.csv"), "--out", str(folder / "run")]
    subprocess.run([*program, *options], check=True, capture_output=True)
    return folder / "run" / "best.safetensors"


def _agreement(scorer: Scorer, rated: Rated, ratings: np.ndarray, rows: np.ndarray, data: Path) -> float:
    scores = scorer.score_many([data / "oasis" / "images" / rated.names[row] for row in rows])
    return float(spearmanr([score.mean for score in scores], ratings[rows]).statistic)


def _standard(values: np.ndarray) -> np.ndarray:
    return np.asarray((values - values.mean()) / values.std())
