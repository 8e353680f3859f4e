"""Files that would make a JPEG decoder go over a picture again and again are refused before decoding begins."""

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
    """The file with its last scan repeated."""
    last = data.rindex(b"\xff\xda")
    assert data.endswith(b"\xff\xd9")
    return data[:-2] + data[last:-2] * times + data[-2:]


def scans(data):
    return jpeg_scans.scans(data, 10**9)


@pytest.mark.parametrize(("mode", "count"), [("L", 6), ("RGB", 10)])
def test_scans_are_counted(mode, count):
    """As libjpeg makes them by default: 6 for one component, 10 for three."""
    image = Image.fromarray(NOISE).convert(mode)
    thumbnail = Image.Exif()
    thumbnail[0x010E] = "\xff\xda" * 40  # a marker outside any scan
    progressive = saved(image, progressive=True, exif=thumbnail, quality=90)
    assert scans(progressive) == count
    assert scans(repeated(progressive, 7)) == count + 7
    assert scans(saved(image, progressive=True, restart_marker_rows=1)) == count
    assert scans(saved(image)) == 1 == scans(repeated(saved(image), 9))
    assert scans(progressive + progressive) == count
    for cut in range(0, len(progressive), 7):
        assert 0 <= scans(progressive[:cut]) <= count
    assert scans(b"") == scans(b"\xff\xd8\xff\xda") - 1 == 0
    assert jpeg_scans.scans(repeated(progressive, 700), 50) == 51


def test_the_same_picture_a_few_times_over_is_read_and_thousands_of_times_is_not(tmp_path):
    """Decoding the second would take half a minute; a PIL image of it, not yet loaded, is refused as well."""
    plain = saved(Image.new("L", (2048, 2048), 128), progressive=True, quality=50)
    assert np.array_equal(read(repeated(plain, 3)).pixels, read(plain).pixels)
    hostile = repeated(plain, 9000)
    assert len(hostile) < 200_000
    path = tmp_path / "x.jpg"
    path.write_bytes(hostile)
    why = "^refused as a decompression bomb: more than 953 scans of 2048 x 2048 pixels$"
    for source in (hostile, path):
        started = time.process_time()
        with pytest.raises(ReadError, match=why):
            read(source)
        assert time.process_time() - started < 5  # it takes a hundredth of that
    with Image.open(path) as image, pytest.raises(ReadError, match=why):
        read(image)


def parts(data: bytes) -> tuple[bytes, list[bytes]]:
    """A file of one component, cut into its head and its scans; the first scan includes the bytes before it."""
    starts = [at for at in range(len(data) - 1) if data[at : at + 2] == b"\xff\xda"]
    return data[: starts[0]], [data[a:b] for a, b in zip(starts, [*starts[1:], len(data) - 2], strict=True)]


def one_component_first(data: bytes) -> bytes:
    """A sequential file of three components with a scan of the first before the scan of all."""
    head, (whole,) = parts(data)
    alone = b"\xff\xda" + bytes((0, 8, 1, 1, 0, 0, 63, 0)) + whole[14:]
    return head + alone + whole, whole


GREY = saved(Image.new("L", (2048, 2048), 128), progressive=True, quality=50)


def _hidden_in_restarts() -> bytes:
    """Scans behind a marker that a decoder skips and whose next two bytes look like a length of 64 kB."""
    head, (first, *rest) = parts(GREY)
    return head + b"\xff\xdd\x00\x04\x00\x01" + first + b"\xff\x02\xff\xff" + rest[-1] * 2000 + b"\xff\xd9"


def _behind_a_partial_scan() -> bytes:
    image, whole = one_component_first(saved(Image.new("RGB", (2048, 2048), (99, 128, 7)), quality=50))
    return image + (b"\xff\xda" + bytes((0, 8, 1, 1, 0, 0, 63, 0)) + whole[14:]) * 1000 + b"\xff\xd9"


@pytest.mark.parametrize(
    ("make", "refused"),
    [
        (lambda: GREY[:-2] + b"\xff" * 60_000 + b"\x00\xff\xd9", False),
        (lambda: GREY[:-2] + b"\xff\xfe\x00\x02" * 1_000_000 + b"\xff\xd9", True),
        (_hidden_in_restarts, True),
        (_behind_a_partial_scan, True),
        (lambda: repeated(saved(Image.new("L", (1, 65000), 128), progressive=True), 50_000), True),
    ],
    ids=["filling", "comments", "hidden", "behind a scan of one component", "narrow"],
)
def test_no_trick_makes_reading_take_long(make, refused):
    hostile = make()
    started = time.process_time()
    try:
        read(hostile)
        said = ""
    except ReadError as error:
        said = str(error)
    assert said.startswith("refused as a decompression bomb: more than ") == refused
    assert time.process_time() - started < 5


def test_a_later_frame_is_counted_in_its_own_part():
    buffer = io.BytesIO()
    Image.fromarray(NOISE).save(buffer, "MPO", save_all=True, append_images=[Image.fromarray(NOISE[::-1])])
    with Image.open(io.BytesIO(buffer.getvalue())) as image:
        image.seek(1)
        offset = image.tile[0].offset
    hostile = buffer.getvalue()[:offset] + repeated(GREY, 9000)
    with Image.open(io.BytesIO(hostile)) as image:
        image.seek(1)
        with pytest.raises(ReadError, match="more than 953 scans"):
            read(image)


def test_a_loaded_image_is_read_whatever_its_file_was():
    plain = saved(Image.fromarray(NOISE), progressive=True)
    with Image.open(io.BytesIO(plain)) as image:
        image.load()
        assert np.array_equal(read(image).pixels, read(plain).pixels)
