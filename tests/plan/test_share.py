"""The sharing plan gives every window what brute force gives it, and computes less."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dcnn_fast import engine, ops
from dcnn_fast.plan import brute_force, share
from dcnn_fast.spec import Block, Column, CrossMapNorm, Pool, SameMapNorm

NORMS = (
    SameMapNorm(1, 0.4),
    None,
    CrossMapNorm(3, 0.3),
    CrossMapNorm(4, 0.5, 0.5, 2.0),
    SameMapNorm(3, 0.4),
    SameMapNorm(2, 0.4),
    SameMapNorm(4, 0.4),
)


def random_column(rng):
    """Up to four blocks of any kind that fit a window of 20 to 50 pixels."""
    while True:
        blocks = []
        for _ in range(rng.integers(1, 5)):
            size = int(rng.integers(1, 6))
            pool_size = int(rng.integers(1, 4))
            pool = Pool(pool_size, int(rng.integers(1, pool_size + 1))) if rng.random() < 0.6 else None
            blocks.append(
                Block(
                    int(rng.integers(1, 4)) * 2, size, int(rng.integers(1, min(size, 3) + 1)), int(rng.integers(0, size)),
                    groups=1 if not blocks or rng.random() < 0.7 else 2, pool=pool, norm=NORMS[rng.integers(len(NORMS))],
                    order="conv-pool-norm" if rng.random() < 0.6 else "conv-norm-pool",
                )
            )  # fmt: skip
        try:
            return Column(
                "warp", tuple(blocks), (4,), plane=60, window=int(rng.integers(20, 50)), mean=(3.0, 2.0, 1.0), scale=0.5,
                rounding="up" if rng.random() < 0.5 else "down",
            )  # fmt: skip
        except ValueError:
            continue


def random_windows(rng, column, plane):
    """Windows close together, on a grid, far apart, or all alike."""
    room = np.array(plane) - column.window
    count = int(rng.integers(1, 13))
    reach = np.minimum(room, int(rng.choice([0, 3, 8, 100])))
    step = int(rng.choice([1, 1, 2, 4]))
    return rng.integers(0, reach // step + 1, (count, 2)) * step


def run(column, plan, pixels, dtype):
    """The last block's output for each view."""
    sources, mean, scale, channels = [pixels], column.mean, column.scale, column.channels
    for i, (block, regions) in enumerate(zip(column.blocks, plan.blocks, strict=True)):
        generator = torch.Generator().manual_seed(i)
        shape = (block.filters, channels // block.groups, block.size, block.size)
        weight = torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) / shape[1]
        bias = torch.randn(shape[0], generator=generator, dtype=torch.float64).to(dtype)
        sources = ops.block_regions(
            sources, regions, weight, bias, stride=block.stride, padding=block.padding, groups=block.groups,
            rounding=column.rounding, pool=block.pool, norm=block.norm, order=block.order, mean=mean, scale=scale,
        )  # fmt: skip
        mean, scale, channels = (), 1.0, block.filters
    return sources[0][torch.from_numpy(plan.window_of)]


def cases(seeds):
    for seed in seeds:
        rng = np.random.default_rng(seed)
        column = random_column(rng)
        plane = tuple(column.window + rng.integers(0, 30, 2))
        pixels = torch.from_numpy(rng.integers(0, 256, (1, 3, *plane)).astype(np.uint8))
        yield seed, column, random_windows(rng, column, plane), plane, pixels


def free(monkeypatch):
    """Bytes cost nothing, so that small test problems share wherever a multiplication is saved."""
    monkeypatch.setitem(__import__("dcnn_fast.plan.cost", fromlist=["cost"]).MACS_PER_BYTE, "cpu", 0.0)


@pytest.mark.parametrize("part", range(4))
def test_every_window_gets_what_brute_force_gives_it(part, monkeypatch):
    monkeypatch.setenv("DCNN_FAST_BACKEND", "reference")
    shared = 0
    for seed, column, windows, plane, pixels in cases(range(part * 100, part * 100 + 60)):
        plan = share(column, windows, plane)
        shared += plan.name == "sharing"
        expected = run(column, brute_force(column, windows), pixels, torch.float64)
        result = run(column, plan, pixels, torch.float64)
        torch.testing.assert_close(result, expected, rtol=1e-12, atol=1e-13, msg=lambda m, s=seed: f"seed {s}: {m}")
    assert shared > 10


@pytest.mark.needs_engine
@pytest.mark.parametrize("isa", engine.isas())
def test_bit_for_bit_on_the_engine(isa, monkeypatch):
    monkeypatch.setenv("DCNN_FAST_CPU_ISA", isa)
    monkeypatch.setenv("DCNN_FAST_BACKEND", "cpu")
    shared = 0
    for seed, column, windows, plane, pixels in cases(range(1000, 1150)):
        plan = share(column, windows, plane)
        shared += plan.name == "sharing"
        expected = run(column, brute_force(column, windows), pixels, torch.float32)
        assert torch.equal(run(column, plan, pixels, torch.float32), expected), seed
    assert shared > 30
