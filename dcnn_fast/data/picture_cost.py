"""What decoding a picture takes in memory, told from its header before it is decoded; more than a stated bound is refused.

The figures are of Pillow's decoders and the libraries below them, measured (`tests/data/test_picture_cost.py`).
"""

from __future__ import annotations

import os
from typing import Any

from PIL import ExifTags, Image, TiffImagePlugin

from dcnn_fast.data import heif_items, jpeg2000
from dcnn_fast.data.bounds import PartsError
from dcnn_fast.data.color import PART
from dcnn_fast.data.profiles import table_bytes

ABOVE = 10**9  # bytes that decoding may take beside the three of each pixel, of pictures up to the usual limit of pixels
PER_FILE_BYTE = 8  # and for each byte that the file has: what holds much may cost more than what only says so
_RESULT = 3  # bytes a pixel
_REDUCED = _RESULT + 4  # while views are made of the result, of which Pillow has a copy then
_PART = 40  # bytes a pixel of the part that is converted
_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2, "I;16N": 2}  # a pixel of Pillow's modes; 4 of all others
_MOST_FRAMES = 4  # times an AVIF's pixels that its frames may have: a grid's cells reach beyond it, transparency is a frame
_SPARE_FRAMES = 2**24  # and so many pixels more, of small pictures in large cells
_UNKNOWN = 16  # bytes a pixel of a plug-in's decoder


class CostError(ValueError):
    """A picture that takes more memory than the bound."""


def cost(image: Image.Image, file_bytes: int, buffered: bool) -> int:
    """The bytes that reading `image` and making views of it take at most, its pixels among them.

    file_bytes: the size of its file. buffered: whether a JPEG's coefficients are kept until the last of its scans.
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
        loading += _strip(image) + (decoded if _turned(image) else 0)  # which Pillow does by itself, as a whole
    elif image.format == "WEBP":
        loading += 12 * pixels + file_bytes  # two canvases, and the frame once more
    elif image.format == "AVIF":
        loading += 11 * _frames(image) + file_bytes  # planes of up to 16 bits, and twice the frame
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

    scale: how many times the usual limit of pixels the caller has allowed, if more than once.
    """
    most = _RESULT * image.width * image.height + int(ABOVE * max(1.0, scale)) + PER_FILE_BYTE * file_bytes
    if taken > most:
        raise CostError(
            f"decoding {image.width} x {image.height} pixels of this {image.format} takes {taken / 1e6:.0f} MB, more than the "
            f"limit of {most / 1e6:.0f} MB"
        )


def size_of(file: Any) -> int:
    """The bytes of an open file, whose position is kept; 0 where it has no end to go to."""
    try:
        before = file.tell()
        size: int = file.seek(0, os.SEEK_END)
        file.seek(before)
        return size
    except (AttributeError, OSError, ValueError):
        return 0


def _coefficients(image: Image.Image) -> int:
    """Two bytes each, of whole blocks."""
    layers = [(int(h), int(v)) for _, h, v, _ in getattr(image, "layer", ())] or [(1, 1)] * 4
    most_h, most_v = max(1, *(h for h, _ in layers)), max(1, *(v for _, v in layers))
    units = -(-image.width // (8 * most_h)) * -(-image.height // (8 * most_v))
    return 2 * 64 * units * sum(h * v for h, v in layers)


def _strip(image: Image.Image) -> int:
    """What libtiff unpacks at a time."""
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
    """For each component four bytes of each pixel of a tile, and the tile's bytes for Pillow."""
    bands, pixels = max(1, len(image.getbands())), image.width * image.height
    tiles = jpeg2000.tiles_of(vars(image)["fp"])
    return (5 * bands + 1) * (pixels if tiles is None else min(pixels, tiles.side[0] * tiles.side[1]))


def _frames(image: Image.Image) -> int:
    """The pixels that an AVIF's frames are decoded to, which need be neither as many nor as large as it says it is.

    Transparency is as many again, and so is a sequence that is a picture as well. Raises PartsError where it is far more.
    """
    file, pixels = vars(image).get("fp"), image.width * image.height
    decoded = 0 if file is None else heif_items.decoded_pixels(file)
    if decoded > _MOST_FRAMES * pixels + _SPARE_FRAMES:
        raise PartsError(f"more than {_MOST_FRAMES} pixels decoded for each of {image.width} x {image.height}")
    return max(pixels, decoded // 2)


def _run_length(image: Image.Image) -> bool:
    return bool(vars(image)["tile"][0].codec_name == "bmp_rle")
