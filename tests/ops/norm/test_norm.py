"""response_norm: the values of loops and of torch, the gradients of finite differences."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F

from dcnn_fast.networks import Norm
from dcnn_fast.ops import CrossMapNorm, SameMapNorm, response_norm
from tests.ops import statements, tester
from tests.ops.tester import REFERENCE

NORMS = [CrossMapNorm(size, 0.5, 0.75, k) for size, k in ((1, 1.0), (2, 1.0), (3, 2.0), (4, 1.0), (5, 1.0), (8, 1.0), (9, 1.0))]
NORMS += [SameMapNorm(size, 0.5, power) for size, power in ((1, 0.75), (2, 0.75), (3, 0.5), (4, 0.75), (9, 1.3))]


@dataclass(frozen=True)
class Problem:
    norm: Norm
    shape: tuple[int, int, int]
    images: int = 2


NORM = tester.Operation(
    operands=lambda p: (3 * tester.drawn(0, p.images, *p.shape, dtype=torch.float64),),
    results=lambda p: ([(p.images, *p.shape)], torch.float64),
    compute=lambda way, p, operands, results, threads: results[0].copy_(response_norm(*operands, p.norm)),
    statement=lambda p, operands: statements.of_images(statements.norm, *operands, p.norm),
    allowed=lambda p, operands, expected: [1e-13 * each.abs() for each in expected],
)


@pytest.mark.parametrize("norm", NORMS, ids=str)
@pytest.mark.parametrize("shape", [(6, 5, 7), (1, 1, 1), (3, 8, 2)])
def test_values_are_those_of_the_loops(shape, norm):
    tester.values(NORM, REFERENCE, Problem(norm, shape))


@pytest.mark.parametrize("norm", NORMS, ids=str)
def test_nan_reaches_its_window_alone(norm):
    tester.not_a_number(NORM, REFERENCE, Problem(norm, (6, 5, 7)), at=(1, 3, 2, 4), spoilt=[torch.nan])


@pytest.mark.parametrize("norm", [NORMS[3], NORMS[-2]], ids=str)
def test_it_reads_its_input_alone_wherever_that_lies(norm):
    tester.memory(NORM, REFERENCE, Problem(norm, (6, 5, 7)))
    tester.layouts(lambda x: response_norm(x, norm), *NORM.operands(Problem(norm, (6, 5, 7))), tolerance=1e-15)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8, 9])
def test_across_maps_it_is_torchs_local_response_norm(size):
    x = tester.drawn(1, 2, 7, 4, 3, dtype=torch.float64)
    expected = F.local_response_norm(x, size, alpha=0.3, beta=0.6, k=1.5)
    tester.assert_within(response_norm(x, CrossMapNorm(size, 0.3, 0.6, 1.5)), expected, 1e-13 * expected.abs())


@pytest.mark.parametrize("norm", NORMS, ids=str)
def test_gradients(norm):
    tester.gradients(lambda x: response_norm(x, norm), tester.drawn(2, 2, 5, 4, 6, dtype=torch.float64))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"x": torch.zeros(3, 4, 5)}, "x must have shape"),
        ({"norm": 5}, "norm must be CrossMapNorm or SameMapNorm"),
    ],
)
def test_bad_arguments_are_refused_by_name(change, sentence):
    tester.refused(response_norm, {"x": torch.zeros(1, 3, 4, 5), "norm": CrossMapNorm()}, change, ValueError, sentence)
