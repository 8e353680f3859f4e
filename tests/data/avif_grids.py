"""AVIF pictures that are grids of other pictures, whose cells may all share the same bytes (ISO/IEC 23008-12, 6.6.2.3)."""

from __future__ import annotations

import io
import struct


def box(kind, *parts):
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def full(kind, version, flags, *parts):
    return box(kind, struct.pack(">I", version << 24 | flags), *parts)


def cell(image, **options):
    """A picture's AV1 bytes, and its av1C, colr and pixi boxes."""
    buffer = io.BytesIO()
    image.save(buffer, "AVIF", speed=10, **options)
    data = buffer.getvalue()
    boxes = []
    for kind in (b"av1C", b"colr", b"pixi"):
        at = data.index(kind) - 4
        boxes.append(data[at : at + int.from_bytes(data[at : at + 4], "big")])
    at = data.index(b"mdat")
    return data[at + 4 : at - 4 + int.from_bytes(data[at - 4 : at], "big")], boxes


def size(width, height):
    return full(b"ispe", 0, 0, struct.pack(">II", width, height))


def grid(image, rows, columns, width=None, height=None, *, shared=True, **options):
    """A file with a grid of rows x columns times `image`, width x height in all. shared: the cells' bytes are stored
    once; otherwise each cell has its own. options: for Pillow's writer.
    """
    av1, properties = cell(image, **options)
    whole = (width or columns * image.width, height or rows * image.height)
    count = rows * columns
    head = struct.pack(">BBBBII", 0, 1, rows - 1, columns - 1, *whole)
    cells = range(2, 2 + count)
    infos = [full(b"infe", 3, 0, struct.pack(">IH4s", 1, 0, b"grid"), b"\0")]
    infos += [full(b"infe", 3, 1, struct.pack(">IH4s", number, 0, b"av01"), b"\0") for number in cells]
    places = [(1, 0, len(head))]
    places += [(number, len(head) + (0 if shared else i * len(av1)), len(av1)) for i, number in enumerate(cells)]

    def meta(start):
        located = b"".join(struct.pack(">IHHHII", number, 0, 0, 1, start + at, length) for number, at, length in places)
        ours = b"".join(struct.pack(">IB4B", number, 4, 2, 0x80 | 3, 4, 5) for number in cells)
        return full(
            b"meta", 0, 0,
            full(b"hdlr", 0, 0, struct.pack(">I4s12x", 0, b"pict"), b"\0"),
            full(b"pitm", 1, 0, struct.pack(">I", 1)),
            full(b"iloc", 2, 0, b"\x44\x00", struct.pack(">I", 1 + count), located),
            full(b"iinf", 1, 0, struct.pack(">I", 1 + count), *infos),
            full(b"iref", 1, 0, box(b"dimg", struct.pack(">IH", 1, count), *(struct.pack(">I", number) for number in cells))),
            box(
                b"iprp",
                box(b"ipco", size(*whole), size(*image.size), *properties),
                full(b"ipma", 1, 0, struct.pack(">I", 1 + count), struct.pack(">IB3B", 1, 3, 1, 4, 5), ours),
            ),
        )  # fmt: skip

    kind = box(b"ftyp", b"avif\0\0\0\0avifmif1miaf")
    start = len(kind) + len(meta(0)) + 8
    return kind + meta(start) + box(b"mdat", head, av1 * (1 if shared else count))
