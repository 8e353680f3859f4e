"""Score the photographs of a folder, and print the best first.

python examples/score_folder.py FOLDER [MODEL]
"""

from __future__ import annotations

import sys

from dcnn_fast import Scorer
from dcnn_fast.data import find_images


def main() -> None:
    folder, *model = sys.argv[1:]
    scorer = Scorer(*model)  # the shipped model by default
    scores = list(scorer.score_many(find_images([folder], recursive=True)))
    for score in sorted(scores, key=lambda score: -(score.mean or 0)):
        if score.error is None:
            print(f"{score.mean:.3f}  {score.label:4}  {score.path}")
        else:
            print(f"not scored: {score.path}: {score.error}", file=sys.stderr)


if __name__ == "__main__":
    main()
