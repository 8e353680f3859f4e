"""Decodes JPEG files straight into an array, also at reduced size, by simplejpeg's libjpeg-turbo; pixels equal Pillow's.

Pillow keeps four bytes a pixel and copies them to three, which takes as long as decoding. A file with any error or warning of
this decoder is left to Pillow, which decides whether it can be read.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from dcnn_fast.data import decoded_memory, jpeg_scans

try:
    import simplejpeg
except ImportError:  # then Pillow decodes everything
    simplejpeg = None

FORMATS = ("JPEG", "MPO")
_DIVISORS = (8, 4, 2)  # reductions for which a decoder transforms only the coefficients needed
_MOST = 1_000_000_000  # pixels times scans: bounds the time lost when damage near the end has a file decoded twice


def divisor(size: tuple[int, int], scaled_to: int | None) -> int:
    """The largest of 1, 2, 4 and 8 by which a picture's sides can be divided with `scaled_to` pixels left on the long side."""
    if scaled_to is None:
        return 1
    return next((by for by in _DIVISORS if max(size) >= by * scaled_to and min(size) >= by), 1)


def decoded(data: bytes, image: Image.Image, divisor: int = 1) -> np.ndarray | None:
    """The stored pixels [H, W, 3] uint8 of a JPEG file, neither turned nor converted; None where Pillow must decode it.

    data: the file from the picture's start on. image: as Pillow opened it, not yet loaded. divisor: 1, 2, 4 or 8; divides the
    sides, rounding up.
    """
    if simplejpeg is None or image.format not in FORMATS or image.mode != "RGB":
        return None
    most = _MOST // max(1, image.width * image.height)
    if jpeg_scans.scans(data, most) > most:
        return None
    width, height = (-(-side // divisor) for side in image.size)
    least = {"min_height": height, "min_width": width, "min_factor": divisor}
    try:
        if simplejpeg.decode_jpeg_header(data, **least)[:2] != (height, width):
            return None
        pixels = decoded_memory.array((height, width, 3))
        simplejpeg.decode_jpeg(data, "RGB", buffer=pixels, **least)
    except (ValueError, RuntimeError):  # raised for the decoder's warnings, too
        return None
    return pixels


def scale(image: Image.Image, divisor: int) -> None:
    """Make Pillow decode an image, not yet loaded, at the same reduction."""
    if divisor > 1:
        image.draft(None, (image.width // divisor, image.height // divisor))
