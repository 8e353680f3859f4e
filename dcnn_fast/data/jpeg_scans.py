"""Counts a JPEG file's scans: a file of kilobytes may cost minutes of decoding.

A progressive file holds its picture in scans, each of which the decoder applies to every block. Photographs have about ten; a
scan that changes nothing takes a dozen bytes.
"""

from __future__ import annotations

import re

MOST = 4_000_000_000  # pixels times scans: 22 scans of the largest picture that is read, a few seconds of decoding
_SEGMENTS = 100_000  # more than any camera or program writes; a file beyond it counts as one of too many scans
_UNIT = 32  # pixels: a decoder works in units of up to 4 x 4 blocks of 8 x 8 pixels, however narrow the picture
_START_OF_SCAN, _END = 0xDA, 0xD9
_FRAMES = (0xC0, 0xC1, 0xC2, 0xC9, 0xCA)  # frames that decoders support
_SEQUENTIAL = (0xC0, 0xC1)  # frames that one scan of all components completes
_ALONE = frozenset((*range(0x01, 0xC0), *range(0xD0, 0xD9)))  # markers without a length, or skipped by a decoder
# Skips stuffed zeros and restart markers, which occur within a scan; a marker may be padded with more FF before its code.
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")


def scans(data: bytes, most: int) -> int:
    """The scans of a JPEG file's first picture that are decoded, counted up to `most` + 1.

    In a damaged file, scans before the damage are counted; a file of too many segments counts as one of too many scans.
    """
    count, at, complete = 0, 2, 0
    for _ in range(_SEGMENTS):
        found = _MARKER.search(data, at)
        if found is None or data[found.end() - 1] == _END:
            return count
        marker, at = data[found.end() - 1], found.end()
        if marker in _ALONE:
            continue
        if marker in _SEQUENTIAL:
            complete = int.from_bytes(data[at + 7 : at + 8], "big")
        elif marker == _START_OF_SCAN:
            count += 1
            if count > most or (count == 1 and complete and data[at + 2 : at + 3] == bytes((complete,))):
                return count  # the first scan has all components: decoders ignore later ones
        at += max(2, int.from_bytes(data[at : at + 2], "big"))
    return most + 1


def too_many(data: bytes, width: int, height: int) -> int | None:
    """The bound on scans for a picture of these sides if this JPEG file exceeds it, else None."""
    pixels = -(-width // _UNIT) * -(-height // _UNIT) * _UNIT**2
    most = max(1, MOST // pixels)
    return most if scans(data, most) > most else None


def buffered(data: bytes) -> bool:
    """Whether a decoder keeps the whole picture's coefficients, as the first scan does not complete it."""
    at = 2
    for _ in range(_SEGMENTS):
        found = _MARKER.search(data, at)
        if found is None:
            return False
        marker, at = data[found.end() - 1], found.end()
        if marker in _FRAMES:
            return marker not in _SEQUENTIAL or not _first_scan_is_whole(data, at)
        if marker not in _ALONE:
            at += max(2, int.from_bytes(data[at : at + 2], "big"))
    return True


def _first_scan_is_whole(data: bytes, frame: int) -> bool:
    components, at = data[frame + 7 : frame + 8], frame + max(2, int.from_bytes(data[frame : frame + 2], "big"))
    for _ in range(_SEGMENTS):
        found = _MARKER.search(data, at)
        if found is None:
            return False
        marker, at = data[found.end() - 1], found.end()
        if marker == _START_OF_SCAN:
            return data[at + 2 : at + 3] == components
        if marker not in _ALONE:
            at += max(2, int.from_bytes(data[at : at + 2], "big"))
    return False
