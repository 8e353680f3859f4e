"""The tiles of a JPEG 2000 picture, which its decoder unpacks one at a time."""

from __future__ import annotations

import struct
from typing import BinaryIO

_START = b"\xff\x4f\xff\x51"  # of the codestream, and of the size that it begins with
_HEAD = 2**20  # bytes in which it is looked for: the boxes before it are few
_SIZE = struct.Struct(">HHIIIIIIII")  # length, capabilities; the image's far corner and near one; the tile's sides and corner


def tile_of(file: BinaryIO) -> tuple[int, int] | None:
    """The sides of a tile, None where the picture is one; the file's position is kept."""
    before = file.tell()
    try:
        file.seek(0)
        head = file.read(_HEAD)
    finally:
        file.seek(before)
    at = head.find(_START)
    if at < 0 or len(head) < at + len(_START) + _SIZE.size:
        return None
    _, _, right, bottom, left, top, width, height, _, _ = _SIZE.unpack_from(head, at + len(_START))
    return min(width, right - left), min(height, bottom - top)
