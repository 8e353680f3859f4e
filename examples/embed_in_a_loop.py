"""Score pictures that a program makes or receives one by one: arrays, e.g. from a camera or a video.

python examples/embed_in_a_loop.py [MODEL]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np

from dcnn_fast import Scorer


def frames(count: int = 6) -> Iterator[np.ndarray]:
    """Stands for a camera: [height, width, 3] uint8, RGB, upright. The array may be reused."""
    rng, frame = np.random.default_rng(0), np.empty((240, 320, 3), np.uint8)
    for _ in range(count):
        frame[:] = rng.integers(0, 256, (8, 8, 3), np.uint8).repeat(30, 0).repeat(40, 1)
        yield frame


def main() -> None:
    scorer = Scorer(*sys.argv[1:])  # only once, as it reads and prepares a model
    best, number = -1.0, -1
    for index, score in enumerate(scorer.score_many(frames())):  # bounded memory, whatever the number of frames
        if score.mean is not None and score.mean > best:
            best, number = score.mean, index
    print(f"frame {number} is the best: {best:.3f}")


if __name__ == "__main__":
    main()
