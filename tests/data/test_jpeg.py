"""JPEG files are decoded without Pillow's detour to the same pixels; Pillow decides about files with faults."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from dcnn_fast.data import ReadError, jpeg, read

RNG = np.random.default_rng(3)
PICTURE = np.asarray(Image.fromarray(RNG.integers(0, 256, (13, 19, 3)).astype(np.uint8)).resize((193, 131)))
WAYS = {
    "4:4:4": {"subsampling": "4:4:4"}, "4:2:2": {"subsampling": "4:2:2"}, "4:2:0": {"subsampling": "4:2:0"},
    "poor": {"quality": 7}, "progressive": {"progressive": True}, "optimized": {"optimize": True},
    "restarts": {"restart_marker_blocks": 3}, "RGB inside": {"keep_rgb": True},
}  # fmt: skip


def saved(pixels, mode="RGB", **options):
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, "JPEG", **{"quality": 90, **options})
    return buffer.getvalue()


def by_pillow(data):
    """The file as read by way of Pillow's decoder: from an image that the caller opened."""
    with Image.open(io.BytesIO(data)) as image:
        return read(image)


def ended(reading, data):
    try:
        photo = reading(data)
    except ReadError as error:
        return str(error)
    return photo.pixels.tobytes(), photo.notes


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("shape", [(131, 193), (1, 1), (8, 8), (16, 17), (7, 100), (129, 3)])
def test_the_pixels_are_pillows(way, shape):
    data = saved(PICTURE[: shape[0], : shape[1]], **WAYS[way])
    with Image.open(io.BytesIO(data)) as image:
        decoded = jpeg.decoded(data, image)  # would be None if Pillow had to decode
        np.testing.assert_array_equal(decoded, np.asarray(image))
    np.testing.assert_array_equal(read(data).pixels, decoded)


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_other_pixels_are_left_to_pillow(mode):
    data = saved(PICTURE, mode)
    with Image.open(io.BytesIO(data)) as image:
        assert jpeg.decoded(data, image) is None
        np.testing.assert_array_equal(read(data).pixels, np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("progressive", [False, True])
def test_damaged_files_end_as_they_do_with_pillow(progressive):
    """Cut short anywhere, with a byte changed anywhere, with bytes appended: the same pixels, or the same message."""
    data = saved(PICTURE, progressive=progressive)
    places = sorted({*range(30), *RNG.integers(0, len(data), 150).tolist()})
    damaged = [data[:place] for place in places]
    damaged += [data[:place] + bytes([data[place] ^ int(RNG.integers(1, 256))]) + data[place + 1 :] for place in places]
    damaged += [data + b"more", data + data, b"\xff" + data]
    differing = []
    for number, each in enumerate(damaged):
        try:
            expected = ended(by_pillow, each)
        except Exception:  # not even opened
            continue
        if ended(read, each) != expected:
            differing.append(number)
    assert differing == []


@pytest.mark.parametrize(
    ("size", "scaled_to", "expected"),
    [
        ((6000, 4000), None, 1), ((6000, 4000), 6001, 1), ((6000, 4000), 3000, 2), ((6000, 4000), 3001, 1),
        ((4000, 6000), 1500, 4), ((6000, 4000), 750, 8), ((6000, 4000), 1, 8), ((6000, 3), 10, 2), ((6000, 1), 10, 1),
    ],
)  # fmt: skip
def test_the_smallest_size_that_is_large_enough(size, scaled_to, expected):
    assert jpeg.divisor(size, scaled_to) == expected


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("scaled_to", "divisor"), [(96, 2), (40, 4), (20, 8)])
def test_a_file_is_decoded_at_a_part_of_its_size(way, scaled_to, divisor):
    """As Pillow's decoder does it, which reads the files that are left to Pillow."""
    data = saved(PICTURE, **WAYS[way])
    photo = read(data, scaled_to=scaled_to)
    assert photo.pixels.shape == (-(-131 // divisor), -(-193 // divisor), 3)
    assert photo.notes == (f"decoded at 1/{divisor} of its 193 x 131 pixels",)
    with Image.open(io.BytesIO(data)) as image:
        image.draft(None, (193 // divisor, 131 // divisor))
        np.testing.assert_array_equal(photo.pixels, np.asarray(image))


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_pillow_decodes_at_a_part_of_the_size_too(mode):
    photo = read(saved(PICTURE, mode), scaled_to=40)
    assert photo.pixels.shape == (33, 49, 3) and photo.notes == ("decoded at 1/4 of its 193 x 131 pixels",)


def test_only_jpeg_files_are_and_only_where_they_are_larger():
    buffer = io.BytesIO()
    Image.fromarray(PICTURE).save(buffer, "PNG")
    for source in (buffer.getvalue(), PICTURE, Image.open(io.BytesIO(saved(PICTURE)))):
        photo = read(source, scaled_to=20)
        assert photo.pixels.shape == PICTURE.shape and photo.notes == ()
    assert read(saved(PICTURE), scaled_to=97).notes == ()


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, "8"])
def test_what_is_no_size_is_refused(wrong):
    with pytest.raises(ValueError, match="scaled_to must be None or an integer of at least 1"):
        read(saved(PICTURE), scaled_to=wrong)
