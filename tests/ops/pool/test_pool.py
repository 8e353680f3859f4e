"""max_pool: values, both tie rules, overhanging windows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dcnn_fast.ops import max_pool
from tests.ops import statements


@pytest.mark.parametrize("rounding", ["up", "down"])
@pytest.mark.parametrize(("size", "stride"), [(3, 2), (2, 2), (3, 1), (3, 3), (5, 3), (1, 1)])
@pytest.mark.parametrize("shape", [(7, 8), (5, 9), (6, 6)])
def test_values_are_those_of_the_loops(shape, size, stride, rounding):
    x = np.random.default_rng(0).normal(size=(3, *shape))
    result = max_pool(torch.from_numpy(x)[None], size, stride, rounding=rounding)
    np.testing.assert_array_equal(result[0].numpy(), statements.max_pool(x, size, stride, rounding == "up"))


@pytest.mark.parametrize("rounding", ["up", "down"])
@pytest.mark.parametrize(("size", "stride"), [(3, 2), (2, 2), (3, 1)])
def test_first_is_torchs_gradient_even_with_ties(size, stride, rounding):
    x = torch.randint(0, 3, (2, 3, 8, 7), generator=torch.Generator().manual_seed(1)).double().requires_grad_()
    twin = x.detach().clone().requires_grad_()
    ours = max_pool(x, size, stride, rounding=rounding, ties="first")
    torchs = F.max_pool2d(twin, size, stride, ceil_mode=rounding == "up")
    grad = torch.randn(ours.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    ours.backward(grad)
    torchs.backward(grad)
    torch.testing.assert_close(x.grad, twin.grad, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("rounding", ["up", "down"])
def test_all_gives_every_equal_maximum_its_windows_gradient(rounding):
    x = np.random.default_rng(3).integers(0, 3, size=(2, 8, 7)).astype(float)
    tensor = torch.from_numpy(x)[None].requires_grad_()
    result = max_pool(tensor, 3, 2, rounding=rounding, ties="all")
    grad = np.random.default_rng(4).normal(size=result.shape[1:])
    result.backward(torch.from_numpy(grad)[None])
    expected = np.zeros_like(x)
    for c, i, j in np.ndindex(grad.shape):
        window = (c, slice(2 * i, 2 * i + 3), slice(2 * j, 2 * j + 3))
        expected[window] += grad[c, i, j] * (x[window] == x[window].max())
    np.testing.assert_allclose(tensor.grad[0].numpy(), expected, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("ties", ["all", "first"])
def test_gradcheck_where_there_are_no_ties(ties):
    x = torch.randperm(2 * 7 * 6, generator=torch.Generator().manual_seed(5)).double().reshape(1, 2, 7, 6).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: max_pool(v, 3, 2, ties=ties), (x,))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: max_pool(x[0], 3, 2), "x must have shape"),
        (lambda x: max_pool(x, 3, 4), "stride must not exceed size"),
        (lambda x: max_pool(x, 3, 2, rounding="near"), "rounding must be one of"),
        (lambda x: max_pool(x, 3, 2, ties="last"), "ties must be one of"),
        (lambda x: max_pool(x, 9, 2), "x must be at least size 9"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.zeros(1, 1, 8, 8))
