"""Photographs and a network for several stages."""

from __future__ import annotations

import numpy as np

from dcnn_fast.networks import Block, Column, CrossMapNorm, Network, Pool


def small_network() -> Network:
    """Two columns of two blocks on windows of 24 pixels, for the simulator."""
    blocks = (Block(8, 5, stride=2, pool=Pool(), norm=CrossMapNorm()), Block(12, 3, padding=1))
    columns = [
        Column(view, blocks, (20, 16), plane=32, window=24, mean=(120.5, 110.0, 100.0), scale=1 / 64)
        for view in ("local", "warp")
    ]
    return Network("small", tuple(columns), ("low", "high"))


def picture(height: int, width: int, seed: int) -> np.ndarray:
    """[height, width, 3] uint8, smooth with noise: uniform pixels would give equal scores despite any error."""
    rng = np.random.default_rng(seed)
    rows, cols = np.mgrid[:height, :width] / max(height, width)
    waves = [np.sin(9 * (a * rows + b * cols) + c) for a, b, c in rng.normal(size=(3, 3))]
    return np.clip(128 + 80 * np.stack(waves, axis=-1) + rng.normal(0, 12, (height, width, 3)), 0, 255).astype(np.uint8)
