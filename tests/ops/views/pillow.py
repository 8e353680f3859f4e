"""Pillow's resizing, against which the views are judged."""

from __future__ import annotations

import numpy as np
import PIL
from PIL import Image


def resized(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """`pixels` [H, W, 3] uint8 resized as by Pillow 13: older versions are made to resize vertically first where it does."""
    image = Image.fromarray(pixels)
    lost = image.height - height, image.width - width
    if int(PIL.__version__.split(".")[0]) < 13 and lost[0] > 0 and lost[0] > 2 * lost[1]:
        image = image.resize((image.width, height), Image.Resampling.BILINEAR)
    return np.array(image.resize((width, height), Image.Resampling.BILINEAR))


def cut(whole: np.ndarray, corner: tuple[int, int], extent: tuple[int, int]) -> np.ndarray:
    """The rectangle of `extent` at `corner` of `whole` [H, W, 3], black outside `whole`."""
    found = np.zeros((*extent, 3), np.uint8)
    ranges = [range(max(0, -at), max(0, min(size, side - at))) for at, size, side in zip(corner, extent, whole.shape)]  # noqa: B905
    rows, cols = (slice(one.start, max(one.start, one.stop)) for one in ranges)
    source = whole[rows.start + corner[0] : rows.stop + corner[0], cols.start + corner[1] : cols.stop + corner[1]]
    if source.size:
        found[rows, cols] = source
    return found
