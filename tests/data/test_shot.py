"""A file's notes on its photograph reach its score; faulty or malicious notes do not."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import ExifTags, Image, TiffImagePlugin

from dcnn_fast.data import read
from dcnn_fast.data.shot import Shot, camera_of, taken_of

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
ORIGINAL, SUBSECONDS, OFFSET = 0x9003, 0x9291, 0x9011


def shot(base=None, taken=None, format="JPEG"):
    """The shot of a file with these tags, as read."""
    exif = Image.Exif()
    for tag, value in (base or {}).items():
        exif[tag] = value
    for tag, value in (taken or {}).items():
        exif.get_ifd(ExifTags.IFD.Exif)[tag] = value
    loaded = Image.Exif()
    loaded.load(exif.tobytes())  # the type in a file: the TIFF writer asks for it
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, format, exif=loaded)
    return read(buffer.getvalue()).shot


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_time_and_camera_are_read_from_every_format(format):
    found = shot({ExifTags.Base.Make: "Canon", ExifTags.Base.Model: "Canon EOS 5D"}, {ORIGINAL: "2024:05:01 12:34:56"}, format)
    assert found == Shot(30, 20, "2024-05-01T12:34:56", "Canon EOS 5D")


def test_a_fraction_and_an_offset_are_kept_where_they_are_right():
    time = {ORIGINAL: "2024:02:29 23:59:59"}
    assert shot(taken={**time, SUBSECONDS: "25", OFFSET: "+02:00"}).taken == "2024-02-29T23:59:59.25+02:00"
    assert shot(taken={**time, SUBSECONDS: "half", OFFSET: "summer"}).taken == "2024-02-29T23:59:59"
    assert shot(taken={**time, OFFSET: "+25:00"}).taken == "2024-02-29T23:59:59"


@pytest.mark.parametrize(
    "text",
    [
        "0000:00:00 00:00:00", "    :  :     :  :  ", "2023:02:29 10:00:00", "2024:13:01 10:00:00", "2024:01:01 25:00:00",
        "0001:01:01 00:00:00", "yesterday", "", "2024:01:01 10:00:00; DROP", "=2024:01:01 10:00:00", "٢٠٢٤:01:01 10:00:00",
    ],
)  # fmt: skip
def test_a_time_that_is_none_is_left_out(text):
    assert shot(taken={ORIGINAL: text.encode().decode("latin-1")}).taken is None


def test_the_time_of_a_change_or_a_scan_is_not_when_it_was_taken():
    assert shot({ExifTags.Base.DateTime: "2024:05:01 12:34:56"}, {0x9004: "2024:05:01 12:34:56"}).taken is None


@pytest.mark.parametrize(
    ("make", "model", "camera"),
    [
        ("NIKON CORPORATION", "NIKON D90", "NIKON D90"),
        ("Apple", "iPhone 15", "Apple iPhone 15"),
        ("SONY", "", "SONY"),
        ("", "X100V", "X100V"),
        ("", "", None),
        ("Can\x07on\nInc  ", "5D\t", "Can on Inc 5D"),
        ("A", "b" * 5000, "A " + "b" * 78),
    ],
)
def test_a_camera_is_one_clean_line(make, model, camera):
    assert shot({ExifTags.Base.Make: make, ExifTags.Base.Model: model}).camera == camera


def test_a_number_where_text_belongs_is_no_text():
    assert camera_of(7, TiffImagePlugin.IFDRational(1, 3)) is None
    assert taken_of({ORIGINAL: 20240501}) is None and taken_of({ORIGINAL: b"2024:05:01 12:34:56"}) is None


def test_broken_exif_costs_what_it_would_say_and_nothing_else():
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert read(buffer.getvalue()).shot == Shot(30, 20)
    entries = struct.pack("<HHI4s", 0x0110, 2, 2, b"X"), struct.pack("<HHII", 0x8769, 4, 1, 2**31)  # far beyond the end
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + b"".join(entries) + bytes(4)
    Image.fromarray(PIXELS).save(buffer := io.BytesIO(), "JPEG", exif=exif)
    assert read(buffer.getvalue()).shot == Shot(30, 20, None, "X")


def test_exif_of_an_absurd_size_is_not_looked_into():
    exif = Image.Exif()
    exif[ExifTags.Base.Model] = "X100V"
    for padding, camera in ((200_000, "X100V"), (300_000, None)):
        Image.fromarray(PIXELS).save(buffer := io.BytesIO(), "PNG", exif=exif.tobytes() + bytes(padding))
        assert read(buffer.getvalue()).shot == Shot(30, 20, None, camera)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_size_is_that_of_the_upright_picture(orientation):
    found = shot({ExifTags.Base.Orientation: orientation})
    assert (found.width, found.height) == ((20, 30) if orientation > 4 else (30, 20))


def test_an_array_has_a_size_and_says_nothing_else():
    assert read(PIXELS).shot == Shot(30, 20)
    assert read(np.dstack([PIXELS, PIXELS[:, :, :1]])).shot == Shot(30, 20)
