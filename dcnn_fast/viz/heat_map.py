"""A heat map over its photograph: side by side, the photograph and the same with each cell's value as a color."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

_GAP = 8  # pixels between the two
STRENGTH = 0.55  # of the colors over the photograph
LOW, HIGH = (44, 92, 200), (214, 60, 40)  # blue takes away from the score, red adds
_LEAST_SPAN = 1e-6  # of values: those that differ by less are one color
Values = np.ndarray[Any, np.dtype[np.float64]]


def heat_picture(pixels: np.ndarray, values: Values, *, middle: float) -> Image.Image:
    """Draw a photograph, and beside it the same in grey under colors: blue for values below `middle`, red for those above it.

    A color is the stronger, the farther its value is from the middle. NaN and the middle itself leave the photograph grey.

    Args:
        pixels: The photograph, [H, W, 3] uint8.
        values: [rows, columns] float64, cells of equal size over the photograph; NaN where nothing is known.
        middle: The value of a cell that neither raises the score nor lowers it.

    Returns:
        The picture, RGB, H pixels high and 2 W + 8 wide.
    """
    height, width, _ = pixels.shape
    away = values - middle
    span = float(np.nanmax(np.abs(away))) if np.isfinite(away).any() else 0.0
    shares = np.nan_to_num(away / span if span > _LEAST_SPAN else np.zeros_like(away))
    cells = Image.fromarray(shares.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR)
    strength = np.asarray(cells)[..., None]
    color = np.where(strength < 0, np.array(LOW, np.float32), np.array(HIGH, np.float32))
    weight = np.abs(strength) * STRENGTH
    grey = np.asarray(Image.fromarray(pixels).convert("L").convert("RGB"), np.float32)
    under = (grey * (1 - weight) + color * weight).round().astype(np.uint8)
    picture = Image.new("RGB", (2 * width + _GAP, height), (255, 255, 255))
    picture.paste(Image.fromarray(pixels), (0, 0))
    picture.paste(Image.fromarray(under), (width + _GAP, 0))
    return picture
