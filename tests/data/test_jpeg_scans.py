"""Files that ask a JPEG decoder to go over a picture again and again are refused before it begins."""

from __future__ import annotations

import io
import time

import numpy as np
import pytest
from PIL import Image

from dcnn_fast.data import ReadError, jpeg_scans, read

NOISE = np.random.default_rng(0).integers(0, 256, (40, 50, 3)).astype(np.uint8)


def saved(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    return buffer.getvalue()


def repeated(data: bytes, times: int) -> bytes:
    """The file with its last scan so many times more."""
    last = data.rindex(b"\xff\xda")
    assert data.endswith(b"\xff\xd9")
    return data[:-2] + data[last:-2] * times + data[-2:]


@pytest.mark.parametrize(("mode", "count"), [("L", 6), ("RGB", 10)])
def test_scans_are_counted(mode, count):
    """As libjpeg makes them by default: 6 of one component, 10 of three."""
    image = Image.fromarray(NOISE).convert(mode)
    thumbnail = Image.Exif()
    thumbnail[0x010E] = "\xff\xda" * 40  # a marker in what is not a scan
    progressive = saved(image, progressive=True, exif=thumbnail, quality=90)
    assert jpeg_scans.scans(progressive) == count
    assert jpeg_scans.scans(repeated(progressive, 7)) == count + 7
    assert jpeg_scans.scans(saved(image, progressive=True, restart_marker_rows=1)) == count
    assert jpeg_scans.scans(saved(image)) == 1 == jpeg_scans.scans(repeated(saved(image), 9))
    assert jpeg_scans.scans(progressive + progressive) == count
    for cut in range(0, len(progressive), 7):
        assert 0 <= jpeg_scans.scans(progressive[:cut]) <= count
    assert jpeg_scans.scans(b"") == jpeg_scans.scans(b"\xff\xd8\xff\xda") - 1 == 0


def test_the_same_picture_a_few_times_over_is_read_and_thousands_of_times_is_not(tmp_path):
    """The second would take half a minute; a PIL image of it, not yet loaded, is refused as well."""
    plain = saved(Image.new("L", (2048, 2048), 128), progressive=True, quality=50)
    assert np.array_equal(read(repeated(plain, 3)).pixels, read(plain).pixels)
    hostile = repeated(plain, 9000)
    assert len(hostile) < 200_000
    path = tmp_path / "x.jpg"
    path.write_bytes(hostile)
    why = "^refused as a decompression bomb: 9006 scans of 2048 x 2048 pixels$"
    for source in (hostile, path):
        started = time.process_time()
        with pytest.raises(ReadError, match=why):
            read(source)
        assert time.process_time() - started < 5  # it takes a hundredth of that
    with Image.open(path) as image, pytest.raises(ReadError, match=why):
        read(image)


def test_a_loaded_image_is_read_whatever_its_file_was():
    plain = saved(Image.fromarray(NOISE), progressive=True)
    with Image.open(io.BytesIO(plain)) as image:
        image.load()
        assert np.array_equal(read(image).pixels, read(plain).pixels)
