"""Planes: geometry, agreement with Pillow's own cuts, and photographs that are too narrow or too large."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from dcnn_fast.ops import views
from dcnn_fast.ops.views import ViewParams, cpu
from dcnn_fast.ops.views.backend import Cutting
from dcnn_fast.ops.views.cuts import Cut
from tests.ops.views.photos import photo


@pytest.mark.parametrize("shape", [(300, 200), (200, 301), (256, 256), (90, 120)], ids=str)
def test_equal_to_pillow_where_pillow_does_the_same(shape):
    pixels = photo(*shape)
    image = Image.fromarray(pixels)
    height, width = shape
    bilinear = Image.Resampling.BILINEAR
    np.testing.assert_array_equal(views.plane(pixels, "warp").pixels, np.asarray(image.resize((256, 256), bilinear)))
    short, long = min(shape), max(shape)
    size = tuple(256 if side == short else int(side * 256 / short + 0.5) for side in (width, height))
    resized = image.resize(size, bilinear)
    left, top = (size[0] - 256) // 2, (size[1] - 256) // 2
    np.testing.assert_array_equal(views.plane(pixels, "center").pixels, np.asarray(resized)[top : top + 256, left : left + 256])
    size = tuple(max(1, int(side * 256 / long + 0.5)) for side in (width, height))
    canvas = Image.new("RGB", (256, 256))
    canvas.paste(image.resize(size, bilinear), ((256 - size[0]) // 2, (256 - size[1]) // 2))
    np.testing.assert_array_equal(views.plane(pixels, "pad").pixels, np.asarray(canvas))


def test_local_is_the_image_itself_or_its_enlargement_with_a_note():
    pixels = photo(300, 400)
    plane = views.plane(pixels, "local")
    assert plane.pixels is pixels
    assert plane.notes == ()
    small = views.plane(photo(100, 150), "local")
    assert small.pixels.shape == (256, 384, 3)
    assert small.notes == ("local views: enlarged from 150 x 100 to 384 x 256 pixels",)


def test_enlarging_keeps_a_flat_colour_and_the_mean():
    flat = np.full((1, 3, 3), 77, np.uint8)
    for view in ("warp", "center", "local"):
        assert (views.plane(flat, view, 64).pixels == 77).all()
    pixels = photo(640, 480)
    assert abs(views.plane(pixels, "warp").pixels.mean() - pixels.mean()) < 0.5


def test_pad_centres_the_image_on_black_with_the_odd_pixel_below_and_right():
    plane = views.plane(np.full((10, 64, 3), 200, np.uint8), "pad", 65).pixels
    rows = np.flatnonzero(plane.any(axis=(1, 2)))
    assert (rows[0], rows[-1]) == (27, 36)  # 10 * 65 / 64 rounds to 10 rows: 27 above, 28 below
    assert plane[rows[0] : rows[-1] + 1].all()


def test_slivers_whose_enlargement_would_not_fit_are_refused():
    with pytest.raises(ValueError, match="pixels must not be so narrow"):
        views.plane(np.zeros((1, 10_000, 3), np.uint8), "local")
    assert views.plane(np.zeros((1, 10_000, 3), np.uint8), "pad").pixels.shape == (256, 256, 3)


@pytest.mark.parametrize("view", ["local", "center"])
def test_a_sliver_takes_no_more_than_a_strip_of_one_to_512(view):
    """Arrays and tensors; whole planes and their windows. A photograph that is hardly enlarged may be very large."""
    for width, refused in ((512, False), (515, True), (4096, True)):
        pixels = np.zeros((1, width, 3), np.uint8)
        calls = (
            lambda pixels=pixels: views.plane(pixels, view).pixels.shape[0],
            lambda pixels=pixels: views.planes([torch.from_numpy(pixels)], view)[0].shape[1],
            lambda pixels=pixels: views.windows([torch.from_numpy(pixels)], view, [(0, 0, 32, False)]).shape[2] + 32,
        )
        for call in calls:
            if refused:
                with pytest.raises(
                    ValueError, match=f"must not be so narrow that the {view} view needs more than 33554432 pixels"
                ):
                    call()
            else:
                assert call() == 256
    panorama = np.zeros((250, 140_000, 3), np.uint8)
    assert views.planned(panorama, "local")[0].resized == (256, 143_360)


def test_what_stands_for_more_than_memory_holds_is_refused_before_it_is_copied():
    """Four gigapixels that repeat one byte, or one row; the same array at a small size is accepted."""
    large, rows = (2**16, 2**16, 3), (2**26, 64, 3)
    byte, row = np.zeros((1, 1, 1), np.uint8), np.zeros((1, 64, 3), np.uint8)
    for small, shape in ((byte, large), (row, rows)):
        pixels = np.broadcast_to(small, shape)
        tensor = torch.from_numpy(small).expand(shape)
        calls = (
            lambda pixels=pixels: views.plane(pixels, "warp"),
            lambda tensor=tensor: views.planes([tensor], "warp"),
            lambda tensor=tensor: views.windows([tensor], "warp", [(0, 0, 0, False)]),
        )
        for call in calls:
            with pytest.raises(ValueError, match=r"must be contiguous in memory where they have more than 1073741824 bytes"):
                call()
    assert views.plane(np.broadcast_to(byte, (300, 300, 3)), "warp").pixels.shape == (256, 256, 3)


def test_one_photograph_may_be_cut_from_several_views_at_once():
    pixels = torch.from_numpy(photo(70, 51))
    params = [ViewParams(70, 51, view, 64) for view in ("warp", "pad", "center")]
    cuts = [Cut(0, one, 3, 5, 40, 48) for one in params]
    together = [torch.empty(40, 48, 4, dtype=torch.uint8) for _ in cuts]
    cpu.BACKEND.run(Cutting([pixels], cuts, together))
    for cut, found in zip(cuts, together, strict=True):
        expected = views.plane(pixels.numpy(), cut.params.view, 64).pixels[3:43, 5:53]
        assert np.array_equal(found[..., :3].numpy(), expected), cut.params.view
