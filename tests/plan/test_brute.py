"""The brute-force plan: every distinct window once, each block a region per window."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from dcnn_fast import ops
from dcnn_fast.networks import Block, Column, CrossMapNorm, Pool
from dcnn_fast.plan import brute_force

COLUMN = Column(
    "warp",
    (Block(5, 5, stride=2, pool=Pool(), norm=CrossMapNorm(3, 0.3)), Block(4, 3, padding=1)),
    (6,), plane=40, window=33, mean=(3.0, 2.0, 1.0), scale=0.5,
)  # fmt: skip
WINDOWS = np.array([[0, 7], [3, 2], [0, 7], [7, 7], [3, 2]])


def test_equal_windows_are_computed_once():
    plan = brute_force(COLUMN, WINDOWS)
    assert [len(block) for block in plan.blocks] == [3, 3]
    assert plan.window_of.tolist() == [0, 1, 0, 2, 1]
    assert plan.blocks[0].conv_outputs() == 3 * 15**2


@pytest.mark.parametrize("padding", [0, 2])
def test_the_chain_of_blocks_gives_what_cut_windows_give(padding):
    """With padding in block 1, the plane's pixels before a window must read as zero."""
    column = replace(COLUMN, blocks=(replace(COLUMN.blocks[0], padding=padding), COLUMN.blocks[1]))
    plane = torch.randint(0, 256, (1, 3, 40, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    w1, w2 = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((5, 3, 5, 5), (4, 5, 3, 3)))
    plan = brute_force(column, WINDOWS)
    first = {"stride": 2, "padding": padding, "pool": (3, 2), "norm": CrossMapNorm(3, 0.3)}
    x = ops.block_regions([plane], plan.blocks[0], w1, mean=COLUMN.mean, scale=COLUMN.scale, **first)
    (y,) = ops.block_regions(x, plan.blocks[1], w2, padding=1)
    for view, (top, left) in enumerate(WINDOWS):
        cut = plane[:, :, top : top + 33, left : left + 33].double()
        cut = (cut - torch.tensor(COLUMN.mean).reshape(1, 3, 1, 1)) * COLUMN.scale
        expected = ops.block(ops.block(cut, w1, **first), w2, padding=1)
        torch.testing.assert_close(y[plan.window_of[view]], expected[0], rtol=1e-12, atol=1e-12)
