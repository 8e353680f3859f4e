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


def weights_of(params, dtype=torch.float32, seed=0, spread=1.0):
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape):
        return (spread * torch.randn(shape, generator=generator, dtype=torch.float64)).to(dtype)

    e, c, f, k = params.expanded, params.channels, params.filters, params.size
    expand = (drawn(e, c), drawn(e)) if params.expands else None
    return MbConvWeights(expand, (drawn(e, k, k), drawn(e)), (drawn(f, e), drawn(f)))
