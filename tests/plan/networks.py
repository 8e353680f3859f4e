"""Columns and windows for tests of plans: random ones, and every preset's."""

from __future__ import annotations

import numpy as np
import torch

from dcnn_fast import networks
from dcnn_fast.networks import Block, Column, CrossMapNorm, Pool, SameMapNorm

NORMS = (
    SameMapNorm(1, 0.4),
    None,
    CrossMapNorm(3, 0.3),
    CrossMapNorm(4, 0.5, 0.5, 2.0),
    SameMapNorm(3, 0.4),
    SameMapNorm(2, 0.4),
    SameMapNorm(4, 0.4),
)


def random_column(rng):
    """Up to four blocks of any kind that fit a window of 20 to 50 pixels."""
    while True:
        blocks = []
        for _ in range(rng.integers(1, 5)):
            size = int(rng.integers(1, 6))
            pool_size = int(rng.integers(1, 4))
            pool = Pool(pool_size, int(rng.integers(1, pool_size + 1))) if rng.random() < 0.6 else None
            blocks.append(
                Block(
                    int(rng.choice([2, 4, 6, 12])), size, int(rng.integers(1, min(size, 3) + 1)), int(rng.integers(0, size)),
                    groups=1 if not blocks or rng.random() < 0.7 else 2, pool=pool, norm=NORMS[rng.integers(len(NORMS))],
                    order="conv-pool-norm" if rng.random() < 0.6 else "conv-norm-pool",
                )
            )  # fmt: skip
        try:
            return Column(
                "warp", tuple(blocks), (4,), plane=60, window=int(rng.integers(20, 50)), mean=(3.0, 2.0, 1.0), scale=0.5,
                rounding="up" if rng.random() < 0.5 else "down",
            )  # fmt: skip
        except ValueError:
            continue


def random_windows(rng, column, plane):
    """Windows close together, on a grid, far apart, or all alike."""
    room = np.array(plane) - column.window
    count = int(rng.integers(1, 13))
    reach = np.minimum(room, int(rng.choice([0, 3, 8, 100])))
    step = int(rng.choice([1, 1, 2, 4]))
    return rng.integers(0, reach // step + 1, (count, 2)) * step


def cases(seeds):
    for seed in seeds:
        rng = np.random.default_rng(seed)
        column = random_column(rng)
        plane = tuple(column.window + rng.integers(0, 30, 2))
        pixels = torch.from_numpy(rng.integers(0, 256, (1, 3, *plane)).astype(np.uint8))
        yield seed, column, random_windows(rng, column, plane), plane, pixels


def preset_columns():
    """Every distinct column of every preset, in both geometries."""
    found = {}
    for name in networks.preset_names():
        for geometry in networks.GEOMETRIES:
            for column in networks.preset(name, geometry).columns:
                if not isinstance(column, networks.Column):
                    continue
                found[str((column.blocks, column.rounding))] = column
    return list(found.values())
