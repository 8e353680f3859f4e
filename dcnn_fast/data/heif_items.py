"""The items that an AVIF or HEIF file declares and the positions of their bytes; for AV1, the number of decoded pixels.

A reader makes a decoder for each item, and items may share bytes: a file of kilobytes can cost minutes of work. Writers share
bytes only between identical cells, which are then small. Boxes: ISO/IEC 14496-12 and 23008-12.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from dcnn_fast.data import av1
from dcnn_fast.data.bounds import PartsError

MOST = 10_000  # items, and extents of items; a picture of 178 megapixels has 700 cells of 512 x 512
SPARE = 2**20  # bytes that items may take beyond twice the file's size
_MOST_BOXES = 1_000  # boxes on one level
_LARGEST_META = 2**24
_SAMPLES = (b"trak", b"mdia", b"minf", b"stbl")


@dataclass(frozen=True)
class _Item:
    """An item's number, its kind (empty if the file states none) and the extents of its bytes: (first, count) pairs."""

    number: int
    kind: bytes
    places: tuple[tuple[int, int], ...]


def is_heif(head: bytes) -> bool:
    """Whether a file that begins with these bytes may be AVIF or HEIF."""
    return head[4:8] == b"ftyp"


def require_few(file: BinaryIO) -> None:
    """Raise PartsError for too many items, or items of more than twice the file's bytes and `SPARE`; moves the position."""
    size = file.seek(0, 2)
    for meta, start in _metas(file, size):
        _items(meta, start, size)


def decoded_pixels(file: BinaryIO) -> int:
    """The pixels of all AV1 frames decoded to show the picture, alpha planes included; the file's position is kept."""
    before = file.tell()
    try:
        size = file.seek(0, 2)
        found = 0
        for meta, start in _metas(file, size):
            for item in _items(meta, start, size):
                if item.kind == b"av01":
                    found += av1.pixels(b"".join(_read(file, *place) for place in item.places))
        return found + sum(av1.pixels(_read(file, *place)) for place in _first_samples(file, size))
    finally:
        file.seek(before)


def _read(file: BinaryIO, first: int, count: int) -> bytes:
    file.seek(first)
    return file.read(count)


def _metas(file: BinaryIO, size: int) -> Iterator[tuple[memoryview, int]]:
    """The content of each meta box of the file, and its offset."""
    for kind, first, end in _boxes_of_file(file, size):
        if kind == b"meta":
            if end - first > _LARGEST_META:
                raise PartsError(f"more than {_LARGEST_META} bytes about its items")
            yield memoryview(_read(file, first + 4, max(0, end - first - 4))), first + 4


def _boxes_of_file(file: BinaryIO, size: int) -> Iterator[tuple[bytes, int, int]]:
    """For each box on the first level: its kind, its content's offset and its end."""
    at = 0
    for _ in range(_MOST_BOXES):
        head = _read(file, at, 16)
        if len(head) < 8:
            return
        kind, first, length = _box_head(head)
        end = min(size, at + length) if length else size
        yield kind, at + first, end
        if end <= at or end >= size:
            return
        at = end
    raise PartsError(f"more than {_MOST_BOXES} boxes on one level")


def _box_head(head: bytes | memoryview) -> tuple[bytes, int, int]:
    """A box's kind, the bytes of its head and of all of it (0: to the end). head: its first 16 bytes, or as many as exist."""
    length, kind = int.from_bytes(head[:4], "big"), bytes(head[4:8])
    if length == 1:
        return kind, 16, max(16, int.from_bytes(head[8:16], "big"))
    return kind, 8, max(8, length) if length else 0


def _boxes(content: memoryview) -> Iterator[tuple[bytes, memoryview, int]]:
    """For each box in the content: its kind, its own content and that content's offset."""
    at = 0
    for _ in range(_MOST_BOXES):
        if at + 8 > len(content):
            return
        kind, first, length = _box_head(content[at : at + 16])
        end = min(len(content), at + length) if length else len(content)
        yield kind, content[at + first : end], at + first
        at = end
    raise PartsError(f"more than {_MOST_BOXES} boxes on one level")


