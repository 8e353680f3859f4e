"""Estimates the memory for decoding a picture from its header, before decoding; more than a bound is refused.

The figures were measured for Pillow's decoders and their libraries (`tests/data/test_picture_cost.py`).
"""

from __future__ import annotations

import os
from typing import Any

from PIL import ExifTags, Image, TiffImagePlugin

from dcnn_fast.data import heif_items, jpeg2000
from dcnn_fast.data.bounds import PartsError
from dcnn_fast.data.color import PART
from dcnn_fast.data.profiles import table_bytes

ABOVE = 10**9  # bytes allowed beyond three a pixel, for pictures up to the usual limit of pixels
PER_FILE_BYTE = 8  # bytes allowed besides for each byte of the file: large content may cost more than a large claim
_RESULT = 3  # bytes a pixel
_REDUCED = _RESULT + 4  # while views are made of the result, when Pillow has a copy of it
_PART = 40  # bytes a pixel of the part being converted
_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2, "I;16N": 2}  # bytes a pixel by mode; 4 for all others
_MOST_FRAMES = 4  # an AVIF's frames may have so many times its pixels: a grid's cells overlap its rim, alpha is a frame
_SPARE_FRAMES = 2**24  # and so many pixels more, for small pictures in large cells
_UNKNOWN = 16  # bytes a pixel for a plug-in's decoder


class CostError(ValueError):
    """A picture takes more memory than the bound."""


def cost(image: Image.Image, file_bytes: int, buffered: bool) -> int:
    """The most bytes that reading `image` and making its views take, its pixels included.

    file_bytes: the size of its file. buffered: whether a JPEG's coefficients are kept until its last scan.
    """
    pixels = image.width * image.height
    decoded = _BYTES.get(image.mode, 4) * pixels
    parts = _PART * min(pixels, PART) + table_bytes(image)
    if not is_to_load(image):
        return _REDUCED * pixels + parts
    loading = decoded
    if image.format in ("JPEG", "MPO"):
        loading += _coefficients(image) if buffered else 0
    elif image.format == "TIFF":
        loading += _strip(image) + (decoded if _turned(image) else 0)  # Pillow turns a TIFF as a whole, into a copy
    elif image.format == "WEBP":
        loading += 12 * pixels + file_bytes  # two canvases, and another copy of the frame
    elif image.format == "AVIF":
        loading += 11 * _frames(image) + file_bytes  # planes of up to 16 bits, and two copies of the frame
    elif image.format == "JPEG2000":
        loading += _jpeg2000(image) + file_bytes
    elif image.format == "BMP":
        loading += 2 * pixels if _run_length(image) else 0
    elif image.format not in ("PNG", "GIF"):
        loading += _UNKNOWN * pixels + file_bytes
    return max(loading, decoded + _RESULT * pixels, _REDUCED * pixels) + parts


def is_to_load(image: Image.Image) -> bool:
    """Whether `image` is yet to be decoded."""
    inside = vars(image)
    return bool(inside.get("tile") or inside.get("_im", inside.get("im")) is None)


def require(taken: int, image: Image.Image, file_bytes: int, scale: float) -> None:
    """Raise CostError where decoding takes more than the bound.

    scale: the caller's limit of pixels as a multiple of the usual one; less than 1 counts as 1.
    """
    most = _RESULT * image.width * image.height + int(ABOVE * max(1.0, scale)) + PER_FILE_BYTE * file_bytes
    if taken > most:
        raise CostError(
            f"decoding {image.width} x {image.height} pixels of this {image.format} takes {taken / 1e6:.0f} MB, more than the "
            f"limit of {most / 1e6:.0f} MB"
        )


def size_of(file: Any) -> int:
    """The size of an open file in bytes, its position kept; 0 where it cannot seek to an end."""
    try:
        before = file.tell()
        size: int = file.seek(0, os.SEEK_END)
        file.seek(before)
        return size
    except (AttributeError, OSError, ValueError):
        return 0


def _coefficients(image: Image.Image) -> int:
    """Bytes of a JPEG's coefficients: two each, for whole blocks."""
    layers = [(int(h), int(v)) for _, h, v, _ in getattr(image, "layer", ())] or [(1, 1)] * 4
    most_h, most_v = max(1, *(h for h, _ in layers)), max(1, *(v for _, v in layers))
    units = -(-image.width // (8 * most_h)) * -(-image.height // (8 * most_v))
    return 2 * 64 * units * sum(h * v for h, v in layers)


def _strip(image: Image.Image) -> int:
    """Bytes of the strip or tile that libtiff unpacks at a time."""
    tags = vars(image).get("tag_v2", {})
    if not getattr(image, "use_load_libtiff", False):
        return 0
    bits = tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,))
    samples = int(tags.get(TiffImagePlugin.SAMPLESPERPIXEL, 1))
    depth = max(map(int, bits)) if isinstance(bits, tuple) else int(bits)
    width, rows = image.width, min(image.height, int(tags.get(TiffImagePlugin.ROWSPERSTRIP, image.height)))
    if TiffImagePlugin.TILEWIDTH in tags:
        width, rows = int(tags[TiffImagePlugin.TILEWIDTH]), int(tags.get(TiffImagePlugin.TILELENGTH, image.height))
    return max(1, samples) * width * rows * max(8, depth) // 8 if depth > 1 else samples * width * rows // 8


def _turned(image: Image.Image) -> bool:
    return bool(vars(image).get("tag_v2", {}).get(ExifTags.Base.Orientation, 1) != 1)


def _jpeg2000(image: Image.Image) -> int:
    """Bytes for one tile: four a pixel and component in the decoder, and the tile's bytes for Pillow."""
    bands, pixels = max(1, len(image.getbands())), image.width * image.height
    tiles = jpeg2000.tiles_of(vars(image)["fp"])
    return (5 * bands + 1) * (pixels if tiles is None else min(pixels, tiles.side[0] * tiles.side[1]))


def _frames(image: Image.Image) -> int:
    """The pixels of an AVIF's decoded frames without alpha, whose number and size need not match the stated picture.

    Half of all are counted: alpha has as many again, and so has a sequence beside a still picture. Raises PartsError where
    all are far more than the picture's.
    """
    file, pixels = vars(image).get("fp"), image.width * image.height
    decoded = 0 if file is None else heif_items.decoded_pixels(file)
    if decoded > _MOST_FRAMES * pixels + _SPARE_FRAMES:
        raise PartsError(f"more than {_MOST_FRAMES} pixels decoded for each of {image.width} x {image.height}")
    return max(pixels, decoded // 2)


def _run_length(image: Image.Image) -> bool:
    return bool(vars(image)["tile"][0].codec_name == "bmp_rle")
