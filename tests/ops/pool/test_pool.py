"""max_pool: values, both tie rules, overhanging windows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dcnn_fast.networks import Rounding
from dcnn_fast.ops import max_pool
from tests.ops import statements, tester
from tests.ops.tester import REFERENCE


@dataclass(frozen=True)
class Problem:
    size: int
    stride: int
    rounding: Rounding = "up"
    extent: tuple[int, int] = (7, 8)
    images: int = 2

    def result(self, x: torch.Tensor, **options) -> torch.Tensor:
        return max_pool(x, self.size, self.stride, rounding=self.rounding, **options)


def _stated(p, operands):
    return statements.of_images(statements.max_pool, *operands, p.size, p.stride, p.rounding == "up")


def _shape(p):
    return _stated(p, (torch.zeros(p.images, 3, *p.extent),))[0].shape


POOL = tester.Operation(
    operands=lambda p: (tester.drawn(0, p.images, 3, *p.extent, dtype=torch.float64),),
    results=lambda p: ([_shape(p)], torch.float64),
    compute=lambda way, p, operands, results, threads: results[0].copy_(p.result(*operands)),
    statement=_stated,
    allowed=lambda p, operands, expected: [0.0],
)
SIZES = [(3, 2), (2, 2), (3, 1), (3, 3), (5, 3), (1, 1)]


@pytest.mark.parametrize("rounding", ["up", "down"])
@pytest.mark.parametrize(("size", "stride"), SIZES)
@pytest.mark.parametrize("extent", [(7, 8), (5, 9), (6, 6)])
def test_values_are_those_of_the_loops(extent, size, stride, rounding):
    tester.values(POOL, REFERENCE, Problem(size, stride, rounding, extent))


@pytest.mark.parametrize("rounding", ["up", "down"])
def test_nan_reaches_its_windows_alone(rounding):
    tester.not_a_number(POOL, REFERENCE, Problem(3, 2, rounding), at=(1, 2, 4, 6), spoilt=[torch.nan, torch.inf])


def test_an_image_has_the_same_bits_alone_and_anywhere_in_memory():
    tester.bits(POOL, REFERENCE, Problem(3, 2, images=5))
    tester.memory(POOL, REFERENCE, Problem(3, 2))
    tester.layouts(Problem(3, 2).result, *POOL.operands(Problem(3, 2)))


@pytest.mark.parametrize("ties", ["all", "first"])
@pytest.mark.parametrize("rounding", ["up", "down"])
@pytest.mark.parametrize(("size", "stride"), SIZES)
def test_gradients_with_ties_are_those_of_the_loops(size, stride, rounding, ties):
    """Integers from 0 to 2 tie often; with ties="first" the gradients are torch's too."""
    problem = Problem(size, stride, rounding, (8, 7))
    x = tester.tied(1, 2, 3, 8, 7).requires_grad_()
    result = problem.result(x, ties=ties)
    grad = tester.drawn(2, *result.shape, dtype=torch.float64)
    (found,) = torch.autograd.grad(result, x, grad)
    images = zip(x.detach().numpy(), grad.numpy(), strict=True)
    stated = np.stack([statements.max_pool_gradient(image, its, size, stride, ties) for image, its in images])
    tester.assert_within(found, torch.from_numpy(stated), 1e-13)
    if ties == "first":
        torchs = F.max_pool2d(x, size, stride, ceil_mode=rounding == "up")
        tester.assert_within(found, torch.autograd.grad(torchs, x, grad)[0], 1e-13)


@pytest.mark.parametrize("ties", ["all", "first"])
def test_gradients_where_there_are_no_ties(ties):
    x = torch.randperm(2 * 7 * 6, generator=torch.Generator().manual_seed(5)).double().reshape(1, 2, 7, 6)
    tester.gradients(lambda v: max_pool(v, 3, 2, ties=ties), x)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"x": lambda x: x[0]}, "x must have shape"),
        ({"stride": 4}, "stride must not exceed size"),
        ({"rounding": "near"}, "rounding must be one of"),
        ({"ties": "last"}, "ties must be one of"),
        ({"size": 9}, "x must be at least size 9"),
    ],
)
def test_bad_arguments_are_refused_by_name(change, sentence):
    tester.refused(max_pool, {"x": torch.zeros(1, 1, 8, 8), "size": 3, "stride": 2}, change, ValueError, sentence)
