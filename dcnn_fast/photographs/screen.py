"""Photographs at the size of a screen, on which faults and sharpness are measured."""

from __future__ import annotations

import numpy as np
from PIL import Image

SIDE = 1024
_GAP = 2.0  # the last reduction step's least factor; boxes of pixels are averaged before it, which is fast


def on_screen(pixels: np.ndarray) -> np.ndarray:
    """The photograph reduced to a long side of 1024 pixels, antialiased; unchanged where it is no larger.

    pixels: [H, W, 3] uint8. Returns the same, C-contiguous.
    """
    height, width, _ = pixels.shape
    return pixels if max(height, width) <= SIDE else _brought(pixels)


def filling_screen(pixels: np.ndarray) -> np.ndarray:
    """The photograph resized to a long side of 1024 pixels, enlarged if necessary, so that all are comparable."""
    height, width, _ = pixels.shape
    return pixels if max(height, width) == SIDE else _brought(pixels)


def _brought(pixels: np.ndarray) -> np.ndarray:
    height, width, _ = pixels.shape
    scale = SIDE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR, reducing_gap=_GAP))
