"""The engine's resampling: Pillow's bytes at any size and cut, and nothing read outside the photograph."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from dcnn_fast import engine
from dcnn_fast.data import reading
from dcnn_fast.networks import VIEWS
from dcnn_fast.ops import views
from dcnn_fast.ops.views import ViewParams
from tests import warm
from tests.ops.views import pillow
from tests.ops.views.photos import photo

pytestmark = pytest.mark.needs_engine
ISAS = engine.isas()
SIDES = (1, 2, 3, 4, 5, 7, 8, 16, 31, 63, 64, 65, 130, 225)


def _whole(isa, pixels, height, width):
    return engine.load().cut_picture(isa, pixels, (height, width), (0, 0), (height, width))


@pytest.mark.parametrize("isa", ISAS)
def test_any_size_to_any_other(isa):
    random = np.random.default_rng(7)
    for case in range(400):
        height, width, to_height, to_width = (int(random.choice(SIDES)) for _ in range(4))
        if case % 5 == 0:  # one side keeps its size and has no pass
            to_height, to_width = (height, to_width) if case % 2 else (to_height, width)
        pixels = photo(height, width, case)
        found = _whole(isa, pixels, to_height, to_width)
        right = pillow.resized(pixels, to_height, to_width)
        np.testing.assert_array_equal(found, right, f"{height} x {width} to {to_height} x {to_width}")


SLIVERS = [(1, 30_000, 256, 256), (30_000, 1, 256, 256), (3, 9001, 64, 65), (9001, 3, 65, 64), (2, 3, 700, 1), (1, 1, 300, 500)]


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("sizes", SLIVERS, ids=str)
def test_slivers(isa, sizes):
    height, width, to_height, to_width = sizes
    pixels = photo(height, width)
    np.testing.assert_array_equal(_whole(isa, pixels, to_height, to_width), pillow.resized(pixels, to_height, to_width))


@pytest.mark.parametrize("isa", ISAS)
def test_the_order_of_the_passes_turns_where_pillows_does(isa):
    """The height loses more than twice as much as the width, and a pixel less; the width grows."""
    loses = [(101, 80, 60, 60), (100, 80, 60, 60), (99, 80, 60, 60)]
    grows = [(61, 40, 60, 80), (60, 40, 61, 80)]
    for height, width, to_height, to_width in loses + grows:
        pixels = photo(height, width)
        np.testing.assert_array_equal(_whole(isa, pixels, to_height, to_width), pillow.resized(pixels, to_height, to_width))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("level", [0, 1, 127, 254, 255])
def test_a_flat_picture_stays_flat(isa, level):
    for height, width in [(479, 641), (33, 1000), (2000, 31), (3, 5)]:
        found = _whole(isa, np.full((height, width, 3), level, np.uint8), 256, 256)
        assert (found == pillow.resized(np.full((height, width, 3), level, np.uint8), 256, 256)).all()


@pytest.mark.parametrize("isa", ISAS)
def test_cuts_anywhere_are_parts_of_the_whole_black_outside(isa):
    random = np.random.default_rng(11)
    for case in range(300):
        height, width, to_height, to_width = (int(random.choice(SIDES)) for _ in range(4))
        corner = int(random.integers(-20, to_height + 20)), int(random.integers(-20, to_width + 20))
        extent = int(random.integers(1, 90)), int(random.integers(1, 90))
        pixels = photo(height, width, case)
        found = engine.load().cut_picture(isa, pixels, (to_height, to_width), corner, extent)
        right = pillow.cut(pillow.resized(pixels, to_height, to_width), corner, extent)
        np.testing.assert_array_equal(found, right, f"{pixels.shape} to {to_height} x {to_width}, {extent} at {corner}")


def test_arrays_of_any_strides_give_the_same_planes():
    buffer = photo(200, 400)
    turned = buffer[::-1], buffer[:, ::-1], buffer[..., ::-1], buffer.transpose(1, 0, 2), np.asfortranarray(buffer)
    parts = buffer[10:150, 13:300], buffer[:, ::2], buffer[:, :1], buffer[5:6], np.broadcast_to(buffer[:1], (50, 400, 3))
    for pixels in (*turned, *parts):
        for view in VIEWS:
            right = views.plane(pixels.copy(), view, 128).pixels
            np.testing.assert_array_equal(views.plane(pixels, view, 128).pixels, right)


@pytest.mark.parametrize("view", VIEWS)
def test_real_photographs_have_pillows_planes(data_dir, view):
    files = [*sorted((data_dir / "photos").glob("*.jpg"))[:20], *sorted((data_dir / "photos_large").glob("*.jpg"))[:2]]
    assert files
    for path in files:
        pixels = reading.read(path).pixels
        params = ViewParams(*pixels.shape[:2], view)
        right = pillow.cut(pillow.resized(pixels, *params.resized), params.origin, params.shape)
        np.testing.assert_array_equal(views.plane(pixels, view).pixels, right, path.name)


def test_threads_may_cut_at_once():
    photos = [photo(301 + i, 403) for i in range(12)]
    alone = [views.plane(each, "warp").pixels for each in photos]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda each: views.plane(each, "warp").pixels, photos))
    for found, right in zip(together, alone, strict=True):
        np.testing.assert_array_equal(found, right)


BETWEEN_PAGES = """
import numpy as np
import torch
from dcnn_fast import engine
from tests.ops.end_of_memory import at_the_end, at_the_start

