"""Small pictures in files that consist mostly of other parts: hundreds of thousands of chunks, and huge tables."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image, ImageCms

NOISE = np.random.default_rng(0).integers(0, 256, (24, 20, 3)).astype(np.uint8)
MANY = 300_000


def saved(kind, image=None, **options):
    buffer = io.BytesIO()
    (Image.fromarray(NOISE) if image is None else image).save(buffer, kind, **options)
    return buffer.getvalue()


def tiff(tags, data=b"", big=False, after=0):
    """A TIFF file with one directory. tags: number, type, count, and the value or its offset; data: the bytes after the tags,
    which begins at `start(len(tags))`.
    """
    if big:
        head = b"II\x2b\x00\x08\x00\x00\x00" + struct.pack("<QQ", 16, len(tags))
        return head + b"".join(struct.pack("<HHQQ", *tag) for tag in tags) + bytes(8) + data
    head = b"II*\x00" + struct.pack("<IH", 8, len(tags))
    return head + b"".join(struct.pack("<HHII", *tag) for tag in tags) + struct.pack("<I", after) + data


def start(count):
    return 8 + 2 + 12 * count + 4


def strips(count, compression=1):
    """Strips of one row of 8 pixels each, all at the same offset."""
    at = start(9)
    tags = [
        (256, 3, 1, 8), (257, 4, 1, count), (258, 3, 1, 8), (259, 3, 1, compression), (262, 3, 1, 1), (273, 4, count, at),
        (277, 3, 1, 1), (278, 4, 1, 1), (279, 4, count, at + 4 * count),
    ]  # fmt: skip
    pixels = at + 8 * count
    table = np.full(count, pixels, "<u4").tobytes() + np.full(count, 8, "<u4").tobytes()
    return tiff(tags, table + bytes(8))


def tiff_tiles(count):
    at = start(10)
    tags = [
        (256, 4, 1, 16 * count), (257, 4, 1, 16), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (277, 3, 1, 1),
        (322, 3, 1, 16), (323, 3, 1, 16), (324, 4, count, at), (325, 4, count, at + 4 * count),
    ]  # fmt: skip
    table = np.full(count, at + 8 * count, "<u4").tobytes() + np.full(count, 256, "<u4").tobytes()
    return tiff(tags, table + bytes(256))


def plain_tags(pixels_at):
    return [
        (256, 3, 1, 8), (257, 3, 1, 8), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, pixels_at), (277, 3, 1, 1),
        (278, 3, 1, 8), (279, 4, 1, 64),
    ]  # fmt: skip


def many_tags(count, big=False):
    more = [(1000 + number % 40_000, 3, 1, number % 7) for number in range(count)]
    if big:
        return tiff([*plain_tags(16 + 8 + 20 * (9 + count) + 8), *more], bytes(64), big=True)
    return tiff([*plain_tags(start(9 + count)), *more], bytes(64))


def large_tags(count, kind, size):
    """Tags whose values each fill the whole file."""
    at = start(9 + count)
    values = at + 64
    width = {2: 1, 5: 8, 10: 8, 12: 8, 3: 2, 7: 1}[kind]
    return tiff(
        [*plain_tags(at), *((40_000 + number, kind, size // width, values) for number in range(count))], bytes(64) + bytes(size)
    )


def large_profile(size):
    """A valid profile, padded with zeros."""
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    return saved("TIFF", icc_profile=struct.pack(">I", size) + icc[4:] + bytes(size - len(icc)))


def directories(count):
    """Directories in a chain."""
    tags = plain_tags(8)
    size = 2 + 12 * len(tags) + 4
    parts = [b"II*\x00" + struct.pack("<I", 8)]
    for number in range(count):
        following = 8 + size * (number + 1) if number + 1 < count else 0
        parts.append(
            struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + struct.pack("<I", following)
        )
    return b"".join(parts)


def chunk(kind, data=b""):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(before=b"", after=b"", pixels=None, side=8):
    head = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(bytes(side * (3 * side + 1)))) if pixels is None else pixels
    return head + before + body + after + chunk(b"IEND")


def exif(count):
    return b"II*\x00\x08\x00\x00\x00" + struct.pack("<H", count) + struct.pack("<HHII", 0x9C9B, 1, 2**20, 0) * count + bytes(4)


def animation(count):
    """A PNG file with `count` frames."""
    control = struct.pack(">IIIIIHHBB", 0, 8, 8, 0, 0, 1, 10, 0, 0)
    frame = chunk(b"fcTL", control) + chunk(b"fdAT", bytes(4) + zlib.compress(bytes(200)))
    return png(before=chunk(b"acTL", struct.pack(">II", count, 0)) + chunk(b"fcTL", control), after=frame * count)


def split_pixels(count):
    packed = zlib.compress(NOISE.tobytes() * 50)
    return b"".join(chunk(b"IDAT", packed[i : i + 1]) for i in range(len(packed))) + chunk(b"IDAT") * count


def gif(before=b"", after=b""):
    plain = saved("GIF")
    at = plain.index(b"\x2c", 13 + 3 * 256)
    return plain[:at] + before + plain[at:-1] + after + b";"


def jpeg(segments):
    plain = saved("JPEG")
    return plain[:2] + segments + plain[2:]


def riff(*chunks):
    body = b"WEBP" + b"".join(kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2) for kind, data in chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def webp_frames(count):
    bits = saved("WEBP", lossless=True)[12:]
    frame = bytes(6) + (19).to_bytes(3, "little") + (23).to_bytes(3, "little") + (10).to_bytes(3, "little") + b"\x00" + bits
    canvas = b"\x02\x00\x00\x00" + (19).to_bytes(3, "little") + (23).to_bytes(3, "little")
    return riff((b"VP8X", canvas), (b"ANIM", bytes(6)), *[(b"ANMF", frame)] * count)


def webp_chunks(count):
    bits = saved("WEBP", lossless=True)[20:]
    canvas = b"\x00\x00\x00\x00" + (19).to_bytes(3, "little") + (23).to_bytes(3, "little")
    length = struct.unpack("<I", saved("WEBP", lossless=True)[16:20])[0]
    return riff((b"VP8X", canvas), (b"VP8L", bits[:length]), *[(b"abcd", b"")] * count)


def jpeg2000(replaced):
    """A codestream with fields of its size marker replaced; keys are their offsets in the marker."""
    stream = bytearray(saved("JPEG2000", no_jp2=True))
    for offset, value in replaced.items():
        stream[4 + offset : 8 + offset] = struct.pack(">I", value)
    return bytes(stream)


def boxes(count):
    whole = saved("JPEG2000")
    at = whole.index(b"jp2h") - 4
    return whole[:at] + (struct.pack(">I", 8) + b"free") * count + whole[at:]


def comments(count):
    stream = saved("JPEG2000", no_jp2=True)
    at = stream.index(b"\xff\x52")
    return stream[:at] + b"\xff\x64\x00\x05\x00\x01x" * count + stream[at:]


def tile_parts(count):
    """Parts of one tile, all but the last of them empty."""
    stream = saved("JPEG2000", no_jp2=True)
    at = stream.index(b"\xff\x90")
    empty = b"\xff\x90\x00\x0a\x00\x00" + struct.pack(">I", 14) + b"\x00\x00\xff\x93"
    return stream[:at] + empty * count + stream[at:]


def run_lengths(width, height, data):
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(data), 0, 0, 256, 0)
    at = 14 + len(head) + 1024
    return b"BM" + struct.pack("<IHHI", at + len(data), 0, 0, at) + head + bytes(1024) + data


def mpo(count):
    entries = struct.pack("<HHII", 0xB000, 7, 4, int.from_bytes(b"0100", "little")) + struct.pack("<HHII", 0xB001, 4, 1, count)
    entries += struct.pack("<HHII", 0xB002, 7, 16 * count, 8 + 2 + 36 + 4)
    body = b"MPF\x00II*\x00" + struct.pack("<IH", 8, 3) + entries + bytes(4) + bytes(16 * count)
    return jpeg(b"\xff\xe2" + struct.pack(">H", len(body) + 2) + body)


HOSTILE = {
    "tiff of many strips": lambda: strips(MANY),
    "tiff of many packed strips": lambda: strips(MANY, 32773),
    "tiff of many tiles": lambda: tiff_tiles(MANY),
    "tiff of many tags": lambda: many_tags(40_000),
    "tiff of more tags": lambda: many_tags(MANY, big=True),
    "tiff of a large tag": lambda: large_tags(1, 5, 16_000_000),
    "tiff of large tags over each other": lambda: large_tags(5_000, 5, 4_000_000),
    "tiff of many directories": lambda: directories(20_000),
    "png of texts": lambda: png(before=chunk(b"tEXt", b"key\x00value") * 90_000),
    "png of many texts": lambda: png(before=chunk(b"tEXt", b"key\x00value") * MANY),
    "png of packed texts": lambda: png(before=chunk(b"zTXt", b"k\x00\x00" + zlib.compress(bytes(2**20))) * 1_000),
    "png of long texts after it": lambda: png(
        after=chunk(b"iTXt", b"k\x00\x01\x00\x00\x00" + zlib.compress(b" " * 2**20)) * 9_000
    ),
    "png of many profiles": lambda: png(before=chunk(b"iCCP", b"k\x00\x00" + zlib.compress(bytes(2**20))) * 5_000),
    "png of many unknown chunks": lambda: png(before=chunk(b"abCd") * MANY),
    "png of many unknown chunks after it": lambda: png(after=chunk(b"abCd") * MANY),
    "png of pixels in many chunks": lambda: png(pixels=split_pixels(MANY), side=20),
    "png of a large exif": lambda: png(before=chunk(b"eXIf", exif(65_535) + bytes(2**24))),
    "png of many frames": lambda: animation(100_000),
    "gif of many frames": lambda: gif(after=gif()[gif().index(b"\x2c", 13 + 3 * 256) : -1] * 3_000),
    "gif of many comments": lambda: gif(before=b"\x21\xfe\x01x\x00" * MANY),
    "gif of a comment in many parts": lambda: gif(before=b"\x21\xfe" + b"\x01x" * MANY + b"\x00"),
    "gif of many unknown extensions": lambda: gif(before=b"\x21\x77\x00" * MANY),
    "gif of many unknown bytes": lambda: gif(before=b"\x01" * MANY),
    "webp of many frames": lambda: webp_frames(2_000),
    "webp of many chunks": lambda: webp_chunks(MANY),
    "jpeg of many segments": lambda: jpeg(b"\xff\xe5\x00\x02" * MANY),
    "jpeg of many comments": lambda: jpeg(b"\xff\xfe\x00\x03x" * MANY),
    "jpeg of many profiles": lambda: jpeg(b"\xff\xe2\x00\x10ICC_PROFILE\x00\x01\x01" * MANY),
    "jpeg of many photoshop blocks": lambda: jpeg(
        (b"\xff\xed\xff\xf0Photoshop 3.0\x00" + b"8BIM\x03\xed\x00\x00\x00\x00\x00\x00" * 5455)[:65522].ljust(65522, b"8") * 60
    ),
    "jpeg of many exifs": lambda: jpeg((b"\xff\xe1\xff\xf8Exif\x00\x00" + exif(5_000))[:65530].ljust(65530, b"\0") * 200),
    "jpeg of tables": lambda: jpeg((b"\xff\xdb\x00\x43\x00" + b"\x01" * 64) * 200_000),
    "jpeg of filling": lambda: jpeg(b"\xff" * 10_000_000),
    "mpo of many frames": lambda: mpo(4_000),
    "jpeg 2000 of tiles of a pixel": lambda: jpeg2000({20: 1, 24: 1}),
    "jpeg 2000 of many tiles": lambda: jpeg2000({4: 13_000, 8: 13_000, 20: 50, 24: 50}),
    "jpeg 2000 of all tiles": lambda: jpeg2000({4: 13_000, 8: 13_000, 20: 1, 24: 1}),
    "jpeg 2000 of 65,025 tiles": lambda: jpeg2000({4: 12_750, 8: 12_750, 20: 50, 24: 50}),
    "tiff of a large profile": lambda: large_profile(16_000_000),
    "jpeg 2000 of many boxes": lambda: boxes(MANY),
    "jpeg 2000 of many comments": lambda: comments(MANY),
    "jpeg 2000 of many parts of a tile": lambda: tile_parts(2**20 + 1),
    "bmp of line ends": lambda: run_lengths(60_000, 2_900, b"\x00\x00\x01\x05\x00\x00" * 2_900),
    "bmp of a long line": lambda: run_lengths(170_000_000, 1, b"\x01\x05\x00\x00"),
    "bmp of as much as is read": lambda: run_lengths(3_000, 3_000, b"\x00\x00\x01\x05\x00\x00" * 3_000),
}
