"""Converts pixels from an embedded ICC profile to sRGB through Pillow's lcms, unless they are in sRGB already.

A profile is sRGB by its effect, not by its name: where lcms changes no color of a lattice by more than `NEAR` levels, nothing
is converted. Other profiles are converted color by color: a photograph has far fewer colors than pixels, so the result of lcms
for each color is kept in a table and looked up.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock
from typing import Generic, TypeVar

import numpy as np
from PIL import Image, ImageCms

from dcnn_fast import engine

NEAR = 1  # levels of 255: the difference between two programs' sRGB profiles, by rounding
PAYS_FROM = 2**19  # pixels of a picture, or of a part of one, from which on colors are looked up
TABLE_BYTES = 4 * 2**24  # an entry for each color of three bytes; untouched pages take no memory
_LOOKED_UP = ("RGB", "LAB")  # modes of three bytes a pixel
_LATTICE = np.linspace(0, 255, 18).round().astype(np.uint8)  # levels of each channel: every fifteenth
_PROFILES = 16  # conversions kept, each some kilobytes
_TABLES = 2
_PART = 2**16  # pixels converted at a time

Kept = TypeVar("Kept")


class Conversion:
    """Converts pixels of one of Pillow's modes from a profile to sRGB; profile None is for LAB pixels without a profile.

    Raises ImageCms.PyCMSError, OSError, ValueError or TypeError for an invalid profile, or one for another mode.
    """

    def __init__(self, mode: str, profile: bytes | None) -> None:
        # Pillow's own LAB profile is used directly: serialised and read again it differs in a digit, which changes levels.
        embedded = ImageCms.createProfile("LAB") if profile is None else ImageCms.ImageCmsProfile(io.BytesIO(profile))
        self._mode, self._key = mode, _key(mode, profile)
        self._transform = ImageCms.buildTransform(embedded, ImageCms.createProfile("sRGB"), mode, "RGB")
        self._transform.apply(Image.new(mode, (1, 1)))
        self.changes_nothing = mode == "RGB" and self._greatest_change() <= NEAR

    def apply(self, image: Image.Image) -> Image.Image:
        """Convert an image of this mode to RGB."""
        if self._mode not in _LOOKED_UP or image.width * image.height < PAYS_FROM:
            return self._transform.apply(image)
        pixels = np.array(image)
        self.convert(pixels)
        return Image.fromarray(pixels)

    def convert(self, pixels: np.ndarray) -> None:
        """Convert pixels [H, W, 3] uint8, C-contiguous, of a mode with three bytes a pixel, in place."""
        flat = pixels.reshape(-1, 3)
        table = _table(self._key) if len(flat) >= PAYS_FROM else None
        for start in range(0, len(flat), _PART):
            part = flat[start : start + _PART]
            if table is None:
                part[:] = self._of(part)
                continue
            lacking = engine.native.recolor(part, table)
            if len(lacking):
                engine.native.learn_colors(part, lacking, self._of(part[lacking]), table)

    def _of(self, pixels: np.ndarray) -> np.ndarray:
        """Convert pixels [n, 3] with lcms."""
        image = Image.frombytes(self._mode, (len(pixels), 1), np.ascontiguousarray(pixels).tobytes())
        found: np.ndarray = np.asarray(self._transform.apply(image))[0]
        return found

    def _greatest_change(self) -> int:
        lattice = np.stack(np.meshgrid(_LATTICE, _LATTICE, _LATTICE), axis=-1).reshape(-1, 3)
        greys = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
        before = np.concatenate([lattice, greys])
        return int(np.abs(self._of(before).astype(int) - before).max())


class _Recent(Generic[Kept]):
    """The most recently used values, by key."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.renew()
        os.register_at_fork(after_in_child=self.renew)  # another thread of the parent may hold the lock

    def renew(self) -> None:
        """Forget all values, and make a new lock."""
        self._lock = Lock()
        self._kept: OrderedDict[Hashable, Kept] = OrderedDict()

    def find(self, key: Hashable) -> Kept | None:
        """The value under a key, None where there is none."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def keep(self, key: Hashable, value: Kept) -> Kept:
        """Keep a value, dropping the least recently used. Returns the value under the key, which is the first one kept."""
        with self._lock:
            found = self._kept.setdefault(key, value)
            self._kept.move_to_end(key)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
            return found


_conversions: _Recent[Conversion] = _Recent(_PROFILES)
_tables: _Recent[np.ndarray] = _Recent(_TABLES)


def conversion(mode: str, profile: bytes | None) -> Conversion:
    """The conversion from a profile to sRGB, reused if made before; raises as `Conversion` does."""
    key = _key(mode, profile)
    found = _conversions.find(key)
    return found if found is not None else _conversions.keep(key, Conversion(mode, profile))


def table_bytes(image: Image.Image) -> int:
    """The bytes that an opened image's table of colors may take; the table is kept for later images."""
    converted = image.mode == "LAB" or bool(image.info.get("icc_profile"))
    return TABLE_BYTES if converted and image.width * image.height >= PAYS_FROM else 0


def _key(mode: str, profile: bytes | None) -> Hashable:
    return mode, profile and hashlib.sha256(profile).digest()


def _table(key: Hashable) -> np.ndarray | None:
    """The table of known colors; None without the engine, or where memory does not suffice."""
    if engine.reason() is not None:
        return None
    found = _tables.find(key)
    if found is not None:
        return found
    try:
        return _tables.keep(key, np.zeros(engine.native.colors, np.uint32))
    except MemoryError:
        return None