random = np.random.default_rng(0)
cut = engine.load().cut_picture
for isa in engine.isas():
    for height, width, to_height, to_width in [
        (100, 120, 30, 30), (30, 41, 60, 90), (200, 30, 16, 16), (1, 1, 5, 5), (1, 3, 9, 9), (3, 700, 3, 256), (300, 2, 64, 2),
        (2, 11, 40, 11), (7, 5, 7, 4), (4, 4, 3, 2), (500, 41, 64, 40),
    ]:
        pixels = random.integers(0, 256, (height, width, 3)).astype(np.uint8)
        right = cut(isa, pixels, (to_height, to_width), (0, 0), (to_height, to_width))
        for placed in (at_the_start, at_the_end):
            here = placed(torch.from_numpy(pixels)).numpy()
            assert (cut(isa, here, (to_height, to_width), (0, 0), (to_height, to_width)) == right).all()
print("untouched", flush=True)
"""


def test_nothing_beside_the_photograph_is_read():
    done = warm.run(BETWEEN_PAGES)
    assert (done.returncode, done.stdout) == (0, "untouched\n"), done.stderr


GOOD = np.zeros((4, 5, 3), np.uint8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pixels": GOOD.astype(np.int8)}, "pixels must be uint8"),
        ({"pixels": GOOD.astype(np.float32)}, "pixels must be uint8"),
        ({"pixels": GOOD.astype(bool)}, "pixels must be uint8"),
        ({"pixels": GOOD[..., 0]}, "pixels must be uint8"),
        ({"pixels": np.zeros((4, 5, 4), np.uint8)}, "pixels must be uint8"),
        ({"pixels": np.zeros((4, 5, 3, 1), np.uint8)}, "pixels must be uint8"),
        ({"pixels": GOOD[:0]}, "must not be empty"),
        ({"pixels": GOOD[:, :0]}, "must not be empty"),
        ({"pixels": GOOD[:, ::-1]}, "must be contiguous"),
        ({"pixels": GOOD[:, :4]}, "must be contiguous"),
        ({"pixels": np.asfortranarray(GOOD)}, "must be contiguous"),
        ({"pixels": np.broadcast_to(GOOD[:1], (2**40, 5, 3))}, "must be contiguous"),
        ({"resized": (0, 4)}, "a resized side must be from 1"),
        ({"resized": (4, -1)}, "a resized side must be from 1"),
        ({"resized": (2**31, 4)}, "a resized side must be from 1"),
        ({"resized": (4, 2**31 - 1), "extent": (1, 2**27)}, "too many weights"),
        ({"corner": (-(2**63), 0)}, "must lie at less than"),
        ({"corner": (0, 2**31)}, "must lie at less than"),
        ({"extent": (0, 4)}, "must have a row and a column"),
        ({"extent": (4, -4)}, "must have a row and a column"),
        ({"extent": (2**62, 2**62)}, "must have a row and a column, and fit memory"),
        ({"extent": (2**31, 1)}, "must have a row and a column, and fit memory"),
        ({"isa": "mmx"}, "instruction set must be one of"),
    ],
)
def test_what_cannot_be_cut_is_refused(change, message):
    arguments = {"isa": ISAS[0], "pixels": GOOD, "resized": (4, 4), "corner": (0, 0), "extent": (4, 4), **change}
    with pytest.raises(ValueError, match=message):
        engine.load().cut_picture(*arguments.values())


NO_SIZES = [{"resized": (4,)}, {"resized": (2**64, 4)}, {"corner": (0.5, 0)}, {"extent": None}]


@pytest.mark.parametrize("change", [{"pixels": None}, {"pixels": [[[0, 0, 0]]]}, *NO_SIZES])
def test_what_is_no_array_or_size_is_refused(change):
    arguments = {"isa": ISAS[0], "pixels": GOOD, "resized": (4, 4), "corner": (0, 0), "extent": (4, 4), **change}
    with pytest.raises((TypeError, ValueError)):
        engine.load().cut_picture(*arguments.values())
