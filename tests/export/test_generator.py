"""The page's generator and the example's views, compared with the package's own."""

from __future__ import annotations

import hashlib
import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest

from dcnn_fast.data.reading import Photo
from dcnn_fast.data.reduction import reduced
from dcnn_fast.ops import views
from tests.export.networks import photograph

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def page():
    """The names defined by the page's lines of Python."""
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "onnx.md").read_text(), re.DOTALL)
    found = {}
    exec(code, found)
    return found


@pytest.fixture(scope="module")
def example():
    """The example as a module."""
    described = importlib.util.spec_from_file_location("onnx_score", ROOT / "examples" / "onnx_score.py")
    module = importlib.util.module_from_spec(described)
    described.loader.exec_module(module)
    return module


@pytest.mark.parametrize("grid", [1, 2, 4, 8])
@pytest.mark.parametrize("seed", [0, 7, 2**63 - 1])
@pytest.mark.parametrize(("view", "shape"), [("warp", (256, 256)), ("local", (256, 256)), ("local", (300, 4000))])
def test_the_page_s_lines_draw_the_same_windows(page, view, shape, seed, grid):
    digest, key = hashlib.sha256(b"picture").hexdigest(), f"{view}:1"
    drawn = views.draw_windows(digest, seed, key, 50, view=view, plane_shape=shape, grid=grid)
    found = [page["offset"](i, seed, digest, key, 256, 224, view, *shape, grid) for i in range(50)]
    np.testing.assert_array_equal(np.array(found), drawn)


@pytest.mark.parametrize(("view", "shape"), [("pad", (64, 64)), ("local", (64, 99))])
def test_the_example_draws_the_same_windows(example, view, shape):
    column = {"key": f"{view}:0", "view": view, "plane": 64, "window": 50}
    drawn = views.draw_windows("0" * 64, 3, f"{view}:0", 20, view=view, plane_shape=shape, plane=64, window=50)
    np.testing.assert_array_equal(example.offsets("0" * 64, column, shape, 20, 3), drawn)


@pytest.mark.parametrize(("height", "width"), [(20, 33), (40, 40), (41, 200), (200, 41), (401, 119), (1, 70), (64, 64)])
def test_the_example_makes_the_same_planes_to_the_byte(example, height, width):
    pixels = photograph(height, width)
    assert example.digest_of(pixels) == Photo.of(pixels).digest
    for view in ("warp", "center", "pad", "local"):
        np.testing.assert_array_equal(example.plane_of(pixels, view, 40), views.plane(pixels, view, 40).pixels, err_msg=view)
    for long_side in (39, 64):
        if max(height, width) > long_side:
            found = example.scaled(pixels, long_side, max(height, width))
            np.testing.assert_array_equal(found, reduced(pixels, long_side))
