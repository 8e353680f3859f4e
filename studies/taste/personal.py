"""Your own taste: how well a few ratings fit the shipped model to four people who like different things.

The people are synthetic: each rates OASIS's photographs by its mean beauty and by a preference of their own. What counts is the
Spearman correlation with their ratings of photographs that they have not rated, before and after `dcnn-fast adapt`. The shipped
model learnt from the mean beauty of these photographs, but not from any of the preferences.
"""

from __future__ import annotations

import csv
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.stats import spearmanr

from dcnn_fast.data.reading import read
from dcnn_fast.scoring import Scorer
from studies.taste.features import Rated

SIZES, DRAWS, HELD_OUT = (25, 50, 100, 200), 3, 300  # held out: photographs that nobody rates


def tastes(rated: Rated, data: Path) -> dict[str, np.ndarray]:
    """Each person's ratings of all photographs, in deviations of what they look at."""
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


def measure(rated: Rated, data: Path) -> str:
    """The table of all people and sizes, in Markdown."""
    head = ["person", "before", *(f"{size} ratings" for size in SIZES), "seconds for 200"]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for person, ratings in tastes(rated, data).items():
        before, after = [], {size: [] for size in SIZES}  # type: ignore[var-annotated]
        seconds = []
        for draw in range(DRAWS):
            order = np.random.default_rng(draw).permutation(len(ratings))
            unseen = order[-HELD_OUT:]
            before.append(_agreement(Scorer(views=1), rated, ratings, unseen, data))
            for size in SIZES:
                with tempfile.TemporaryDirectory() as folder:
                    started = time.monotonic()
                    model = _adapted(Path(folder), rated, ratings, order[:size], data)
                    if size == SIZES[-1]:
                        seconds.append(time.monotonic() - started)
                    after[size].append(_agreement(Scorer(model, views=1), rated, ratings, unseen, data))
        cells = [
            person,
            f"{np.mean(before):.3f}",
            *(f"{np.mean(after[size]):.3f}" for size in SIZES),
            f"{np.median(seconds):.0f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    return "\n".join(lines) + "\n"


def _adapted(folder: Path, rated: Rated, ratings: np.ndarray, rows: np.ndarray, data: Path) -> Path:
    """What the command makes of these ratings."""
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
