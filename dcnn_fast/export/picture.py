"""Draws a small picture for checking exported files, in integer arithmetic, which gives the same pixels everywhere."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, PngImagePlugin

from dcnn_fast.export.inputs import ColumnInputs
from dcnn_fast.networks import Network
from dcnn_fast.viz.picture_files import MARK


def picture_for(network: Network, inputs: tuple[ColumnInputs, ...]) -> np.ndarray:
    """A picture [H, W, 3] uint8 that exercises every step: reduction, where the model reduces, and cutting."""
    side = max(each.plane for each in inputs)
    long_side = network.long_side or 0
    width = max(side * 5 // 4 + 3, long_side * 9 // 8 + 1 if long_side <= 4 * side else 0)
    return drawn(width * 7 // 9 + 1, width)


def drawn(height: int, width: int) -> np.ndarray:
    """Sky above hills with a sun, and a field of squares whose neighbours differ in colour."""
    y, x = np.mgrid[0:height, 0:width].astype(np.int64)
    sky = np.stack([40 + 120 * y // height, 90 + 100 * y // height, 235 - 60 * y // height], axis=2)
    hill = height * 3 // 5 + (x - width // 3) ** 2 * height // (4 * width * width)
    ground = np.stack([60 + 70 * x // width, 140 - 50 * y // height, 40 + 30 * x // width], axis=2)
    pixels = np.where((y > hill)[..., None], ground, sky)
    sun = (y - height // 4) ** 2 + (x - width * 2 // 3) ** 2 < (height // 9) ** 2
    pixels[sun] = (250, 220, 90)
    tile = (x // 7 * 37 + y // 5 * 101) * 2654435761 % 2**32 >> 24
    field = (y > height * 4 // 5) & (x > width // 6)
    pixels[field] = np.stack([tile, tile * 3 % 256, 255 - tile], axis=2)[field]
    return np.clip(pixels, 0, 255).astype(np.uint8)


def png(pixels: np.ndarray) -> bytes:
    """The picture as a PNG file with the program's mark."""
    about = PngImagePlugin.PngInfo()
    about.add_text("Software", MARK)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", optimize=True, pnginfo=about)
    return file.getvalue()
