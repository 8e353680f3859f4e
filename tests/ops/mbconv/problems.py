"""Small inverted residual blocks, and weights for them."""

from __future__ import annotations

import torch

from dcnn_fast.ops.mbconv import MbConvParams, MbConvWeights

PROBLEMS = [
    MbConvParams(2, 4, 9, 7, 4, 6, 3, expands=False),
    MbConvParams(1, 3, 8, 8, 18, 5, 3, stride=2),
    MbConvParams(2, 5, 11, 6, 30, 5, 5, residual=True),
    MbConvParams(1, 8, 7, 12, 16, 9, 5, stride=2),
    MbConvParams(1, 2, 1, 1, 12, 2, 5, residual=True),
    MbConvParams(1, 2, 2, 3, 12, 2, 3, stride=2),
]
# Of so many inputs that a tile unit forms their products in bf16: steps of 32 inputs, 16 pixels, 16 outputs, whole and not.
WIDE = [
    MbConvParams(2, 16, 13, 11, 96, 24, 3, stride=2),
    MbConvParams(1, 32, 9, 7, 32, 16, 3, expands=False),
    MbConvParams(2, 24, 10, 9, 144, 24, 5, residual=True),
    MbConvParams(1, 33, 7, 7, 49, 17, 3),
    MbConvParams(1, 17, 1, 1, 34, 17, 5, residual=True),
    MbConvParams(1, 64, 5, 6, 33, 65, 3, stride=2),  # fewer maps than channels
    MbConvParams(2, 100, 3, 2, 16, 1, 3),
    MbConvParams(1, 16, 20, 33, 18, 100, 7, stride=3),
]


def weights_of(params, dtype=torch.float32, seed=0, spread=1.0):
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape):
        return (spread * torch.randn(shape, generator=generator, dtype=torch.float64)).to(dtype)

    e, c, f, k = params.expanded, params.channels, params.filters, params.size
    expand = (drawn(e, c), drawn(e)) if params.expands else None
    return MbConvWeights(expand, (drawn(e, k, k), drawn(e)), (drawn(f, e), drawn(f)))


def assert_reaches_what_sees_it_alone(params, found, expected, clean):
    """A number that is none, in row 6 and column 4 of maps of 12 x 11 under filters of 3 x 3, is where the reference has it."""
    assert torch.equal(found.isnan(), expected.isnan())
    touched = torch.zeros(found.shape, dtype=torch.bool)
    touched[:, :, 5:8, 3:6] = True
    assert torch.equal(found[~touched], clean[~touched])
    finite = expected.isfinite()
    assert (found - expected)[finite].abs().max() <= params.tolerance() * expected[finite].abs().max()
