"""HEIF files, as phones write them: by pi-heif, where it is installed (the extra `photos`), without a change to Pillow."""

from __future__ import annotations

from typing import BinaryIO

from PIL import Image

try:
    from pi_heif import HeifImageFile
except ImportError:
    HeifImageFile = None

SUFFIXES = frozenset((".heic", ".heif", ".hif"))
_BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"))
_AVIF = frozenset((b"avif", b"avis"))  # AVIF shares the container, but Pillow reads it
_MOST_BRANDS = 256  # bytes of the list of brands that are read


def can_read() -> bool:
    """Whether pi-heif is installed."""
    return HeifImageFile is not None


def is_heif(file: BinaryIO) -> bool:
    """Whether the file's type is HEIF. file: at its start; its position is restored."""
    head = file.read(_MOST_BRANDS)
    file.seek(0)
    if head[4:8] != b"ftyp":
        return False
    brands = head[8 : min(len(head), int.from_bytes(head[:4], "big"))]
    found = {brands[at : at + 4] for at in range(0, len(brands), 4)}
    return bool(found & _BRANDS) and not found & _AVIF


def opened(file: BinaryIO) -> Image.Image:
    """The primary image of a HEIF file, not yet decoded; decoding turns it as the file says. `can_read` must hold."""
    image: Image.Image = HeifImageFile(file)
    return image
