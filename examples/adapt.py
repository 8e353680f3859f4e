"""Fit the shipped model to your own ratings, in closed form, and score with the result.

python examples/adapt.py RATINGS.csv MINE.safetensors [PHOTOGRAPH...]

RATINGS.csv has the columns path and rating, and at least ten rows, better fifty.
"""

from __future__ import annotations

import sys

from dcnn_fast import Scorer, load_model, save_model
from dcnn_fast.data import load_set
from dcnn_fast.scoring import shipped_model
from dcnn_fast.training.personal import fit_ratings


def main() -> None:
    ratings, out, *photographs = sys.argv[1:]
    found = fit_ratings(load_model(shipped_model()), load_set(ratings).examples)
    print(f"correlation with your ratings: {found.before:.2f} before, {found.after:.2f} by fits to all others")
    save_model(found.model, out)
    for score in Scorer(out).score_many(photographs):
        print(f"{score.path}: {score.error or format(score.mean, '.3f')}")


if __name__ == "__main__":
    main()
