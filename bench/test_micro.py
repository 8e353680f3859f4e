"""Micro-benchmarks of each operation: `pytest bench/test_micro.py --benchmark-enable`."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from bench import cases
from bench.chain import saved_bytes, torch_chain
from dcnn_fast import nets, networks, ops
from dcnn_fast.ops import views
from dcnn_fast.ops.block import BlockOptions
from dcnn_fast.plan import share

COLUMN = networks.preset("scnn-arch1").columns[0]


@pytest.mark.parametrize("precision", ["ieee", "bf16"])
@pytest.mark.parametrize("number", range(1, 5))
def test_block(benchmark, number, precision):
    block, extent = COLUMN.blocks[number - 1], COLUMN.extents()[number - 1]
    channels = COLUMN.channels if number == 1 else COLUMN.blocks[number - 2].filters
    x = torch.randn(8, channels, extent, extent).contiguous(memory_format=torch.channels_last)
    weight, bias = torch.randn(block.filters, channels, block.size, block.size), torch.zeros(block.filters)
    o = BlockOptions.of_spec(block, COLUMN.rounding)
    benchmark(
        ops.block, x, weight, bias, stride=o.stride, padding=o.padding, groups=o.groups, rounding=o.rounding, pool=o.pool,
        norm=o.norm, order=o.order, precision=precision,
    )  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_linear(benchmark, dtype):
    x, weight, bias = (
        torch.randn(50, COLUMN.features),
        torch.randn(COLUMN.fc[0], COLUMN.features).to(dtype),
        torch.zeros(COLUMN.fc[0]),
    )
    benchmark(ops.linear, x, weight, bias, relu=True)


@pytest.mark.parametrize("view", ["center", "warp", "pad", "local"])
def test_plane(benchmark, view):
    benchmark(views.plane, cases.photograph(1200, 1600), view, 256)


@pytest.mark.parametrize("plane", [(256, 256), (600, 800), (3000, 4000)], ids=str)
def test_plan(benchmark, plane):
    column = replace(COLUMN, view="warp" if plane == (COLUMN.plane, COLUMN.plane) else "local")
    benchmark(share, column, cases.windows(column, plane, 50), plane)


@pytest.mark.parametrize("who", ["ops.block", "torch"])
@pytest.mark.parametrize(("preset", "number"), [("scnn-arch1", 1), ("scnn-arch1", 2), ("alexnet", 1), ("alexnet", 2)])
def test_forward_and_backward_of_a_block(benchmark, capsys, preset, number, who):
    """One step of eight images, and the bytes kept for the backward pass, including the block's input."""
    column = nets.build(preset).columns[0]
    block, extent = column.blocks[number - 1], column.spec.extents()[number - 1]
    channels = column.spec.channels if number == 1 else column.blocks[number - 2].spec.filters
    x = torch.randn(8, channels, extent, extent).contiguous(memory_format=torch.channels_last).requires_grad_(number > 1)
    weights = (block.weight, block.bias)

    def chain(x):
        return torch_chain(x, *weights, block.spec, block.rounding)

    kept, torchs = saved_bytes(weights, block, x), saved_bytes(weights, chain, x)
    with capsys.disabled():
        print(f"\n{preset}, block {number}: {kept / 2**20:.1f} MiB kept, {kept / torchs:.1%} of torch's {torchs / 2**20:.1f}")
    run = block if who == "ops.block" else chain
    benchmark(lambda: run(x).sum().backward())


@pytest.mark.parametrize("who", ["ops.block", "torch"])
def test_training_step(benchmark, who):
    """Eight windows through Arch 1, forward, backward, and the update."""
    net = nets.build("scnn-arch1")
    (column,) = net.columns
    optimiser = torch.optim.SGD(net.parameters(), 1e-4)
    shape = (8, column.spec.channels, column.spec.window, column.spec.window)
    windows = torch.randn(shape).contiguous(memory_format=torch.channels_last)
    labels = torch.zeros(8, dtype=torch.long)

    def step():
        x = windows
        for block in column.blocks:
            x = block(x) if who == "ops.block" else torch_chain(x, block.weight, block.bias, block.spec, block.rounding)
        x = x.flatten(1)
        for layer in column.fc:
            x = F.dropout(layer(x).relu(), column.spec.dropout)
        optimiser.zero_grad()
        F.cross_entropy(net.label(x), labels).backward()
        optimiser.step()

    benchmark(step)
