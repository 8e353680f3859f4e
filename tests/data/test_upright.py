"""Turning photographs by EXIF's orientation, as Pillow does."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageOps

from dcnn_fast import engine
from dcnn_fast.data import upright

SIDES = (1, 2, 3, 4, 5, 7, 16, 31, 32, 33, 64, 65, 130)


def by_pillow(pixels, orientation):
    image = Image.fromarray(pixels)
    image.getexif()[0x0112] = orientation
    return np.asarray(ImageOps.exif_transpose(image))


def _poisoned(pixels):
    """The same pixels, ending exactly at the end of readable memory."""
    memory = np.full(pixels.size + 64, 255, np.uint8)
    inside = memory[64:].reshape(pixels.shape)
    inside[:] = pixels
    return inside


@pytest.mark.parametrize("isa", engine.isas())
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_engine_turns_as_pillow_does(isa, orientation):
    random = np.random.default_rng(orientation)
    for height in SIDES:
        for width in SIDES:
            pixels = _poisoned(random.integers(0, 256, (height, width, 3)).astype(np.uint8))
            found = engine.load().turned(isa, pixels, orientation)
            np.testing.assert_array_equal(found, by_pillow(pixels, orientation))


@pytest.mark.parametrize("orientation", range(2, 9))
def test_without_the_engine(orientation):
    pixels = np.random.default_rng(1).integers(0, 256, (37, 53, 3)).astype(np.uint8)
    found = upright.by_numpy(pixels, orientation)
    np.testing.assert_array_equal(found, by_pillow(pixels, orientation))
    np.testing.assert_array_equal(upright.turned(pixels, orientation), found)
    assert found.flags.c_contiguous


@pytest.mark.parametrize("orientation", [-1, 0, 1, 9, 10**9])
def test_what_says_nothing_leaves_the_photograph_as_it_is(orientation):
    pixels = np.zeros((3, 5, 3), np.uint8)
    assert upright.turned(pixels, orientation) is pixels


@pytest.mark.parametrize("orientation", [0, 9])
def test_the_engine_knows_no_other(orientation):
    with pytest.raises(ValueError, match="the orientation must be from 1 to 8"):
        engine.load().turned(engine.isa(), np.zeros((3, 5, 3), np.uint8), orientation)


@pytest.mark.parametrize(
    "pixels",
    [np.zeros((3, 5), np.uint8), np.zeros((3, 5, 4), np.uint8), np.zeros((3, 5, 3)), np.zeros((3, 10, 3), np.uint8)[:, ::2]],
)
def test_the_engine_refuses_what_is_no_photograph(pixels):
    with pytest.raises(ValueError, match="pixels must be contiguous uint8 of 3 axes, the last one 3"):
        engine.load().turned(engine.isa(), pixels, 3)
