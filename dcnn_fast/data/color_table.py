"""What a colour transform makes of every colour of three bytes, in a table: for pictures of more pixels than colours.

A transform of LittleCMS goes from pixel to pixel, 15 to 40 ns each; a look into the table takes 6 to 8 and gives the same.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageCms

PAYS_FROM = 3 * 2**24  # pixels of a picture: making the table takes as long as transforming 2**24 of them
BYTES = 4 * 2**24
_ROWS = 2**12  # of the table that are made at a time, of 256 colours each


class ColorTable:
    """A transform from `mode`, of three bytes a pixel, to RGB."""

    def __init__(self, transform: ImageCms.ImageCmsTransform, mode: str) -> None:
        self._table = np.empty((2**16, 256), np.uint32)
        low = Image.fromarray(np.tile(np.arange(256, dtype=np.uint8), (_ROWS, 1)))
        for first in range(0, len(self._table), _ROWS):
            high = np.repeat(np.arange(first, first + _ROWS)[:, None], 256, axis=1)
            bands = [Image.fromarray((high >> shift & 255).astype(np.uint8)) for shift in (8, 0)]
            made = transform.apply(Image.merge(mode, [*bands, low])).convert("RGBX")
            self._table[first : first + _ROWS] = np.frombuffer(made.tobytes(), "<u4").reshape(_ROWS, 256)

    def apply(self, part: Image.Image) -> Image.Image:
        """A part of a picture as RGB."""
        index = np.zeros((part.height, part.width), np.intp)
        for band in part.split():
            np.left_shift(index, 8, out=index)
            np.bitwise_or(index, np.asarray(band), out=index)
        found = self._table.reshape(-1).take(index, mode="clip")  # no index is too large; clip saves asking
        return Image.frombytes("RGB", part.size, found.astype("<u4", copy=False).tobytes(), "raw", "RGBX")
