"""Without the engine, views and the offsets of windows are the same to the byte."""

from __future__ import annotations

import subprocess
import sys

import pytest

VIEWS = """
import hashlib
import numpy as np
from dcnn_fast import engine
from dcnn_fast.ops.views import draw_windows, filters, plane
from dcnn_fast.networks import VIEWS
state = hashlib.sha256()
random = np.random.default_rng(3)
for shape in [(300, 400), (700, 300), (90, 300), (256, 256), (1, 7), (400, 256), (257, 900)]:
    pixels = random.integers(0, 256, (*shape, 3)).astype(np.uint8)
    for view in VIEWS:
        state.update(plane(pixels, view).pixels.tobytes())
for view, shape in (("warp", (256, 256)), ("local", (700, 300))):
    state.update(draw_windows("ab" * 32, 5, view, 50, view=view, plane_shape=shape).tobytes())
for sides in ((300, 256), (20, 256), (5000, 64)):
    filter_, _ = filters.bilinear(*sides, range(sides[1]))
    state.update(filter_.entries.tobytes() + filter_.quads.tobytes())
print(engine.reason() is None, state.hexdigest())
"""
WITHOUT_ENGINE = """
import sys
sys.modules["dcnn_fast._engine"] = None
"""


def _python(program):
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.needs_engine
def test_views_and_windows_are_the_same():
    there, built = _python(VIEWS)
    without, unbuilt = _python(WITHOUT_ENGINE + VIEWS)
    assert (there, without) == ("True", "False")
    assert built == unbuilt
