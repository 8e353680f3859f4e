"""Files with endless parts: each reading ends quickly in little memory, and excessive files are refused by name."""

from __future__ import annotations

import io
import zlib

import numpy as np
import pytest
from PIL import Image

from dcnn_fast.data import ReadError, read
from tests import warm
from tests.data.hostile_pictures import HOSTILE, NOISE, animation, boxes, chunk, jpeg, png, saved, strips, tiff_tiles

SECONDS, BYTES = 5, 10**9  # above the pixels, in a process of its own
REFUSED = {
    "tiff of many strips": "200000 strips", "tiff of many packed strips": "200000 strips",
    "tiff of many tiles": "200000 tiles", "tiff of more tags": "100000 tags", "png of many texts": "chunks",
    "png of many profiles": "100 colour profiles", "png of many unknown chunks": "chunks",
    "png of many unknown chunks after it": "chunks", "png of pixels in many chunks": "chunks", "png of many frames": "chunks",
    "jpeg of many segments": "100000 segments", "jpeg of many comments": "100000 segments",
    "jpeg of many profiles": "100000 segments", "jpeg of tables": "100000 segments",
    "jpeg of filling": "1048576 bytes between its segments", "jpeg 2000 of many boxes": "100000 boxes",
    "jpeg 2000 of many comments": "100000 segments", "jpeg 2000 of many parts of a tile": "1048576 parts of tiles",
    "bmp of line ends": "16777216 pixels in a run-length encoded BMP",
    "bmp of a long line": "16777216 pixels in a run-length encoded BMP",
}  # fmt: skip

PROGRAM = """
import os, resource, sys, time
from dcnn_fast.data import ReadError, read
from tests.data.hostile_pictures import HOSTILE
def status(key):
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith(key))
for name, make in HOSTILE.items():
    path = os.path.join(sys.argv[1], "hostile")
    with open(path, "wb") as file:
        file.write(make())
    child = os.fork()
    if not child:
        open("/proc/self/clear_refs", "w").write("5")
        before, started, pixels = status("VmRSS"), time.process_time(), 0
        try:
            found = read(path)
            pixels, said = found.pixels.nbytes, "read"
        except ReadError as error:
            said = str(error)
        seconds = time.process_time() - started
        print(name, seconds, status("VmHWM") - before - pixels, said, sep="\\t", flush=True)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, name
"""


def test_each_ends_soon_in_little_memory(tmp_path):
    found = warm.run(PROGRAM, [tmp_path], warm.ROOT)
    assert found.returncode == 0, found.stderr
    rows = {line.split("\t")[0]: line.split("\t")[1:] for line in found.stdout.splitlines()}
    assert set(rows) == set(HOSTILE) and set(REFUSED) <= set(HOSTILE)
    for name, (seconds, taken, said) in rows.items():
        assert float(seconds) < SECONDS and int(taken) < BYTES, (name, seconds, taken)
        assert "\n" not in said and len(said) < 200
        if name in REFUSED:
            assert said.startswith("refused as a decompression bomb: more than ") and said.endswith(REFUSED[name]), (name, said)
        else:
            assert "refused as" not in said, (name, said)


def run_length_image():
    head = saved("BMP", Image.fromarray(NOISE).quantize(9))
    pixels = b"".join(bytes((1, value)) for value in range(20)) + b"\x00\x00"
    return head[:30] + (1).to_bytes(4, "little") + head[34 : int.from_bytes(head[10:14], "little")] + pixels * 24 + b"\x00\x01"


@pytest.mark.parametrize(
    ("data", "shape"),
    [
        (strips(5_000), (5_000, 8, 3)),
        (tiff_tiles(2_000), (16, 32_000, 3)),
        (png(before=chunk(b"tEXt", b"k\x00v") * 5_000 + chunk(b"iCCP", b"k\x00\x00" + zlib.compress(b"none")) * 3), (8, 8, 3)),
        (animation(300), (8, 8, 3)),
        (jpeg(b"\xff\xe5\x00\x02" * 5_000 + b"\xff" * 9_000), (24, 20, 3)),
        (jpeg(b"\xff\xfe\x00\x03x" + b"junk" * 500), (24, 20, 3)),
        (boxes(5_000), (24, 20, 3)),
        (run_length_image(), (24, 20, 3)),
    ],
    ids=["strips", "tiles", "png", "frames", "jpeg", "junk", "boxes", "bmp"],
)
def test_what_no_camera_writes_but_is_modest_is_read(data, shape, tmp_path):
    """As bytes, as a path, and as an open image."""
    path = tmp_path / "x.jpg"
    path.write_bytes(data)
    found = read(path).pixels
    assert found.shape == shape
    assert np.array_equal(found, read(data).pixels)
    with Image.open(io.BytesIO(data)) as image:
        assert np.array_equal(found, read(image).pixels)


def test_a_large_png_may_have_as_many_chunks_as_its_pixels_take():
    """Tested with chunks of 300 bytes."""
    noise = np.random.default_rng(0).integers(0, 256, (1200, 1000, 3)).astype(np.uint8)
    whole = saved("PNG", Image.fromarray(noise), compress_level=0)
    packed, at = b"", 8
    while at < len(whole):
        size = int.from_bytes(whole[at : at + 4], "big")
        packed += whole[at + 8 : at + 8 + size] if whole[at + 4 : at + 8] == b"IDAT" else b""
        at += 12 + size
    pixels = b"".join(chunk(b"IDAT", packed[i : i + 300]) for i in range(0, len(packed), 300))
    head = whole[: whole.index(b"IDAT") - 4]
    assert np.array_equal(read(head + pixels + chunk(b"IEND")).pixels, noise)


def test_an_open_image_of_too_many_strips_is_refused_too():
    with Image.open(io.BytesIO(strips(200_001))) as image, pytest.raises(ReadError, match="more than 200000 strips or tiles$"):
        read(image)
