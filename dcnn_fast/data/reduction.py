"""Reduces photographs to the size that a model was trained on."""

from __future__ import annotations

import numpy as np

from dcnn_fast.ops import views


def reduced_size(height: int, width: int, long_side: int | None) -> tuple[int, int]:
    """(height, width) of a photograph reduced to a long side of `long_side` pixels; unchanged where it is no longer."""
    longest = max(height, width)
    if long_side is None or longest <= long_side:
        return height, width
    short = max(1, (2 * min(height, width) * long_side + longest) // (2 * longest))  # rounded to the nearest, halves upwards
    return (long_side, short) if height >= width else (short, long_side)


def reduced(pixels: np.ndarray, long_side: int | None) -> np.ndarray:
    """The photograph reduced to a long side of at most `long_side` pixels, byte for byte as by Pillow's bilinear filter.

    pixels: [H, W, 3] uint8. long_side: None keeps the size. A photograph that is no larger is returned itself. The same
    pixels give the same result wherever they come from. Returns [H', W', 3] uint8, C-contiguous.
    """
    return views.resized(pixels, reduced_size(pixels.shape[0], pixels.shape[1], long_side))
