"""Micro-benchmarks of each operation: `pytest bench/test_micro.py --benchmark-enable`."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bench import cases
from dcnn_fast import nets, ops, spec
from dcnn_fast.ops import views
from dcnn_fast.ops.block import BlockOptions
from dcnn_fast.plan import share

COLUMN = spec.preset("scnn-arch1").columns[0]


@pytest.mark.parametrize("precision", ["ieee", "bf16"])
@pytest.mark.parametrize("number", range(1, 5))
def test_block(benchmark, number, precision):
    block, extent = COLUMN.blocks[number - 1], COLUMN.extents()[number - 1]
    channels = COLUMN.channels if number == 1 else COLUMN.blocks[number - 2].filters
    x = torch.randn(8, channels, extent, extent).contiguous(memory_format=torch.channels_last)
    weight, bias = torch.randn(block.filters, channels, block.size, block.size), torch.zeros(block.filters)
    options = BlockOptions.of_spec(block, COLUMN.rounding)
    keywords = {"stride": options.stride, "padding": options.padding, "pool": options.pool, "norm": options.norm}
    benchmark(ops.block, x, weight, bias, precision=precision, **keywords)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_linear(benchmark, dtype):
    x, weight, bias = torch.randn(50, COLUMN.features), torch.randn(1000, COLUMN.features).to(dtype), torch.zeros(1000)
    benchmark(ops.linear, x, weight, bias, relu=True)


@pytest.mark.parametrize("view", ["center", "warp", "pad", "local"])
def test_plane(benchmark, view):
    benchmark(views.plane, cases.photograph(1200, 1600), view, 256)


@pytest.mark.parametrize("plane", [(256, 256), (600, 800), (3000, 4000)], ids=str)
def test_plan(benchmark, plane):
    windows = cases.windows(np.empty((*plane, 3), np.uint8))
    benchmark(share, COLUMN, windows, plane)


def test_backward_of_a_block(benchmark):
    net = nets.build("scnn-arch1")
    block = net.columns[0].blocks[0]
    x = torch.randn(2, 3, 224, 224)
    benchmark(lambda: block(x).sum().backward())
