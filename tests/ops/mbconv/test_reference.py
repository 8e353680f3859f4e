"""ops.mbconv's reference against torch's convolutions in float64, and against sums written out by hand."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch.nn import functional as F

from dcnn_fast.ops.mbconv import MbConvParams, MbConvWeights, reference, same_padding
from tests.ops.mbconv.problems import PROBLEMS, weights_of


def _by_torch(params, x, weights):
    """The result in float64, by torch's convolutions."""
    maps = x.double()
    if weights.expand is not None:
        weight, bias = weights.expand
        maps = F.relu6(F.conv2d(maps, weight.double()[:, :, None, None], bias.double()))
    above, below, left, right = params.padding
    weight, bias = weights.depthwise
    maps = F.pad(maps, (left, right, above, below))
    maps = F.relu6(F.conv2d(maps, weight.double()[:, None], bias.double(), stride=params.stride, groups=params.expanded))
    weight, bias = weights.project
    maps = F.conv2d(maps, weight.double()[:, :, None, None], bias.double())
    return maps + x.double() if params.residual else maps


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("params", PROBLEMS, ids=str)
def test_values_are_those_of_torchs_convolutions(params, dtype):
    x = torch.randn(params.images, params.channels, params.height, params.width, generator=torch.Generator().manual_seed(1)).to(
        dtype
    )
    weights = weights_of(params, dtype)
    found, expected = reference.forward(params, x, weights), _by_torch(params, x, weights)
    assert found.shape == expected.shape == (params.images, params.filters, params.out_height, params.out_width)
    assert found.dtype == dtype and found.is_contiguous(memory_format=torch.channels_last)
    tolerance = 1e-12 if dtype == torch.float64 else params.tolerance()
    assert (found - expected).abs().max() <= tolerance * max(1.0, float(expected.abs().max()))


def test_an_images_bits_are_the_same_alone_and_in_a_batch():
    params = PROBLEMS[2]
    x = torch.randn(2, 5, 11, 6, generator=torch.Generator().manual_seed(1))
    weights = weights_of(params, torch.float32)
    together = reference.forward(params, x, weights)
    for image, expected in zip(x, together, strict=True):
        assert torch.equal(reference.forward(params, image[None], weights)[0], expected)


def test_padding_is_zeros_of_the_expanded_maps():
    """The expansion is 5 everywhere: in the corner a filter of ones sees four of nine, elsewhere nine; ReLU6 clips at 6."""
    params = MbConvParams(1, 1, 4, 4, 1, 1, 3)
    expand, project = (torch.zeros(1, 1), torch.full((1,), 5.0)), (torch.ones(1, 1), torch.zeros(1))
    found = reference.forward(
        params, torch.zeros(1, 1, 4, 4), MbConvWeights(expand, (torch.full((1, 3, 3), 0.1), torch.zeros(1)), project)
    )
    assert torch.allclose(found[0, 0, 0, :2], torch.tensor([2.0, 3.0])) and torch.allclose(found[0, 0, 1, 1], torch.tensor(4.5))
    many = reference.forward(
        params, torch.zeros(1, 1, 4, 4), MbConvWeights(expand, (torch.ones(1, 3, 3), torch.zeros(1)), project)
    )
    assert (many == 6).all()


@pytest.mark.parametrize(
    ("extent", "size", "stride", "expected"),
    [(224, 3, 2, (0, 1)), (112, 3, 1, (1, 1)), (112, 3, 2, (0, 1)), (56, 5, 2, (1, 2)), (14, 5, 1, (2, 2)), (7, 5, 2, (2, 2)),
     (15, 3, 2, (1, 1)), (1, 5, 1, (2, 2)), (2, 1, 2, (0, 0))],
)  # fmt: skip
def test_same_padding_is_tensorflows(extent, size, stride, expected):
    assert same_padding(extent, size, stride) == expected


def test_windows_fit_the_padded_axis_and_no_less_would_do():
    for extent, size, stride in itertools.product(range(1, 30), (1, 3, 5), (1, 2)):
        before, after = same_padding(extent, size, stride)
        outputs = -(-extent // stride)
        assert before <= after <= before + 1
        assert extent + before + after >= (outputs - 1) * stride + size
        assert before + after == 0 or extent + before + after == (outputs - 1) * stride + size


def test_work_and_bytes_are_counted():
    params = MbConvParams(2, 3, 5, 5, 12, 4, 3, stride=2)
    assert params.macs == 2 * (25 * 3 * 12 + 9 * 12 * 9 + 9 * 12 * 4)
    assert params.bytes == 4 * (2 * (3 * 25 + 4 * 9) + 12 * 4 + 12 * 10 + 4 * 13)
    assert MbConvParams(1, 4, 5, 5, 4, 4, 3, expands=False).macs == 25 * 4 * 9 + 25 * 16
