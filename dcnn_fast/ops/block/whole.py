"""Whole images as work for a backend: one region each, results in new memory."""

from __future__ import annotations

import torch
from torch import Tensor

from dcnn_fast.ops import memory
from dcnn_fast.ops.block.backend import Prepared, Work
from dcnn_fast.ops.block.params import BlockParams
from dcnn_fast.ops.region import RegionList, whole


def whole_images(params: BlockParams) -> RegionList:
    """One region per image."""
    options = params.options
    return whole(
        params.images, params.height, params.width, size=params.size, stride=options.stride, padding=options.padding,
        rounding=options.rounding, pool=options.pool,
    )  # fmt: skip


def empty_result(params: BlockParams, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """Room for the block's result, [N, F, H, W] in channels_last memory, in params.out_dtype unless `dtype` says otherwise."""
    if device.type == "cpu":
        return memory.empty_channels_last(params.out_shape, dtype or params.out_dtype)
    return torch.empty(params.out_shape, dtype=dtype or params.out_dtype, device=device, memory_format=torch.channels_last)


def result_of(prepared: Prepared, params: BlockParams, x: Tensor) -> Tensor:
    """The block of whole images x: [N, F, H, W]."""
    result = empty_result(params, x.device)
    prepared.run(Work([x], whole_images(params), [result]))
    return result
