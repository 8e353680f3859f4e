"""Draws pictures that show the quality, category and styles a synthetic set states for them."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np
from PIL import Image

_MOTIFS = 8  # as many as AVA has categories
_STRIPE = 4  # pixels: fine enough for a local view, coarse enough to survive a resize to a third
_HUES = 7


def picture(
    rng: np.random.Generator, quality: float, *, motif: int = -1, styles: Sequence[int] = (), sides: tuple[int, int] = (64, 129)
) -> Image.Image:
    """A picture of `quality` 0 to 1, light, colourful and sharp where it is high, with sides drawn from `sides` (exclusive).

    motif: one of 8 large shapes (a category), -1 for none. styles: each of 14 is fine stripes, in one of two directions and
    one of seven hues, over a part of the picture. Two pictures of equal arguments differ by sizes, layout and noise.
    """
    height, width = (int(side) for side in rng.integers(*sides, size=2))
    pixels = _scene(rng, height, width, quality)
    if motif >= 0:
        pixels = np.where(_motif(motif % _MOTIFS, rng, height, width)[..., None], 255 - pixels, pixels)
    for place, style in enumerate(styles):
        pixels = _striped(pixels, style, place, len(styles))
    pixels = pixels + rng.normal(0, 6, pixels.shape)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _scene(rng: np.random.Generator, height: int, width: int, quality: float) -> np.ndarray:
    """Patches of colour [H, W, 3]: finer, lighter and more saturated the higher the quality."""
    cells = 2 + round(10 * quality)
    hue = rng.random((cells, cells, 1))
    saturation = 0.05 + 0.85 * quality
    value = 0.15 + 0.7 * quality + rng.uniform(-0.1, 0.1, (cells, cells, 1))
    channels = [value * (1 - saturation * np.abs((hue + shift) % 1 * 2 - 1)) for shift in (0, 1 / 3, 2 / 3)]
    patches = np.concatenate(channels, axis=2).clip(0, 1) * 255
    method = Image.Resampling.NEAREST if quality > 0.5 else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(patches.astype(np.uint8)).resize((width, height), method), dtype=float)


def _motif(motif: int, rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """The mask [H, W] of a large shape, whose centre varies by a tenth of a side."""
    y, x = np.mgrid[0:height, 0:width]
    y = (y + 0.5) / height - 0.5 - rng.uniform(-0.1, 0.1)
    x = (x + 0.5) / width - 0.5 - rng.uniform(-0.1, 0.1)
    radius = np.hypot(x, y)
    shapes = (
        lambda: radius < 0.25,
        lambda: np.abs(x) < 0.12,
        lambda: np.abs(y) < 0.12,
        lambda: (np.abs(x) < 0.08) | (np.abs(y) < 0.08),
        lambda: np.abs(x - y) < 0.12,
        lambda: (radius > 0.2) & (radius < 0.32),
        lambda: (x * y) > 0,
        lambda: (np.abs(x) < 0.3) & (np.abs(y) < 0.3),
    )
    return np.asarray(shapes[motif]())


def _striped(pixels: np.ndarray, style: int, place: int, places: int) -> np.ndarray:
    """`pixels` with stripes over part number `place` of `places` equal parts from left to right."""
    hue, upright = style % _HUES, style // _HUES % 2
    color = np.array(colorsys.hsv_to_rgb(hue / _HUES, 1, 1)) * 255
    y, x = np.mgrid[0 : pixels.shape[0], 0 : pixels.shape[1]]
    on = ((x if upright else y) // _STRIPE) % 2 == 0
    on &= x * places // pixels.shape[1] == place
    return np.where(on[..., None], color, pixels)
