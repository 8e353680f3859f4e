"""ops.views: Pillow's bytes, within a level of the formula, only photographs are read, bits independent of others."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dcnn_fast import engine
from dcnn_fast.networks import VIEWS
from dcnn_fast.ops import views
from dcnn_fast.ops.views import cpu
from tests.ops import tester
from tests.ops.tester import Way
from tests.ops.views.photos import photo
from tests.ops.views.tested import BY_THE_FORMULA, VIEWS_OF_PHOTOGRAPHS, Photographs

SHAPES = [(300, 199), (199, 300), (64, 64), (40, 30), (130, 64), (64, 65), (200, 64), (1, 3), (9, 400), (479, 641)]
PROBLEMS = [Photographs(*shape, view, images=1) for view in VIEWS for shape in SHAPES]
FORMULA = [(1, 1), (1, 300), (300, 1), (7, 5), (64, 64), (65, 63), (225, 63), (40, 300), (300, 199), (641, 480), (100, 1000)]
WAYS = [Way("cpu", isa) for isa in engine.isas()] or [Way("cpu")]
EACH_WAY = pytest.mark.parametrize("way", WAYS, ids=str)


@EACH_WAY
@pytest.mark.parametrize("problem", PROBLEMS, ids=str)
def test_values_are_pillows_bytes(problem, way):
    tester.values(VIEWS_OF_PHOTOGRAPHS, way, problem)


@pytest.mark.parametrize("problem", [Photographs(*shape, view, images=1) for view in VIEWS for shape in FORMULA], ids=str)
def test_values_are_within_a_level_of_the_formula(problem):
    tester.values(BY_THE_FORMULA, Way("cpu"), problem)


@pytest.mark.parametrize("problem", PROBLEMS, ids=str)
def test_the_public_function_and_pillow_without_the_engine_give_the_same_bytes(problem):
    (photographs,) = VIEWS_OF_PHOTOGRAPHS.operands(problem)
    (expected,) = VIEWS_OF_PHOTOGRAPHS.run(Way("cpu"), problem, (photographs,))
    for pixels, right in zip(photographs.numpy(), expected[:, 0, ..., :3].numpy(), strict=True):
        found = views.plane(pixels, problem.view, problem.plane).pixels
        assert (found.dtype, found.shape) == (np.uint8, (*problem.params.shape, 3))
        np.testing.assert_array_equal(found, right)
        np.testing.assert_array_equal(cpu.by_pillow(pixels, problem.params), right)


@EACH_WAY
@pytest.mark.parametrize("problem", PROBLEMS[::5], ids=str)
def test_nothing_beside_the_photographs_is_read(problem, way):
    tester.memory(VIEWS_OF_PHOTOGRAPHS, way, problem, offset=37)


@EACH_WAY
@pytest.mark.parametrize("problem", [Photographs(90, 71, view, images=3) for view in VIEWS], ids=str)
def test_a_photograph_has_the_same_bytes_alone_in_any_order_and_on_any_number_of_threads(problem, way):
    tester.bits(VIEWS_OF_PHOTOGRAPHS, way, problem)


@pytest.mark.parametrize("view", VIEWS)
def test_photographs_may_lie_in_memory_as_they_like(view):
    image = torch.from_numpy(np.stack([photo(90, 71)]))
    tester.layouts(lambda pixels: torch.from_numpy(views.plane(pixels[0].numpy(), view, 64).pixels).int(), image)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"pixels": np.zeros((4, 4, 3))}, "pixels must be uint8"),
        ({"pixels": np.zeros((4, 4), np.uint8)}, "pixels must be uint8"),
        ({"view": "side"}, "view must be one of center, warp, pad, local"),
        ({"size": 0}, "plane must be an integer of at least 1, got 0"),
        ({"pixels": np.zeros((0, 4, 3), np.uint8)}, "height must be an integer of at least 1, got 0"),
    ],
)
def test_bad_arguments_are_refused_by_name(change, sentence):
    given = {"pixels": np.zeros((4, 4, 3), np.uint8), "view": "warp", "size": 64}
    tester.refused(views.plane, given, change, ValueError, sentence)
