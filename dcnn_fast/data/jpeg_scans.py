"""How often a JPEG file goes over its picture: a file of kilobytes may ask for minutes of that.

A progressive file sends its picture in scans, each of which the decoder applies to every block. Photographs have ten or so; a
scan that changes nothing takes a dozen bytes.
"""

from __future__ import annotations

import re
from typing import BinaryIO

MOST = 4_000_000_000  # pixels times scans: 22 scans of the largest picture that is read, a few seconds of decoding
_START_OF_SCAN, _END = 0xDA, 0xD9
_SEQUENTIAL = (0xC0, 0xC1)  # frames that one scan of all components completes
_ALONE = frozenset((0x01, *range(0xD0, 0xD9)))  # markers that no length follows
_MARKER = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")  # within a scan, where zeros are stuffed and restarts may lie


def scans(data: bytes) -> int:
    """The scans of a JPEG file's first picture that are decoded; those before a part that is none where there is one."""
    count, at, complete = 0, 2, -1
    while (found := _MARKER.search(data, at)) is not None and data[found.end() - 1] != _END:
        marker, at = data[found.end() - 1], found.end()
        if marker in _ALONE:
            continue
        length = max(2, int.from_bytes(data[at : at + 2], "big"))
        if marker in _SEQUENTIAL and length > 7:
            complete = data[at + 7 : at + 8][0] if at + 7 < len(data) else -1
        if marker == _START_OF_SCAN:
            count += 1
            if data[at + 2 : at + 3] == bytes((max(complete, 0),)):
                return count  # of all components: nothing behind it is looked at
        at += length
    return count


def too_many(file: BinaryIO, pixels: int) -> int | None:
    """How many scans a JPEG file of so many pixels has where they are too many, else None; the file's position is kept."""
    before = file.tell()
    try:
        file.seek(0)
        count = scans(file.read())
    finally:
        file.seek(before)
    return count if count * pixels > MOST else None
