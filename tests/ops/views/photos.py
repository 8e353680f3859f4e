"""Random photographs."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tests.ops import guarded


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Random pixels, among them rows and columns of whites and blacks, where rounding errors would show."""
    random = np.random.default_rng((seed, height, width))
    pixels = random.integers(0, 256, (height, width, 3)).astype(np.uint8)
    pixels[random.random(height) < 0.1] = 255
    pixels[:, random.random(width) < 0.1] = 255
    pixels[:, random.random(width) < 0.1] = 0
    return pixels


def among_ones(height: int, width: int, channels: int = 3, seed: int = 0) -> Tensor:
    """Random pixels inside a larger buffer of 255s, which must not matter. Alpha is often 0 or 255."""
    random = np.random.default_rng(seed + 7 * height + width)
    pixels = random.integers(0, 256, (height, width, channels)).astype(np.uint8)
    if channels == 4:
        pixels[..., 3] = np.clip(random.integers(-200, 456, (height, width)), 0, 255)
    return guarded.between(torch.from_numpy(pixels), offset=37)[0]
