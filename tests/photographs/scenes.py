"""Drawn scenes with features of photographs: brightness gradients, edges, detail, colours."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw


def scene(seed: int, width: int = 640, height: int = 420) -> Image.Image:
    """A different scene for each seed: a sky, a ground with detail, and objects in front of them."""
    rng = np.random.default_rng(seed)
    tops, bottoms = rng.integers(60, 256, 3), rng.integers(10, 200, 3)
    slope = np.linspace(0, 1, height)[:, None, None]
    pixels = np.broadcast_to(tops * (1 - slope) + bottoms * slope, (height, width, 3)).copy()
    horizon = int(height * rng.uniform(0.4, 0.7))
    pixels[horizon:] *= rng.uniform(0.5, 1, (height - horizon, width, 1))
    image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(14):
        x, y, w, h = rng.uniform((0, 0.15, 0.05, 0.05), (0.9, 0.8, 0.4, 0.4)) * (width, height, width, height)
        shape = draw.ellipse if rng.random() < 0.5 else draw.rectangle
        shape((x, y, x + w, y + h), fill=tuple(int(v) for v in rng.integers(0, 256, 3)))
    return image


def pixels_of(image: Image.Image) -> np.ndarray:
    """[H, W, 3] uint8."""
    return np.asarray(image.convert("RGB"))
