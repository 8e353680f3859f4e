"""response_norm: values against loops and torch, gradients against finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dcnn_fast.ops import CrossMapNorm, SameMapNorm, response_norm
from tests.ops import statements

NORMS = [CrossMapNorm(size, 0.5, 0.75, k) for size, k in ((1, 1.0), (2, 1.0), (3, 2.0), (4, 1.0), (5, 1.0), (8, 1.0), (9, 1.0))]
NORMS += [SameMapNorm(size, 0.5, power) for size, power in ((1, 0.75), (2, 0.75), (3, 0.5), (4, 0.75), (9, 1.3))]


@pytest.mark.parametrize("norm", NORMS, ids=str)
@pytest.mark.parametrize("shape", [(6, 5, 7), (1, 1, 1), (3, 8, 2)])
def test_values_are_those_of_the_loops(shape, norm):
    x = np.random.default_rng(0).normal(size=shape) * 3
    result = response_norm(torch.from_numpy(x)[None], norm)
    np.testing.assert_allclose(result[0].numpy(), statements.norm(x, norm), rtol=1e-13)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8, 9])
def test_across_maps_it_is_torchs_local_response_norm(size):
    x = torch.randn(2, 7, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected = F.local_response_norm(x, size, alpha=0.3, beta=0.6, k=1.5)
    torch.testing.assert_close(response_norm(x, CrossMapNorm(size, 0.3, 0.6, 1.5)), expected, rtol=1e-13, atol=0)


@pytest.mark.parametrize("norm", NORMS, ids=str)
def test_gradcheck(norm):
    x = torch.randn(2, 5, 4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(2)).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: response_norm(v, norm), (x,))


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="x must have shape"):
        response_norm(torch.zeros(3, 4, 5), CrossMapNorm())
    with pytest.raises(ValueError, match="norm must be CrossMapNorm or SameMapNorm"):
        response_norm(torch.zeros(1, 3, 4, 5), 5)  # type: ignore[arg-type]
