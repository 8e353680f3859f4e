"""A small backbone, and weights for it."""

from __future__ import annotations

import torch

from dcnn_fast.ops.backbone import BackboneParams, BackboneWeights, BlockShape, Stem
from tests.ops.mbconv.problems import weights_of

BLOCKS = (
    BlockShape(9, 9, 6, 3, 1, False, False),
    BlockShape(6, 36, 10, 5, 2, True, False),
    BlockShape(10, 50, 10, 3, 1, True, True),
)
TINY = BackboneParams(1, 31, 42, Stem(9, 3, 2, (120.0, 110.5, 100.0), 1 / 64), BLOCKS, 37, (0, 2))
# Of so many channels that a tile unit forms all products in bf16.
WIDE = BackboneParams(
    1, 37, 26, Stem(17, 3, 2, (120.0, 110.5, 100.0), 1 / 64),
    (
        BlockShape(17, 17, 24, 3, 1, False, False),
        BlockShape(24, 144, 40, 5, 2, True, False),
        BlockShape(40, 100, 40, 3, 1, True, True),
    ),
    70, (0, 2),
)  # fmt: skip


def backbone_weights(params, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape):
        return torch.randn(shape, generator=generator) / max(1, torch.Size(shape[1:]).numel()) ** 0.5

    stem = drawn(params.stem.filters, params.stem.channels, params.stem.size, params.stem.size), drawn(params.stem.filters)
    blocks = tuple(weights_of(problem, seed=seed + i, spread=0.3) for i, problem in enumerate(params.problems()))
    return BackboneWeights(stem, blocks, (drawn(params.outputs, params.blocks[-1].filters), drawn(params.outputs)))
