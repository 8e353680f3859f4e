"""Cameras' raw files: reads the embedded preview, by rawpy (LibRaw) where it is installed (the extra `photos`).

A raw file has no pixels to look at until it is developed; the preview is the camera's own development, as on its screen, and
most previews are as large as the photograph.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

try:
    import rawpy
except ImportError:
    rawpy = None  # type: ignore[assignment]

SUFFIXES = frozenset((
    ".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".fff", ".iiq", ".kdc", ".mef", ".mos", ".mrw", ".nef",
    ".nrw", ".orf", ".pef", ".raf", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f",
))  # fmt: skip
"""Suffixes of the files whose previews are read."""

_TIFFS = {b"II*\x00": "<", b"MM\x00*": ">"}
_CANON = b"CR"  # follows the head of a CR2, which is otherwise a TIFF
_OTHERS = (b"FUJIFILMCCD-RAW", b"IIU\x00", b"IIRO", b"IIRS", b"MMOR", b"FOVb", b"\x00MRM", b"ARRI")  # first bytes
_CANON_3 = b"ftypcrx "  # follows the length of the first box
_CIFF = b"HEAPCCDR"  # follows byte order and length
_MAKE, _SUBFILE_TYPE, _PHOTOMETRIC, _SUB_IFDS, _DNG_VERSION = 271, 254, 262, 330, 50706
_REDUCED, _MOSAICS = 1, (32803, 34892)
_MOST_TAGS = 1000
_FLIPS = {3: 3, 5: 8, 6: 6}  # LibRaw's flip -> EXIF's orientation


class RawError(ValueError):
    """A raw file has no readable preview; the message says why."""


@dataclass(frozen=True)
class Preview:
    """The preview as a JPEG file, or as pixels [H, W, 3] uint8. orientation: EXIF's, for a preview that states none."""

    jpeg: bytes | None
    pixels: np.ndarray | None
    orientation: int


def can_read() -> bool:
    """Whether rawpy is installed."""
    return rawpy is not None


def libraw_version() -> tuple[int, int, int] | None:
    """The version of rawpy's LibRaw; None where rawpy is not installed."""
    return None if rawpy is None else rawpy.libraw_version


def is_raw(file: BinaryIO) -> bool:
    """Whether the file looks like a camera's raw file. file: at its start; its position is restored."""
    head = file.read(32)
    try:
        if head.startswith(_OTHERS) or head[4:12] == _CANON_3 or head[6:14] == _CIFF:
            return True
        return head[:4] in _TIFFS and (head[8:10] == _CANON or _is_raw_tiff(file, head))
    finally:
        file.seek(0)


def preview(file: BinaryIO) -> Preview:
    """The largest preview. Raises RawError where there is none, or it cannot be extracted."""
    try:
        with rawpy.imread(file) as raw:
            orientation = _FLIPS.get(raw.sizes.flip, 1)
            data = raw.extract_thumb().data
            if isinstance(data, bytes):
                return Preview(data, None, orientation)
            if data.ndim == 3 and data.shape[2] == 3 and data.dtype == np.uint8:
                return Preview(None, np.array(data), orientation)
            raise RawError("the raw file's preview is of a kind that is not read")
    except rawpy.LibRawNoThumbnailError:
        raise RawError("the raw file has no preview inside") from None
    except rawpy.LibRawError as error:
        said = error.args[0] if error.args else error
        text = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
        raise RawError(f"the raw file cannot be read: {' '.join(text.split()) or type(error).__name__}") from None


def _is_raw_tiff(file: BinaryIO, head: bytes) -> bool:
    """Judge a TIFF by its first directory: a DNG's tag, a raw picture, or a small picture with others in subdirectories."""
    order = _TIFFS[head[:4]]
    file.seek(struct.unpack(order + "I", head[4:8])[0])
    count = file.read(2)
    if len(count) < 2:
        return False
    number = struct.unpack(order + "H", count)[0]
    entries = file.read(12 * min(number, _MOST_TAGS))
    tags: dict[int, int] = {}
    for at in range(0, len(entries) - 11, 12):
        tag, kind = struct.unpack_from(order + "HH", entries, at)
        tags[tag] = struct.unpack_from(order + ("H" if kind == 3 else "I"), entries, at + 8)[0]
    if _DNG_VERSION in tags or tags.get(_PHOTOMETRIC) in _MOSAICS:
        return True
    return _MAKE in tags and _SUB_IFDS in tags and tags.get(_SUBFILE_TYPE) == _REDUCED
