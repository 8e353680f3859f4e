"""Bounds on the number of parts in a picture's file, checked before anything is decoded.

Readers handle chunks, segments, strips and boxes one at a time, some microseconds for a dozen bytes. Pictures have a few
hundred; a file that exceeds a bound is refused, and the message names the bound.
"""

from __future__ import annotations

import re
import struct
from typing import BinaryIO

from PIL import Image, JpegImagePlugin

from dcnn_fast.data import heif_items
from dcnn_fast.data.bounds import PartsError

MOST = 100_000  # parts of any kind but strips and tiles
MOST_STRIPS = 200_000  # strips or tiles: 51 megapixels in tiles of 16 x 16 pixels
MOST_PROFILES = 100
MOST_FILLING = 2**20  # bytes between a JPEG's segments
MOST_RUN_LENGTH = 2**24  # pixels of a run-length encoded BMP, which Pillow unpacks in Python
_BYTES_OF_A_CHUNK = 256  # a PNG may have one more chunk per so many bytes, as large pictures are written in many
_BLOCK = 64  # bytes searched first: the next marker usually follows at once

_PNG = b"\x89PNG\r\n\x1a\n"
_TIFFS = {b"II*\x00": "<", b"MM\x00*": ">", b"II+\x00": "<", b"MM\x00+": ">"}
_OFFSETS = {273: "strips", 324: "tiles"}
_JPEG_2000 = b"\x00\x00\x00\x0cjP  \x0d\x0a\x87\x0a"
_MARKER = re.compile(rb"\xff[^\x00\xff]")
_START_OF_SCAN = 0xDA
_WITHOUT_LENGTH = frozenset(
    marker
    for marker in range(256)
    if marker != _START_OF_SCAN and JpegImagePlugin.MARKER.get(0xFF00 | marker, ("", "", None))[2] is None
)


def require_few(file: BinaryIO) -> None:
    """Raise PartsError for a file of too many parts to read; files of unknown formats pass.

    file: at its start; its position is restored.
    """
    head = file.read(12)
    if head.startswith(_PNG):
        _require_few_chunks(file)
    elif head[:4] in _TIFFS:
        _require_few_strips(file, _TIFFS[head[:4]], big=head[2:4] in (b"+\x00", b"\x00+"))
    elif head.startswith(b"\xff\xd8"):
        _require_few_segments(file)
    elif head == _JPEG_2000:
        _require_few_boxes(file)
    elif heif_items.is_heif(head):
        heif_items.require_few(file)
    file.seek(0)


def require_few_tiles(image: Image.Image) -> None:
    """Raise PartsError for an opened image of too many parts to load."""
    tiles = vars(image).get("tile") or ()
    if len(tiles) > MOST_STRIPS:
        raise PartsError(f"more than {MOST_STRIPS} strips or tiles")
    if tiles and tiles[0].codec_name == "bmp_rle" and image.width * image.height > MOST_RUN_LENGTH:
        raise PartsError(f"more than {MOST_RUN_LENGTH} pixels in a run-length encoded BMP")


def _require_few_chunks(file: BinaryIO) -> None:
    size = file.seek(0, 2)
    most, at, profiles = MOST + size // _BYTES_OF_A_CHUNK, len(_PNG), 0
    for _ in range(most):
        file.seek(at)
        head = file.read(8)
        if len(head) < 8 or head[4:] == b"IEND":
            return
        profiles += head[4:] == b"iCCP"
        if profiles > MOST_PROFILES:
            raise PartsError(f"more than {MOST_PROFILES} colour profiles")
        at += 12 + int.from_bytes(head[:4], "big")
    raise PartsError(f"more than {most} chunks")


def _require_few_strips(file: BinaryIO, order: str, *, big: bool) -> None:
    first, count, tag = (struct.Struct(order + kind) for kind in (("Q", "Q", "HHQ8x") if big else ("I", "H", "HHI4x")))
    file.seek(8 if big else 4)
    where = file.read(first.size)
    if len(where) < first.size:
        return
    file.seek(min(first.unpack(where)[0], 2**62))
    counted = file.read(count.size)
    if len(counted) < count.size:
        return
    tags = count.unpack(counted)[0]
    if tags > MOST:
        raise PartsError(f"more than {MOST} tags")
    table = file.read(tags * tag.size)
    for number, _, values in tag.iter_unpack(table[: len(table) // tag.size * tag.size]):
        if number in _OFFSETS and values > MOST_STRIPS:
            raise PartsError(f"more than {MOST_STRIPS} {_OFFSETS[number]}")


def _require_few_segments(file: BinaryIO) -> None:
    """Count segments before the first scan, and the bytes between them, the way Pillow walks over them."""
    at, filling = 2, 0
    for _ in range(MOST):
        file.seek(at)
        found, length = None, _BLOCK
        while found is None:
            block = file.read(length)
            length = 2**18
            found = _MARKER.search(block)
            filling += len(block) if found is None else found.start()
            if filling > MOST_FILLING:
                raise PartsError(f"more than {MOST_FILLING} bytes between its segments")
            if found is None:
                if len(block) < 2:
                    return
                file.seek(-1, 1)  # a marker may begin at the block's last byte
                filling -= 1
        end = file.tell() - len(block) + found.end()
        marker = block[found.end() - 1]
        if marker == _START_OF_SCAN:
            return
        at = end
        if marker not in _WITHOUT_LENGTH:
            file.seek(end)
            at += max(2, int.from_bytes(file.read(2), "big"))
    raise PartsError(f"more than {MOST} segments")


def _require_few_boxes(file: BinaryIO) -> None:
    """Count boxes before the codestream, on the first level and within superboxes."""
    at, size = len(_JPEG_2000), file.seek(0, 2)
    for _ in range(MOST):
        file.seek(at)
        head = file.read(16)
        length, kind = int.from_bytes(head[:4], "big"), head[4:8]
        if len(head) < 8 or kind == b"jp2c" or at >= size:
            return
        if kind in (b"jp2h", b"res "):
            at += 8
        else:
            at += max(8, int.from_bytes(head[8:], "big") if length == 1 else length or size)
    raise PartsError(f"more than {MOST} boxes")
