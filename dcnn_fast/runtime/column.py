"""One column on the cpu, from a plane and a plan to the input of the network's head.

Blocks run image by image, so that an image's maps stay in cache; the fully-connected layers run over all windows of a batch, so
that their weights are read once. `ops.linear` gives every row the same bits whatever its neighbours are.
Copies here are made by numpy: torch's copies would use its own threads, which then spin for milliseconds beside the engine's.
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
    """The first fully-connected layer's input for every distinct window, [windows, features]; for a column of single layers,
    the column's result.

    precision: of the products before that layer.
    """
    if isinstance(column, BackboneColumn):
        return column.means(_distinct(job, column.spec.window), precision)
    if isinstance(column, GraphColumn):
        return column.features(_distinct(job, column.spec.window), precision)
    assert isinstance(column, Column)
    return _block_maps(column, job, precision)


def _distinct(job: PlaneJob, side: int) -> Tensor:
    """The distinct windows of the plane, [windows, 3, side, side] uint8."""
    _, first = np.unique(job.plan.window_of, return_index=True)
    cut = [job.plane[top : top + side, left : left + side] for top, left in job.windows[first].tolist()]
    return torch.from_numpy(np.stack(cut) if len(cut) > 1 else cut[0][None]).permute(0, 3, 1, 2)


@torch.no_grad()
def _block_maps(column: Column, job: PlaneJob, precision: Precision) -> Tensor:
    """The last block's output, flattened or averaged as `networks.Column.reduce` says."""
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
    """The problems of a column's blocks over a plane of bytes of any extents."""
    problems = [replace(each, options=replace(each.options, precision=precision)) for each in problems_of(column)]
    return [replace(problems[0], dtype=torch.uint8), *problems[1:]]


@torch.no_grad()
def head_rows(column: AnyColumn, maps: Sequence[Tensor]) -> Tensor:
    """The column's last layer's input for all distinct windows of all images: [sum of windows, inputs].

    maps: each image's (`column_maps`). The head computes the last layer (`ops.head`); the other layers' precision follows from
    their weights' dtype (`ops.linear`).
    """
    x = torch.from_numpy(np.concatenate([of.numpy() for of in maps])) if len(maps) > 1 else maps[0]
    for layer in column.fc[:-1]:
        weight, bias = layer.weight, layer.bias
        assert isinstance(weight, Tensor) and isinstance(bias, Tensor), "weights_of refuses others"
        x = ops.linear(x, weight, bias, relu=True)
    return x


def averaged(maps: Tensor) -> Tensor:
    """Each map's mean, [N, C, H, W] or [N, C, H * W] -> [N, C]; its bits depend on the map alone."""
    count, channels = maps.shape[:2]
    rows = maps.reshape(count * channels, -1)
    share = torch.full((1, rows.shape[1]), 1 / rows.shape[1], dtype=maps.dtype, device=maps.device)
    return ops.linear(rows, share, share.new_zeros(1)).reshape(count, channels)
