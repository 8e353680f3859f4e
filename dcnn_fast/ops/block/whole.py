"""Whole images as work for a backend: one region for each, results in memory of their own."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from dcnn_fast.ops import memory
from dcnn_fast.ops.block.backend import Prepared, Work
from dcnn_fast.ops.block.params import BlockParams
from dcnn_fast.ops.region import RegionList, whole
from dcnn_fast.spec import Pool, Rounding


def whole_images(params: BlockParams) -> RegionList:
    """One region per image."""
    return _made(*_geometry(params))


def kept_whole_images(params: BlockParams) -> RegionList:
    """`whole_images`, the same ones for the same problem: for backends, which read them and nothing else."""
    return (_kept if params.images <= _KEPT_IMAGES else _made)(*_geometry(params))


_Geometry = tuple[int, int, int, int, int, int, Rounding, Pool | None]


def _geometry(params: BlockParams) -> _Geometry:
    options = params.options
    return (
        params.images, params.height, params.width, params.size, options.stride, options.padding, options.rounding,
        options.pool,
    )  # fmt: skip


def _made(
    images: int, height: int, width: int, size: int, stride: int, padding: int, rounding: Rounding, pool: Pool | None
) -> RegionList:
    return whole(images, height, width, size=size, stride=stride, padding=padding, rounding=rounding, pool=pool)


_KEPT_IMAGES = 1024  # of which the tables take a quarter of a megabyte
_kept = lru_cache(128)(_made)


def empty_result(params: BlockParams, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """Room for the block's result, [N, F, H, W] in channels_last memory, in params.out_dtype unless `dtype` says otherwise."""
    if device.type == "cpu":
        return memory.empty_channels_last(params.out_shape, dtype or params.out_dtype)
    return torch.empty(params.out_shape, dtype=dtype or params.out_dtype, device=device, memory_format=torch.channels_last)


def result_of(prepared: Prepared, params: BlockParams, x: Tensor) -> Tensor:
    """The block of whole images x: [N, F, H, W]."""
    result = empty_result(params, x.device)
    prepared.run(Work([x], kept_whole_images(params), [result]))
    return result
