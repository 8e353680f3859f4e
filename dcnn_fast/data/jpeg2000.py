"""The tiles of a JPEG 2000 picture: their size, as the decoder unpacks one at a time, and whether all are present.

The decoder leaves a missing tile black. Sizes and markers: ISO/IEC 15444-1, annexes A and I.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

from dcnn_fast.data.bounds import PartsError

MOST_HEADERS = 100_000  # segments before the first tile
MOST_TILE_PARTS = 2**20  # 16 for each of the 65,535 tiles that the format allows

_START = b"\xff\x4f\xff\x51"  # markers: the codestream's start (SOC), and its size (SIZ)
_SIGNATURE = b"\x00\x00\x00\x0cjP  "  # first box of a JP2 file
_CODESTREAM = b"jp2c"
_MOST_BOXES = 100_000
_SIZE = struct.Struct(">HHIIIIIIII")  # length, capabilities; the image's far corner and near one; the tile's sides and corner
_TILE_PART = struct.Struct(">HHHI")  # marker, length; the tile's number, bytes of the part from its marker on
_MARKER_OF_A_PART = 0xFF90


@dataclass(frozen=True)
class Tiles:
    """start: the codestream's offset in the file. side: height and width of a tile, at most the picture's. count: the number of
    tiles."""

    start: int
    side: tuple[int, int]
    count: int


def tiles_of(file: BinaryIO) -> Tiles | None:
    """The tiles that a codestream declares, None without a readable codestream; the file's position is kept."""
    before = file.tell()
    try:
        start = _codestream(file)
        file.seek(start)
        head = file.read(len(_START) + _SIZE.size)
    finally:
        file.seek(before)
    if not head.startswith(_START) or len(head) < len(_START) + _SIZE.size:
        return None
    _, _, right, bottom, left, top, width, height, tiles_left, tiles_top = _SIZE.unpack_from(head, len(_START))
    if not width or not height or right <= left or bottom <= top or tiles_left > left or tiles_top > top:
        return None
    count = -(-(right - tiles_left) // width) * -(-(bottom - tiles_top) // height)
    return Tiles(start, (min(height, bottom - top), min(width, right - left)), count)


def require_all_tiles(file: BinaryIO) -> None:
    """Raise ValueError where tiles are missing, PartsError for too many tile-parts; the file's position is kept."""
    tiles = tiles_of(file)
    if tiles is None:
        return
    before = file.tell()
    try:
        there = _tiles_there(file, tiles)
    finally:
        file.seek(before)
    if there < tiles.count:
        raise ValueError(f"the file has {there} of its {tiles.count} tiles")


def _codestream(file: BinaryIO) -> int:
    """The codestream's offset: in a JP2 file, the content of the first box of its kind."""
    file.seek(0)
    if not file.read(len(_SIGNATURE)).startswith(_SIGNATURE):
        return 0
    at = 0
    for _ in range(_MOST_BOXES):
        file.seek(at)
        head = file.read(16)
        if len(head) < 8:
            break
        length, kind = int.from_bytes(head[:4], "big"), head[4:8]
        if kind == _CODESTREAM:
            return at + (16 if length == 1 else 8)
        if not length:  # length 0: the last box
            break
        at += max(8, min(int.from_bytes(head[8:], "big"), 2**62) if length == 1 else length)
    return at


def _tiles_there(file: BinaryIO, tiles: Tiles) -> int:
    """The number of tiles with a tile-part in the file."""
    at = _first_part(file, tiles.start + 2)
    found: set[int] = set()
    for _ in range(MOST_TILE_PARTS):
        file.seek(at)
        head = file.read(_TILE_PART.size)
        if len(head) < _TILE_PART.size:
            return len(found)
        marker, _, number, length = _TILE_PART.unpack(head)
        if marker != _MARKER_OF_A_PART:
            return len(found)
        if number < tiles.count:
            found.add(number)
        if length < _TILE_PART.size:  # 0: it extends to the end
            return len(found)
        at += length
    raise PartsError(f"more than {MOST_TILE_PARTS} parts of tiles")


def _first_part(file: BinaryIO, at: int) -> int:
    for _ in range(MOST_HEADERS):
        file.seek(at)
        head = file.read(4)
        if len(head) < 4 or int.from_bytes(head[:2], "big") == _MARKER_OF_A_PART:
            return at
        at += 2 + max(2, int.from_bytes(head[2:], "big"))
    raise PartsError(f"more than {MOST_HEADERS} segments")
