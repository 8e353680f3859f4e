"""A training forward keeps less until its backward than the same block of torch's operations."""

from __future__ import annotations

import pytest
import torch

from bench.chain import saved_bytes, torch_chain
from dcnn_fast import nets


def _block(preset, number):
    """A block of a preset and a batch of two inputs, all requiring gradients."""
    column = nets.build(preset).columns[0]
    block, extent = column.blocks[number - 1], column.spec.extents()[number - 1]
    channels = column.spec.channels if number == 1 else column.blocks[number - 2].spec.filters
    x = torch.randn(2, channels, extent, extent, generator=torch.Generator().manual_seed(0))
    return block, x.contiguous(memory_format=torch.channels_last).requires_grad_()


@pytest.mark.parametrize(("preset", "number"), [("scnn-arch1", 1), ("scnn-arch1", 2), ("alexnet", 1), ("alexnet", 2)])
def test_a_block_keeps_at_most_two_fifths_of_what_torchs_chain_keeps(preset, number):
    """Counting its input (the previous block's result) against torch's norm; without it against the frugal own norm too."""
    block, x = _block(preset, number)
    weights = (block.weight, block.bias)
    torch.testing.assert_close(block(x), torch_chain(x, *weights, block.spec, block.rounding), rtol=0, atol=1e-3)
    mine = saved_bytes(weights, block, x)
    chain = saved_bytes(weights, torch_chain, x, *weights, block.spec, block.rounding)
    assert mine <= 0.4 * chain
    frugal = saved_bytes(weights, torch_chain, x, *weights, block.spec, block.rounding, own_norm=True)
    given = x.numel() * x.itemsize
    assert mine - given <= 0.22 * (frugal - given)


@pytest.mark.parametrize(("preset", "largest"), [("scnn-arch1", 0.35), ("alexnet", 0.16)])
def test_two_blocks_keep_at_most_this_share(preset, largest):
    """Both blocks and their inputs, each counted once, against the chain with the frugal own norm."""
    total = {"mine": 0, "chain": 0}
    for number in (1, 2):
        block, x = _block(preset, number)
        weights = (block.weight, block.bias)
        total["mine"] += saved_bytes(weights, block, x)
        total["chain"] += saved_bytes(weights, torch_chain, x, *weights, block.spec, block.rounding, own_norm=True)
    assert total["mine"] <= largest * total["chain"]


def test_the_block_keeps_what_its_params_say():
    block, x = _block("scnn-arch1", 1)
    pooled = 54 * 54 * 64
    assert saved_bytes((block.weight, block.bias), block, x) == 2 * (4 * 3 * 224 * 224 + (4 + 2) * pooled)


def test_without_a_gradient_nothing_is_kept():
    block, x = _block("scnn-arch1", 2)
    block.requires_grad_(False)
    with torch.no_grad():
        assert saved_bytes((), block, x) == 0
    assert saved_bytes((), block, x.detach()) == 0
