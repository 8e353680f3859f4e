"""One column on the cpu, from a plane and a plan to what the network's head is given.

Blocks run image by image, so that an image's maps stay in cache; the fully-connected layers run over all windows of a batch, so
that their weights are read once. `ops.linear` gives every row the same bits whatever its neighbours are.
What is copied here numpy copies: torch would do it on its own threads, which then spin for milliseconds beside the engine's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from dcnn_fast import networks, ops
from dcnn_fast.nets import AnyColumn, BackboneColumn, Block, Column, GraphColumn
from dcnn_fast.ops.block import column_blocks
from dcnn_fast.ops.block.backend import Operands
from dcnn_fast.ops.block.params import BlockParams, problems_of
from dcnn_fast.ops.precision import Precision
from dcnn_fast.runtime.executor import PlaneJob


def column_maps(column: AnyColumn, job: PlaneJob, precision: Precision = "ieee") -> Tensor:
    """What the first fully-connected layer is given of every distinct window: [windows, features]; of a column of single layers
    all that it gives.

    precision: of the products below that layer.
    """
    if isinstance(column, BackboneColumn):
        return column.means(_distinct(job, column.spec.window), precision)
    if isinstance(column, GraphColumn):
        return column.features(_distinct(job, column.spec.window), precision)
    assert isinstance(column, Column)
    return _block_maps(column, job, precision)


def _distinct(job: PlaneJob, side: int) -> Tensor:
    """The different windows of the plane, [windows, 3, side, side] uint8."""
    _, first = np.unique(job.plan.window_of, return_index=True)
    cut = [job.plane[top : top + side, left : left + side] for top, left in job.windows[first].tolist()]
    return torch.from_numpy(np.stack(cut) if len(cut) > 1 else cut[0][None]).permute(0, 3, 1, 2)


@torch.no_grad()
def _block_maps(column: Column, job: PlaneJob, precision: Precision) -> Tensor:
    """The last block's output, as `networks.Column.reduce` says."""
    operands, mean, scale = [], column.spec.mean, column.spec.scale
    for block in column.blocks:
        assert isinstance(block, Block)
        operands.append(Operands(block.weight, block.bias, mean, scale))
        mean, scale = (), 1.0
    plane = torch.from_numpy(job.plane).permute(2, 0, 1)[None]
    maps = column_blocks(_problems(column.spec, precision), operands, plane, job.plan.blocks)
    return maps.flatten(1) if column.spec.reduce == "flatten" else averaged(maps)


@lru_cache(maxsize=64)
def _problems(column: networks.Column, precision: Precision) -> list[BlockParams]:
    """The problems of a column's blocks over a plane of bytes, whatever its extents."""
    problems = [replace(each, options=replace(each.options, precision=precision)) for each in problems_of(column)]
    return [replace(problems[0], dtype=torch.uint8), *problems[1:]]


@torch.no_grad()
def head_rows(column: AnyColumn, maps: Sequence[Tensor]) -> Tensor:
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
