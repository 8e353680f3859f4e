"""A photograph's look in a few hundred bytes, by which near-duplicates are recognised."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from dcnn_fast.photographs.luminance import luminance, sharpness
from dcnn_fast.photographs.screen import filling_screen, on_screen

BITS = 64
THUMBNAIL = 8  # pixels a side
_SIDE = 32


@dataclass(frozen=True)
class Look:
    """A photograph's look, by which near-duplicates are recognised.

    Attributes:
        bits: 64 bits of a perceptual hash, 16 hexadecimal digits.
        thumbnail: 8 x 8 RGB pixels, 384 hexadecimal digits.
        sharpness: The sharpness of the photograph resized to a long side of 1024 pixels, from 0 (blurred) to 1.
    """

    bits: str
    thumbnail: str
    sharpness: float


def look_at(pixels: np.ndarray) -> Look:
    """Compute the look of a photograph. The same pixels give the same look.

    Args:
        pixels: [H, W, 3] uint8 sRGB.

    Returns:
        The look.
    """
    screen = on_screen(pixels)
    image = Image.fromarray(screen)
    thumbnail = np.asarray(image.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX))
    return Look(perceptual_hash(image), thumbnail.tobytes().hex(), sharpness(luminance(filling_screen(screen))))


def perceptual_hash(image: Image.Image) -> str:
    """64 bits as 16 hexadecimal digits, by the algorithm of the library imagehash (`phash`; Johannes Buchner, BSD 2-clause).

    Each of the 8 x 8 lowest frequencies of a discrete cosine transform of 32 x 32 grey pixels gives a bit: whether it exceeds
    their median. Unlike in imagehash, coefficients are rounded to integers, so that a plain picture's bits do not depend on
    rounding errors around zero. image: RGB.
    """
    grey = np.asarray(image.convert("L").resize((_SIDE, _SIDE), Image.Resampling.LANCZOS), np.float64)
    lowest = np.rint(4 * _COSINES @ grey @ _COSINES.T)
    bits = lowest > np.median(lowest)
    return np.packbits(bits.ravel()).tobytes().hex()


def _cosines() -> np.ndarray:
    """The eight lowest rows of the transform (DCT-II in scipy's scaling)."""
    place = np.arange(_SIDE)
    return np.cos(np.pi * (2 * place + 1) * np.arange(8)[:, None] / (2 * _SIDE))


_COSINES = _cosines()


def look_from(value: Any) -> Look:
    """A look from its JSON object. Raises ValueError for anything else."""
    if not isinstance(value, Mapping) or not {"bits", "thumbnail", "sharpness"} <= value.keys():
        raise ValueError("look must be an object of bits, thumbnail and sharpness")
    bits, thumbnail, measured = value["bits"], value["thumbnail"], value["sharpness"]
    for name, text, digits in (("bits", bits, BITS // 4), ("thumbnail", thumbnail, 6 * THUMBNAIL**2)):
        if not isinstance(text, str) or re.fullmatch(f"[0-9a-f]{{{digits}}}", text) is None:
            raise ValueError(f"{name} of a look must be {digits} hexadecimal digits")
    if type(measured) not in (int, float) or not 0 <= measured <= 1:
        raise ValueError(f"sharpness of a look must be from 0 to 1, got {measured}")
    return Look(bits, thumbnail, float(measured))
