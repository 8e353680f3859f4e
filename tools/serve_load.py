"""Load on a server of one's own, on loopback: how it compares with `Scorer.score_many`, and at four times its rate.

    python -m tools.serve_load PHOTOGRAPHS

The figures are those of `python -m bench serve`, of photographs of one's own.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from bench.effort import FULL
from bench.row import Row
from bench.suites import serve
from dcnn_fast.data.folders import find_images

_MOST = 200  # photographs held in memory


def main() -> None:
    """Print the rates."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photographs", type=Path)
    options = parser.parse_args()
    paths = list(find_images([options.photographs]))[:_MOST]
    for found in serve.rows(paths, torch.get_num_threads(), FULL):
        said = (
            f"{found.case}: {1 / found.seconds:.1f} a second; {found.note}" if isinstance(found, Row) else f"no time: {found}"
        )
        print(said)


if __name__ == "__main__":
    main()
