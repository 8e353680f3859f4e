"""Files as cameras and phones write them, made here: raw files with a preview inside, and a HEIF file."""

from __future__ import annotations

import base64
import io
import struct

import numpy as np
from PIL import Image

# 64 x 48 pixels: red rises to the right, green downwards, and a red rectangle lies in rows 8 to 19, columns 10 to 23. Made by
# libheif's heif-enc 1.15 at quality 60.
HEIC = base64.b64decode("""
AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAa1tZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAA
AA5waXRtAAAAAAACAAAAEGlkYXQAAAAAAEAAMAAAADhpbG9jAQAAAERAAAIAAQAAAAAAAAHRAAEAAAAAAAABAQACAAEAAAAAAAAA
AQAAAAAAAAAIAAAAOGlpbmYAAAAAAAIAAAAVaW5mZQIAAAEAAQAAaHZjMQAAAAAVaW5mZQIAAAAAAgAAZ3JpZAAAAADYaXBycAAA
ALZpcGNvAAAAdmh2Y0MBA3AAAAAAAAAAAAAe8AD8/fj4AAAPAyAAAQAYQAEMAf//A3AAAAMAkAAAAwAAAwAeugJAIQABACpCAQED
cAAAAwCQAAADAAADAB6gIIEFlurkprm4EBAwIAAAAwAgAAADACEiAAEABkQBwXPAiQAAABRpc3BlAAAAAAAAAEAAAABAAAAAFGlz
cGUAAAAAAAAAQAAAADAAAAAQcGl4aQAAAAADCAgIAAAAGmlwbWEAAAAAAAAAAgABAoECAAICA4QAAAAaaXJlZgAAAAAAAAAOZGlt
ZwACAAEAAQAAAQltZGF0AAAA/SgBrwng6VnDXMb7Dctaw/u3G+zP0/+f1nU/3WAqjPL+p9J5AB+oKL+nZ9fXJJJ9D3mx7oqpisG6
YBiF0k/wPhBQaQy6+myVxUpXNFjlhppIXoMksJdSeJEkIWKAuo3z+QBPYbuHpgHKQG9CzG7TUPO1VqIthor7e9SSw3UBzLYuiWSN
3Y2SbfYSPtR/yvYXai8PlvVQC6i6E0BfJz0AxnMyeLNKAC9BHQuex80gvYe6676wV0H55yXseJLT4xgc0q5oM9soUrhIoQaso+Sn
Kork+GjRwWJ9KbkALthAPccaWWTNPEf3ess1MIz/i+9pR2Hl+RuvV1ciOT7gw5Q=
""")

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 10: 8}  # bytes of each of TIFF's types
_CODES = {1: "B", 3: "H", 4: "I", 5: "I", 10: "i"}
_PREVIEW_AT, _SIDE = 1024, 32
_IDENTITY = [1, 1, 0, 1, 0, 1, 0, 1, 1, 1, 0, 1, 0, 1, 0, 1, 1, 1]  # stored as fractions


def preview(height=48, width=64, orientation=None):
    """A JPEG file whose corners differ. orientation: the value in its EXIF, which is then its first segment."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0] = np.linspace(0, 250, width).astype(np.uint8)
    pixels[..., 1] = np.linspace(0, 250, height).astype(np.uint8)[:, None]
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=95, exif=exif)
    data = buffer.getvalue()
    return data if orientation is None else data[:2] + data[2 + 2 + int.from_bytes(data[4:6], "big") :]


def dng(jpeg, orientation=1, *, version=True, thumbnail=True, plain=False):
    """A raw file with a mosaic of 32 x 32, with the JPEG file as its preview.

    version: whether it states that it is a DNG; other cameras' files do not. thumbnail: whether there is a preview. plain:
    whether the preview is stored as pixels.
    """
    image = Image.open(io.BytesIO(jpeg))
    width, height = image.size
    jpeg = image.tobytes() if plain else jpeg
    mosaic = (np.arange(_SIDE * _SIDE, dtype="<u2") * 10).tobytes()
    mosaic_at = _PREVIEW_AT + len(jpeg) + len(jpeg) % 2
    below_at = mosaic_at + len(mosaic)
    compression, meaning = (1, 2) if plain else (7, 6)
    first = [
        (254, 4, [1]), (256, 4, [width]), (257, 4, [height]), (258, 3, [8, 8, 8]), (259, 3, [compression]), (262, 3, [meaning]),
        (271, 2, b"Camera\0"), (272, 2, b"Model\0"), (274, 3, [orientation]), (277, 3, [3]), (278, 4, [height]),
        (330, 4, [below_at]),
    ]  # fmt: skip
    if thumbnail:
        first += [(273, 4, [_PREVIEW_AT]), (279, 4, [len(jpeg)])]
    if version:
        first += [
            (50706, 1, [1, 4, 0, 0]), (50707, 1, [1, 1, 0, 0]), (50708, 2, b"Camera Model\0"), (50721, 10, _IDENTITY),
            (50728, 5, [1, 1, 1, 1, 1, 1]), (50778, 3, [21]),
        ]  # fmt: skip
    below = [
        (254, 4, [0]), (256, 4, [_SIDE]), (257, 4, [_SIDE]), (258, 3, [16]), (259, 3, [1]), (262, 3, [32803]),
        (273, 4, [mosaic_at]), (277, 3, [1]), (278, 4, [_SIDE]), (279, 4, [len(mosaic)]), (33421, 3, [2, 2]),
        (33422, 1, [0, 1, 1, 2]), (50714, 3, [0]), (50717, 3, [65535]),
    ]  # fmt: skip
    head = b"II*\0" + struct.pack("<I", 8)
    start = (head + _directory(first, len(head))).ljust(_PREVIEW_AT, b"\0")
    return (start + jpeg).ljust(mosaic_at, b"\0") + mosaic + _directory(below, below_at)


def _directory(entries, at):
    """A TIFF directory at offset `at`, followed by the values that do not fit into it."""
    behind, table, values = at + 2 + 12 * len(entries) + 4, b"", b""
    for tag, kind, value in sorted(entries):
        payload = value if kind == 2 else struct.pack(f"<{len(value)}{_CODES[kind]}", *value)
        count = len(payload) // _SIZES[kind]
        if len(payload) <= 4:
            stored = payload.ljust(4, b"\0")
        else:
            stored = struct.pack("<I", behind + len(values))
            values += payload + bytes(len(payload) % 2)
        table += struct.pack("<HHI", tag, kind, count) + stored
    return struct.pack("<H", len(entries)) + table + struct.pack("<I", 0) + values
