"""JPEG 2000 in tiles: read with all tiles; with fewer than its head states it is refused, never read as half black."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image

from dcnn_fast.data import ReadError, read
from tests.data.hostile_pictures import saved

TILES = 20  # tiles of 64 x 64 pixels in 300 x 200
PIXELS = np.random.default_rng(0).integers(0, 256, (200, 300, 3)).astype(np.uint8)
BOXED = saved("JPEG2000", Image.fromarray(PIXELS), tile_size=(64, 64))
STREAM = BOXED[BOXED.index(b"\xff\x4f\xff\x51") :]


def parts():
    """The offset of each tile's part, and the end of the last."""
    at = [STREAM.index(b"\xff\x90")]
    for _ in range(TILES):
        at.append(at[-1] + struct.unpack_from(">I", STREAM, at[-1] + 6)[0])
    return at


def test_all_tiles_are_read():
    """In a file of boxes, as a stream, with a last part of open length, and from an open image."""
    at = parts()
    open_end = STREAM[: at[-2] + 6] + bytes(4) + STREAM[at[-2] + 10 :]
    for data in (BOXED, STREAM, open_end):
        assert np.array_equal(read(data).pixels, PIXELS)
        with Image.open(io.BytesIO(data)) as image:
            assert np.array_equal(read(image).pixels, PIXELS)


@pytest.mark.parametrize("gone", [0, 7, TILES - 1])
def test_a_missing_tile_is_named(gone):
    at = parts()
    data = STREAM[: at[gone]] + STREAM[at[gone + 1] :]
    assert Image.open(io.BytesIO(data)).load() is not None  # the decoder does not complain
    with pytest.raises(ReadError, match="^cannot be decoded: the file has 19 of its 20 tiles$"):
        read(data)


def test_a_tile_that_comes_twice_is_not_two():
    at = parts()
    data = STREAM[: at[1]] + STREAM[at[0] : at[1]] + STREAM[at[2] :]
    with pytest.raises(ReadError, match="the file has 19 of its 20 tiles$"):
        read(data)


def test_boxes_before_the_picture_are_not_taken_for_it():
    """A box that holds a codestream of one tile, and a box with a length of 64 bits."""
    decoy = saved("JPEG2000", Image.fromarray(PIXELS[:8, :8]), no_jp2=True)
    at, first = BOXED.index(b"jp2c") - 4, parts()[0]
    more = struct.pack(">I4sQ", 1, b"free", 16 + len(decoy)) + decoy + struct.pack(">I", 8 + len(decoy)) + b"free" + decoy
    assert np.array_equal(read(BOXED[:at] + more + BOXED[at:]).pixels, PIXELS)
    none = STREAM[:first] + b"\xff\xd9"
    with pytest.raises(ReadError, match="the file has 0 of its 20 tiles$"):
        read(BOXED[:at] + more + struct.pack(">I", 8 + len(none)) + b"jp2c" + none)


@pytest.mark.parametrize("end", [13, 40, 130, 140, 1000, len(STREAM) - 300, len(STREAM) - 1])
def test_what_is_cut_short_is_refused_somewhere(end):
    for data in (STREAM[:end], BOXED[: end + len(BOXED) - len(STREAM)]):
        with pytest.raises(ReadError):
            read(data)
