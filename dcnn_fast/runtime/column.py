"""One column on the cpu, from a plane and a plan to what the network's head is given.

Blocks run image by image, so that an image's maps stay in cache; the fully-connected layers run over all windows of a batch, so
that their weights are read once. `ops.linear` gives every row the same bits whatever its neighbours are.
What is copied here numpy copies: torch would do it on its own threads, which then spin for milliseconds beside the engine's.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from dcnn_fast import ops
from dcnn_fast.nets import Block, Column
from dcnn_fast.ops.precision import Precision
from dcnn_fast.runtime.executor import PlaneJob
from dcnn_fast.runtime.memory import Memory

_MEMORY = Memory()


@torch.no_grad()
def column_maps(column: Column, job: PlaneJob, precision: Precision = "ieee") -> Tensor:
    """The last block's output of every distinct window, as `spec.Column.reduce` says: [windows, features].

    precision: of the blocks' products.
    """
    sources = [torch.from_numpy(job.plane).permute(2, 0, 1)[None]]
    mean, scale = column.spec.mean, column.spec.scale
    for number, (block, regions) in enumerate(zip(column.blocks, job.plan.blocks, strict=True)):
        assert isinstance(block, Block)
        b = block.spec
        # A block reads what the one before wrote: two sets of buffers take turns.
        out = [
            _MEMORY.channels_last(f"{number % 2}.{i}", (images, b.filters, rows, cols))
            for i, (images, rows, cols) in enumerate(regions.outputs)
        ]
        sources = ops.block_regions(
            sources, regions, block.weight, block.bias, stride=b.stride, padding=b.padding, groups=b.groups,
            rounding=block.rounding, pool=b.pool, norm=b.norm, order=b.order, mean=mean, scale=scale, precision=precision,
            out=out,
        )  # fmt: skip
        mean, scale = (), 1.0
    # A copy, as the buffer is used again.
    maps = torch.from_numpy(np.array(sources[0].numpy(), order="C"))
    return maps.flatten(1) if column.spec.reduce == "flatten" else averaged(maps)


@torch.no_grad()
def head_rows(column: Column, maps: Sequence[Tensor]) -> Tensor:
    """What the column's last layer is given, of all distinct windows of all images: [sum of windows, inputs].

    maps: of each image (`column_maps`). The last layer is the head's (`ops.head`); the precision of the others follows from
    their weights' dtype (`ops.linear`).
    """
    x = torch.from_numpy(np.concatenate([of.numpy() for of in maps])) if len(maps) > 1 else maps[0]
    for layer in column.fc[:-1]:
        weight, bias = layer.weight, layer.bias
        assert isinstance(weight, Tensor) and isinstance(bias, Tensor), "weights_of refuses others"
        x = ops.linear(x, weight, bias, relu=True)
    return x


def averaged(maps: Tensor) -> Tensor:
    """The mean of each map, [N, C, H, W] or [N, C, H * W] -> [N, C], with bits that depend on the map alone."""
    count, channels = maps.shape[:2]
    rows = maps.reshape(count * channels, -1)
    share = torch.full((1, rows.shape[1]), 1 / rows.shape[1], dtype=maps.dtype, device=maps.device)
    return ops.linear(rows, share, share.new_zeros(1)).reshape(count, channels)
