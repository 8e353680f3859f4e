"""JPEG files straight into an array, also at a part of their size: libjpeg-turbo as simplejpeg has it, to Pillow's pixels.

Pillow keeps four bytes a pixel, and gives them as three by a second copy; that takes as long as decoding does. A file that the
decoder says anything about is left to Pillow, which decides whether it can be read.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from dcnn_fast.data import decoded_memory, jpeg_scans

try:
    import simplejpeg
except ImportError:  # Pillow decodes everything then
    simplejpeg = None

FORMATS = ("JPEG", "MPO")
_DIVISORS = (8, 4, 2)  # sizes that a decoder makes of the coefficients it needs for them alone
_MOST = 1_000_000_000  # pixels times scans: damage that shows at the end has a file decoded twice


def divisor(size: tuple[int, int], scaled_to: int | None) -> int:
    """By how much the sides of a picture may be divided before its long one has fewer pixels than `scaled_to`: 1, 2, 4 or 8."""
    if scaled_to is None:
        return 1
    return next((by for by in _DIVISORS if max(size) >= by * scaled_to and min(size) >= by), 1)


def decoded(data: bytes, image: Image.Image, divisor: int = 1) -> np.ndarray | None:
    """The pixels [H, W, 3] uint8 of a JPEG file as it has them, neither turned nor converted; None where Pillow is to decode.

    data: the file from where the picture starts. image: as Pillow opened it, not yet loaded. divisor: 1, 2, 4 or 8, of its
    sides, rounded up.
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
    except (ValueError, RuntimeError):  # also what it only warns of
        return None
    return pixels


def scale(image: Image.Image, divisor: int) -> None:
    """Have Pillow decode an image, not yet loaded, at the same part of its size."""
    if divisor > 1:
        image.draft(None, (image.width // divisor, image.height // divisor))
