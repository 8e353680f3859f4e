"""AVIF pictures of many items: valid ones are read, and those with disproportionate items are refused by name, quickly."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dcnn_fast.data import ReadError, heif_items, picture_cost, read
from tests import warm
from tests.data.avif_grids import grid

NOISE = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
CELL = Image.fromarray(NOISE)
# `encoded(Image.new("RGB", (13000, 13000)))` and `grid(Image.new("RGB", (8600, 8600)), 2, 2, 8602, 8602, shared=False)`: a few
# KB, but 3.5 and 1.6 GB to make them.
FRAME, CELLS = (Path(__file__).with_name(name) for name in ("frame_13000.avif", "cells_8600.avif"))


def encoded(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, "AVIF", speed=10, **options)
    return buffer.getvalue()


def saying(data, width, height):
    """The file with other sides in its boxes than in its frame."""
    at = data.index(b"ispe") + 8
    return data[:at] + struct.pack(">II", width, height) + data[at + 8 :]


def decoded(data):
    return heif_items.decoded_pixels(io.BytesIO(data))


HOSTILE = {
    "of many cells": lambda: grid(Image.new("RGB", (64, 64)), 209, 209),
    "of cells of the same bytes": lambda: grid(CELL, 64, 64, quality=100),
    "of cells that reach far beyond it": CELLS.read_bytes,
    "of a frame that is larger than it": lambda: saying(FRAME.read_bytes(), 8000, 8000),
    "of a frame that is much larger": lambda: saying(encoded(Image.new("RGB", (5000, 5000))), 64, 64),
}
REFUSED = {
    "of many cells": "more than 10000 items",
    "of cells of the same bytes": "in the items of a file of",
    "of cells that reach far beyond it": "decoding 8602 x 8602 pixels of this AVIF takes",
    "of a frame that is larger than it": "decoding 8000 x 8000 pixels of this AVIF takes",
    "of a frame that is much larger": "more than 4 pixels decoded for each of 64 x 64",
}
PROGRAM = """
import os, sys, time
from dcnn_fast.data import ReadError, read
def status(key):
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith(key))
for path in sys.argv[1:]:
    child = os.fork()
    if not child:
        open("/proc/self/clear_refs", "w").write("5")
        before, started = status("VmRSS"), time.process_time()
        try:
            said = str(read(path).pixels.shape)
        except ReadError as error:
            said = str(error)
        print(os.path.basename(path), time.process_time() - started, status("VmHWM") - before, said, sep="\\t", flush=True)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
"""


def test_hostile_ones_end_within_the_budget(tmp_path):
    for name, make in HOSTILE.items():
        (tmp_path / name).write_bytes(make())
    (tmp_path / "right").write_bytes(grid(CELL, 30, 30, quality=100, shared=False))
    found = warm.run(PROGRAM, sorted(tmp_path.iterdir()))
    assert found.returncode == 0, found.stderr
    rows = {line.split("\t")[0]: line.split("\t")[1:] for line in found.stdout.splitlines()}
    assert set(rows) == {*HOSTILE, "right"}
    for name, (seconds, taken, said) in rows.items():
        assert float(seconds) < 5 and int(taken) < 10**9, (name, seconds, taken)
        if name in HOSTILE:
            assert said.startswith("refused as a decompression bomb: ") and REFUSED[name] in said, (name, said)
        else:
            assert said == "(1920, 1920, 3)", said


@pytest.mark.parametrize("shared", [False, True])
def test_a_grid_is_read_cell_by_cell(shared):
    """Including cells that share their bytes, as writers store an even sky."""
    data = grid(CELL, 2, 3, 180, 124, shared=shared)
    one = read(encoded(CELL)).pixels
    pixels = read(data).pixels
    assert pixels.shape == (124, 180, 3) and decoded(data) == 6 * 64 * 64
    inner = np.s_[8:56, 8:56]  # colours are interpolated across the cells' edges
    assert all(np.array_equal(pixels[64 * row :, 64 * column :][inner], one[inner]) for row, column in ((0, 0), (0, 1), (1, 0)))


def test_the_pixels_that_are_decoded_are_told_from_the_stream():
    rng = np.random.default_rng(1)
    for height, width in ((1, 1), (7, 200), (129, 64), (300, 257)):
        pixels = rng.integers(0, 256, (height, width, 4)).astype(np.uint8)
        image = Image.fromarray(pixels)
        plain = image.convert("RGB")
        assert decoded(encoded(plain)) == height * width
        assert decoded(encoded(image)) == 2 * height * width
        assert decoded(encoded(plain.convert("L"))) == height * width
        sequence = encoded(plain, save_all=True, append_images=[plain, plain])
        assert decoded(sequence) == 2 * height * width  # as a picture, and as the first of several
        for data in (encoded(plain), encoded(image), sequence):
            assert read(data).pixels.shape == (height, width, 3)


def test_a_picture_in_one_large_cell_is_read():
    data = saying(encoded(Image.new("RGB", (1000, 1000), (200, 10, 10))), 990, 990)
    assert read(data).pixels.shape == (990, 990, 3)


def test_bytes_that_are_no_boxes_are_no_crash():
    """A grid with random changes is read or refused."""
    rng = np.random.default_rng(2)
    whole = grid(CELL, 2, 2)
    for _ in range(300):
        data = bytearray(whole)
        for at in rng.integers(0, 500, rng.integers(1, 9)):
            data[at] = rng.integers(256)
        cut = bytes(data[: rng.integers(8, len(data) + 1)]) if rng.integers(2) else bytes(data)
        try:
            read(cut)
        except ReadError as error:
            assert "\n" not in str(error)


def test_an_open_picture_whose_cells_are_the_same_bytes_is_refused_too():
    with Image.open(io.BytesIO(grid(CELL, 40, 40, quality=100))) as image, pytest.raises(ReadError, match="in the items of"):
        read(image)


def test_the_cost_is_that_of_the_frames():
    data = saying(encoded(Image.new("RGB", (2000, 2000))), 1000, 1000)
    with Image.open(io.BytesIO(data)) as image:
        large = picture_cost.cost(image, 0, False)
    with Image.open(io.BytesIO(encoded(Image.new("RGB", (1000, 1000))))) as image:
        assert large == picture_cost.cost(image, 0, False) + 11 * 1_000_000
