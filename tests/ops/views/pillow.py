"""Pillow's own resizing, which the views are judged by."""

from __future__ import annotations

import numpy as np
import PIL
from PIL import Image


def resized(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """`pixels` [H, W, 3] uint8 as Pillow 13 resizes them; an older one is told to go down first where Pillow 13 does so."""
    image = Image.fromarray(pixels)
    lost = image.height - height, image.width - width
    if int(PIL.__version__.split(".")[0]) < 13 and lost[0] > 0 and lost[0] > 2 * lost[1]:
        image = image.resize((image.width, height), Image.Resampling.BILINEAR)
    return np.array(image.resize((width, height), Image.Resampling.BILINEAR))


def cut(whole: np.ndarray, corner: tuple[int, int], extent: tuple[int, int]) -> np.ndarray:
    """The rectangle of `extent` at `corner` of `whole` [H, W, 3], black where it leaves it."""
    found = np.zeros((*extent, 3), np.uint8)
    ranges = [range(max(0, -at), max(0, min(size, side - at))) for at, size, side in zip(corner, extent, whole.shape)]  # noqa: B905
    rows, cols = (slice(one.start, max(one.start, one.stop)) for one in ranges)
    source = whole[rows.start + corner[0] : rows.stop + corner[0], cols.start + corner[1] : cols.stop + corner[1]]
    if source.size:
        found[rows, cols] = source
    return found
