"""Embedded profiles: those equivalent to sRGB cost nothing; other profiles' colors are lcms's, pixel by pixel."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageCms

from bench import icc
from dcnn_fast import engine
from dcnn_fast.data import profiles, read

RNG = np.random.default_rng(5)
SMALL = RNG.integers(0, 256, (40, 30, 3)).astype(np.uint8)
LARGE = np.array(Image.fromarray(RNG.integers(0, 256, (20, 30, 3)).astype(np.uint8)).resize((1311, 911)))
OTHERS = {"Display P3": icc.DISPLAY_P3, "Adobe RGB": icc.ADOBE_RGB}


def png(pixels, profile):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1, icc_profile=profile)
    return buffer.getvalue()


def jpeg(pixels, profile, **more):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=95, icc_profile=profile, **more)
    return buffer.getvalue()


def through_lcms(pixels, profile):
    embedded = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    return np.asarray(ImageCms.profileToProfile(Image.fromarray(pixels), embedded, ImageCms.createProfile("sRGB")))


@pytest.mark.parametrize("name", ["sRGB", "c2"])
def test_a_profile_that_does_what_srgb_does_changes_no_pixel(name):
    """The primaries are rounded as in cameras' profiles, for which lcms would change some pixels by one level."""
    profile = icc.of_primaries(icc.SRGB, name)
    for encoded, plain in ((png, png), (jpeg, jpeg)):
        np.testing.assert_array_equal(read(encoded(SMALL, profile)).pixels, read(plain(SMALL, None)).pixels)


@pytest.mark.parametrize("name", OTHERS)
def test_a_profile_that_is_only_called_srgb_is_converted(name):
    photo = read(png(SMALL, icc.of_primaries(OTHERS[name], "sRGB")))
    assert np.abs(photo.pixels.astype(int) - SMALL).max() > 20


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("pixels", [SMALL, LARGE], ids=["small", "large"])
def test_colors_are_those_of_lcms(pixels, name):
    """Most colors of a large photograph are looked up; a second photograph finds more of them than the first."""
    profile = icc.of_primaries(OTHERS[name], "dcnn")
    for picture in (pixels, pixels[::-1].copy()):
        decoded = np.asarray(Image.open(io.BytesIO(jpeg(picture, None))))
        found = read(jpeg(picture, profile))
        np.testing.assert_array_equal(found.pixels, through_lcms(decoded, profile))
        np.testing.assert_array_equal(read(png(picture, profile)).pixels, through_lcms(picture, profile))
        assert found.notes == ()


def test_each_profile_has_colors_of_its_own():
    """Profiles in turn, more of them than are kept: forgotten tables are built again."""
    known = {name: icc.of_primaries(primaries, name[:4]) for name, primaries in OTHERS.items()}
    known["swapped"] = icc.of_primaries(icc.DISPLAY_P3[::-1], "rev")
    expected = {name: through_lcms(np.asarray(Image.open(io.BytesIO(jpeg(LARGE, None)))), each) for name, each in known.items()}
    for _ in range(2):
        for name, profile in known.items():
            np.testing.assert_array_equal(read(jpeg(LARGE, profile)).pixels, expected[name])


def test_threads_share_what_they_learn():
    profile = icc.of_primaries(icc.ADOBE_RGB, "thr")
    pictures = [jpeg(np.roll(LARGE, 97 * turn, axis=1), profile) for turn in range(4)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(read, pictures * 2))
    for picture, photo in zip(pictures * 2, found, strict=True):
        np.testing.assert_array_equal(photo.pixels, through_lcms(np.asarray(Image.open(io.BytesIO(picture))), profile))


def test_a_profile_of_another_kind_of_pixels_is_named():
    grey = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    photo = read(jpeg(SMALL, grey))
    assert photo.notes == ("an unusable ICC profile was ignored",)
    np.testing.assert_array_equal(photo.pixels, read(jpeg(SMALL, None)).pixels)


def test_the_engine_gives_the_colors_it_was_taught_and_names_the_others():
    native = engine.load()
    table = np.zeros(native.colors, np.uint32)
    every = np.stack(np.meshgrid(*[np.arange(0, 256, 5, dtype=np.uint8)] * 3), axis=-1).reshape(-1, 3)
    pixels, taught = every.copy(), every[:, ::-1] ^ 255
    np.testing.assert_array_equal(native.recolor(pixels, table), np.arange(len(every)))
    np.testing.assert_array_equal(pixels, every)
    half = np.arange(0, len(every), 2)
    native.learn_colors(pixels, half, np.ascontiguousarray(taught[half]), table)
    again = every.copy()
    np.testing.assert_array_equal(native.recolor(again, table), np.arange(1, len(every), 2))
    np.testing.assert_array_equal(again[half], taught[half])
    np.testing.assert_array_equal(again[1::2], every[1::2])
    np.testing.assert_array_equal(pixels, again)


@pytest.mark.parametrize(
    ("pixels", "places", "found", "table", "message"),
    [
        ((4, 4), (1,), (1, 3), 2**24, "pixels must be contiguous uint8 of 2 axes"),
        ((4, 3), (1,), (2, 3), 2**24, r"found must be \[1, 3\]"),
        ((4, 3), (1,), (1, 3), 2**24 - 1, r"table must be \[16777216\]"),
    ],
)
def test_the_engine_refuses_what_it_would_read_or_write_beside(pixels, places, found, table, message):
    arrays = np.zeros(pixels, np.uint8), np.zeros(places, np.int64), np.zeros(found, np.uint8), np.zeros(table, np.uint32)
    with pytest.raises(ValueError, match=message):
        engine.load().learn_colors(*arrays)


@pytest.mark.parametrize("place", [-1, 4])
def test_places_lie_among_the_pixels(place):
    with pytest.raises(ValueError, match="places must be among the pixels"):
        engine.load().learn_colors(
            np.zeros((4, 3), np.uint8), np.array([place]), np.zeros((1, 3), np.uint8), np.zeros(2**24, np.uint32)
        )


def test_pixels_that_are_only_to_be_read_are_not_changed():
    locked = np.zeros((4, 3), np.uint8)
    locked.flags.writeable = False
    with pytest.raises(ValueError, match="pixels must be writeable"):
        engine.load().recolor(locked, np.zeros(2**24, np.uint32))


def test_the_lattice_sees_what_all_colors_together_would():
    """For profiles at growing distances from sRGB, the greatest change over all colors decides."""
    numbers = (np.arange(i << 20, i + 1 << 20, dtype=np.uint32) for i in range(16))
    parts = [part.view(np.uint8).reshape(1024, 1024, 4)[..., :3].copy() for part in numbers]
    decided = []
    for shift in (0.0, 0.00003, 0.0001, 0.0005):
        primaries = tuple(tuple(value + shift * (-1) ** i for i, value in enumerate(xyz)) for xyz in icc.SRGB)
        profile = icc.of_primaries(primaries, "near")
        greatest = max(np.abs(through_lcms(part, profile).astype(np.int16) - part).max() for part in parts)
        decided.append(profiles.conversion("RGB", profile).changes_nothing)
        assert decided[-1] == (greatest <= profiles.NEAR), (shift, greatest)
    assert decided[0] and not decided[-1]
