"""Modelled times of the block on GPUs, Triton's and CUDA C++'s (bench/gpu_cost.py), and a lower bound: nothing ran on a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch

from bench.gpu_cost import BY_HAND, COUNTS, IMAGES, STAGED, WARPGROUP, Counts, counted_tiles, floor, predicted
from bench.row import Found, Refused, Row
from dcnn_fast import networks
from dcnn_fast.ops.block.cuda.warpgroup import WarpGroupConfig, tile_of
from dcnn_fast.ops.block.params import BlockParams, problems_of
from dcnn_fast.ops.block.triton import config as triton_config
from dcnn_fast.ops.gpus import GPUS, Gpu
from dcnn_fast.ops.precision import Precision

COLUMN = "scnn-arch1"
TYPES: tuple[tuple[torch.dtype, Precision], ...] = ((torch.float16, "ieee"), (torch.float32, "tf32"))


def rows() -> Iterator[Found]:
    """Each block of the default column on each GPU: Triton's, in its chosen tile, and in 16 bits the CUDA C++ block."""
    known = counted_tiles()
    for number, problem in enumerate(problems_of(networks.preset(COLUMN).columns[0], IMAGES)[:3], 1):
        for dtype, precision in TYPES:
            params = _typed(problem, dtype, precision)
            named = "fp16" if dtype == torch.float16 else precision
            for gpu in GPUS:
                for tile in (_tile(params, gpu), *((_by_hand(params, gpu),) if dtype == torch.float16 else ())):
                    case, counted = f"block {number}, {IMAGES} windows", known.get((str(params), tile))
                    if counted is None:
                        why = f"{COUNTS.name} has no counts of {params} in tile {tile}: run `python -m devtools.choose_tiles`"
                        yield Refused("kernels", case, 0, gpu.name, why)
                    else:
                        yield _row(case, gpu, tile, counted.counts, named)


def _typed(params: BlockParams, dtype: torch.dtype, precision: Precision) -> BlockParams:
    """The problem as in scoring: block 1 reads bytes."""
    options = replace(params.options, precision=precision)
    source = torch.uint8 if params.channels == 3 else dtype
    return replace(params, options=options, dtype=source, weight_dtype=dtype, out_dtype=dtype)


def _row(case: str, gpu: Gpu, tile: str, counts: Counts, precision: str) -> Row:
    seconds, term = predicted(gpu, counts, tile)
    least = floor(gpu, counts, precision)
    note = f"tile {tile}, bound by {term}; floor {least * 1e6:.1f} us"
    name = f"{gpu.name} {precision} {'cuda' if tile in BY_HAND else 'triton'} (modelled)"
    gflops = 2 * counts.useful / seconds / 1e9
    return Row("kernels", case, 0, name, precision, seconds, gflops=gflops, share=least / seconds, note=note)


def _by_hand(params: BlockParams, gpu: Gpu) -> str:
    """The CUDA C++ block's tile on that GPU."""
    return WARPGROUP if isinstance(tile_of(params, gpu.capability), WarpGroupConfig) else STAGED


def _tile(params: BlockParams, gpu: Gpu) -> str:
    config = triton_config.forward_config(params, gpu.capability)
    candidates = triton_config.forward_candidates(params)
    return next(name for name, candidate in candidates.items() if candidate == config)