def _items(meta: memoryview, start: int, size: int) -> list[_Item]:
    """The items of a meta box whose content begins at byte `start` of a file of `size` bytes. Raises PartsError."""
    inside = {kind: (content, start + at) for kind, content, at in _boxes(meta)}
    kinds: dict[int, bytes] = {}
    if b"iinf" in inside:
        content, _ = inside[b"iinf"]
        kinds = _kinds(content)
    if b"iloc" not in inside:
        return []
    content, _ = inside[b"iloc"]
    _, data_start = inside.get(b"idat", (content, 0))
    items = [_Item(number, kinds.get(number, b""), places) for number, places in _places(content, data_start, size)]
    if sum(count for item in items for _, count in item.places) > 2 * size + SPARE:
        raise PartsError(f"more than {2 * size + SPARE} bytes in the items of a file of {size}")
    return items


def _kinds(content: memoryview) -> dict[int, bytes]:
    """The kinds of items, by number, in an item information box."""
    found: dict[int, bytes] = {}
    at = 6 if content and content[0] == 0 else 8
    while at + 8 <= len(content):
        kind, first, length = _box_head(content[at : at + 16])
        entry = content[at + first : at + length]
        if kind == b"infe" and len(entry) >= 14 and entry[0] >= 2:
            wide = entry[0] >= 3
            number = int.from_bytes(entry[4 : 8 if wide else 6], "big")
            found[number] = bytes(entry[10:14] if wide else entry[8:12])
        if len(found) > MOST:
            raise PartsError(f"more than {MOST} items")
        at += length or len(content)
    return found


def _places(content: memoryview, data_start: int, size: int) -> Iterator[tuple[int, tuple[tuple[int, int], ...]]]:
    """The numbers of items in an item location box, each with the extents of its bytes, (first, count) pairs."""
    if len(content) < 8:
        return
    version, sizes, more = content[0], content[4], content[5]
    offset_size, length_size, base_size, index_size = sizes >> 4, sizes & 15, more >> 4, more & 15 if version else 0
    fields = _Fields(content, 6)
    wide = 4 if version == 2 else 2
    count = fields.next(wide)
    parts = 0
    for _ in range(count):
        if fields.ended:
            return
        number = fields.next(wide)
        within = fields.next(2) & 15 if version else 0
        fields.next(2)
        base = fields.next(base_size) + (data_start if within == 1 else 0)
        places = []
        for _ in range(fields.next(2)):
            fields.next(index_size)
            first, length = base + fields.next(offset_size), fields.next(length_size)
            places.append((min(first, size), min(length or size, size)))
            parts += 1
            if parts > MOST:
                raise PartsError(f"more than {MOST} items")
        if within < 2:
            yield number, tuple(places)


class _Fields:
    """Reads consecutive unsigned big-endian integers; zeros past the end."""

    def __init__(self, content: memoryview, at: int) -> None:
        self._content, self._at = content, at

    @property
    def ended(self) -> bool:
        """Whether all bytes have been read."""
        return self._at >= len(self._content)

    def next(self, size: int) -> int:
        """The next integer, of `size` bytes."""
        found = int.from_bytes(self._content[self._at : self._at + size], "big")
        self._at += size
        return found


def _first_samples(file: BinaryIO, size: int) -> Iterator[tuple[int, int]]:
    """The extent, (first, count), of the first frame of each track of a sequence."""
    for kind, first, end in _boxes_of_file(file, size):
        if kind == b"moov":
            yield from _samples(memoryview(_read(file, first, min(end - first, _LARGEST_META))), size)


def _samples(content: memoryview, size: int) -> Iterator[tuple[int, int]]:
    inside: dict[bytes, memoryview] = {}
    for kind, part, _ in _boxes(content):
        inside[kind] = part
        if kind in _SAMPLES:
            yield from _samples(part, size)
    offsets = inside.get(b"stco", inside.get(b"co64"))
    if offsets is not None and len(offsets) >= 12 and len(inside.get(b"stsz", b"")) >= 12:
        wide = b"stco" not in inside
        (first,) = struct.unpack_from(">Q" if wide and len(offsets) >= 16 else ">I", offsets, 8)
        sizes = inside[b"stsz"]
        every = int.from_bytes(sizes[4:8], "big")
        yield min(first, size), min(every or int.from_bytes(sizes[12:16], "big"), size)
