"""From an embedded ICC profile to sRGB: through lcms, as Pillow has it, and no pixel that is in sRGB already.

A profile is sRGB by its effect, not by its name: where lcms changes no color of a lattice by more than `NEAR` levels, nothing
is converted. Others are converted color by color: a photograph has far fewer colors than pixels, so what lcms has made of each
is kept, and looked up.
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

NEAR = 1  # levels of 255: as far as two programs' sRGB profiles lie apart, which round differently
PAYS_FROM = 2**19  # pixels of a picture, or of a part of one, whose colors are looked up
TABLE_BYTES = 4 * 2**24  # for each color of three bytes what it becomes; memory that no color has touched is none
_LOOKED_UP = ("RGB", "LAB")  # modes of three bytes a pixel
_LATTICE = np.linspace(0, 255, 18).round().astype(np.uint8)  # of each channel: every fifteenth level
_PROFILES = 16  # conversions that are kept, each some kilobytes
_TABLES = 2
_PART = 2**16  # pixels at a time

Kept = TypeVar("Kept")


class Conversion:
    """From one profile to sRGB, for pixels of one of Pillow's modes; None is that of LAB pixels that say none.

    Raises ImageCms.PyCMSError, OSError, ValueError or TypeError for a profile that is none, or none of this mode.
    """

    def __init__(self, mode: str, profile: bytes | None) -> None:
        # Pillow's own as it is: written down and read again it differs in a digit, which changes levels.
        embedded = ImageCms.createProfile("LAB") if profile is None else ImageCms.ImageCmsProfile(io.BytesIO(profile))
        self._mode, self._key = mode, _key(mode, profile)
        self._transform = ImageCms.buildTransform(embedded, ImageCms.createProfile("sRGB"), mode, "RGB")
        self._transform.apply(Image.new(mode, (1, 1)))
        self.changes_nothing = mode == "RGB" and self._greatest_change() <= NEAR

    def apply(self, image: Image.Image) -> Image.Image:
        """An image of the mode as RGB."""
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
        """Pixels [n, 3] through lcms."""
        image = Image.frombytes(self._mode, (len(pixels), 1), np.ascontiguousarray(pixels).tobytes())
        found: np.ndarray = np.asarray(self._transform.apply(image))[0]
        return found

    def _greatest_change(self) -> int:
        lattice = np.stack(np.meshgrid(_LATTICE, _LATTICE, _LATTICE), axis=-1).reshape(-1, 3)
        greys = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
        before = np.concatenate([lattice, greys])
        return int(np.abs(self._of(before).astype(int) - before).max())


class _Recent(Generic[Kept]):
    """What was used last, by its key."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.renew()
        os.register_at_fork(after_in_child=self.renew)  # a lock that another thread of the parent's holds stays held here

    def renew(self) -> None:
        """Keep nothing."""
        self._lock = Lock()
        self._kept: OrderedDict[Hashable, Kept] = OrderedDict()

    def find(self, key: Hashable) -> Kept | None:
        """What is kept under the key."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def keep(self, key: Hashable, value: Kept) -> Kept:
        """Keep it, and let go of what was used longest ago. Returns what is kept under the key: the first that came."""
        with self._lock:
            found = self._kept.setdefault(key, value)
            self._kept.move_to_end(key)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
            return found


_conversions: _Recent[Conversion] = _Recent(_PROFILES)
_tables: _Recent[np.ndarray] = _Recent(_TABLES)


def conversion(mode: str, profile: bytes | None) -> Conversion:
    """From the profile to sRGB, as it was made before where it was; raises as `Conversion` does."""
    key = _key(mode, profile)
    found = _conversions.find(key)
    return found if found is not None else _conversions.keep(key, Conversion(mode, profile))


def table_bytes(image: Image.Image) -> int:
    """The memory that the colors of an opened image may take, which stays for those that come after it."""
    converted = image.mode == "LAB" or bool(image.info.get("icc_profile"))
    return TABLE_BYTES if converted and image.width * image.height >= PAYS_FROM else 0


def _key(mode: str, profile: bytes | None) -> Hashable:
    return mode, profile and hashlib.sha256(profile).digest()


def _table(key: Hashable) -> np.ndarray | None:
    """The colors that are known; None without the engine, or where memory does not suffice."""
    if engine.reason() is not None:
        return None
    found = _tables.find(key)
    if found is not None:
        return found
    try:
        return _tables.keep(key, np.zeros(engine.native.colors, np.uint32))
    except MemoryError:
        return None
