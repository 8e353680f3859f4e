"""Thumbnails for a page that holds them all: the more there are, the smaller each is."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from PIL import Image

from dcnn_fast.data import reading

BUDGET = 13_000_000  # bytes of all thumbnails of a page, as they stand in it
_DETAIL = 2  # pixels of a file that is decoded at a part of its size, for each of the thumbnail
_BASE64 = 4 / 3


@dataclass(frozen=True)
class _Kind:
    """side: pixels on the longer side. quality: WebP's."""

    side: int
    quality: int


_KINDS = (_Kind(360, 70), _Kind(280, 62), _Kind(220, 55), _Kind(176, 50), _Kind(144, 45), _Kind(112, 40), _Kind(80, 35))


def thumbnails(paths: Sequence[str | None], max_pixels: int, *, budget: int = BUDGET) -> list[str]:
    """Make a thumbnail of each photograph, the smaller the more there are.

    Args:
        paths: The photographs' files.
        max_pixels: The most pixels that a photograph may have; larger ones are not read.
        budget: Bytes that all together may take, as far as the smallest kind allows.

    Returns:
        A WebP data address for each photograph, an empty one ("data:,") for one that cannot be read any more.
    """
    least = next((kind for kind in _KINDS if _expected(kind) * len(paths) <= budget), _KINDS[-1])
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        images = list(pool.map(lambda path: _small(path, max_pixels, least.side), paths))
        for kind in _KINDS[_KINDS.index(least) :]:
            found = list(pool.map(lambda image, kind=kind: _address(image, kind), images))
            if sum(map(len, found)) <= budget:
                break
    return found


def _expected(kind: _Kind) -> float:
    """Bytes of a thumbnail of the kind: a sixth of a byte for each pixel, and what every file has."""
    return _BASE64 * (kind.side * kind.side * 2 / 3 / 6 + 300)


def _small(path: str | None, max_pixels: int, side: int) -> Image.Image | None:
    try:
        image = Image.fromarray(reading.read(path, max_pixels=max_pixels, scaled_to=_DETAIL * side).pixels)
        image.thumbnail((side, side))
    except (reading.ReadError, TypeError, MemoryError):
        return None
    return image


def _address(image: Image.Image | None, kind: _Kind) -> str:
    if image is None:
        return "data:,"
    smaller = image.copy()
    smaller.thumbnail((kind.side, kind.side))
    buffer = io.BytesIO()
    smaller.save(buffer, "WEBP", quality=kind.quality)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
