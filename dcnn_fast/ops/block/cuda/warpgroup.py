"""Tile sizes of the hand-staged CUDA block for sm_90, with products of warp groups (csrc/cuda/block/warpgroup.cu)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from itertools import product
from pathlib import Path

import torch

from dcnn_fast.networks import CrossMapNorm, Pool
from dcnn_fast.ops.block.cuda.config import Tile, config_of, constants_of, pixel_of
from dcnn_fast.ops.block.gpu.problem import problem_key, relu_last
from dcnn_fast.ops.block.params import BlockParams
from dcnn_fast.ops.cuda_compile import knows_warp_groups
from dcnn_fast.ops.gpus import HOPPER, MULTIPROCESSORS

BY_WARPS = Path(__file__).with_name("by_warps.json")  # written by devtools/choose_tiles.py and tools/gpu_check
PART = 64  # filters of a warp group: the rows of its products
_WARPS = 4  # per warp group
_NOWHERE = 256  # bytes per warp for values beyond a strip's columns
_DEPTH = 4  # stages of weights
_GROUPS = 2  # per thread block: one multiplies while the other loads its weights
_COLUMNS = (56, 64)  # outputs of a product: fewer would take no less time
_MOST_SUMS = 112  # per thread, half of its outputs
_MOST_PACK = 4
_STEP = 64  # cost of a step's weights and pool, in outputs


@dataclass(frozen=True)
class WarpGroupConfig(Tile):
    """The tile of csrc/cuda/block/warpgroup.cu.

    columns: outputs of a product, `pack` rows of a strip of `cols` columns and the gaps between them. products: per warp
    group, one below another. A step's number of rows does not depend on its strip's columns, which are at most `cols`.
    """

    columns: int
    pack: int
    products: int

    @property
    def groups(self) -> int:
        """Warp groups of a thread block."""
        return self.warps // _WARPS

    @property
    def outputs(self) -> int:
        """Outputs of the convolution per step."""
        return self.most_rows * self.cols

    @property
    def computed(self) -> int:
        """Outputs of a step, with those beyond the strip."""
        return self.groups * self.products * self.columns

    @property
    def most_rows(self) -> int:
        """The most rows per step."""
        return self.groups * self.products * self.pack

    @property
    def most_cols(self) -> int:
        """The most columns of a strip."""
        return self.cols

    @property
    def shared(self) -> int:
        """Bytes of shared memory: two patches, the stages of weights, the ring, a place for dropped values, barriers."""
        return self.patches + _DEPTH * self.stage + self.kept + _NOWHERE * self.warps + 2 * 8 * _DEPTH

    @property
    def resident(self) -> int:
        """Thread blocks that the registers of a multiprocessor let be resident."""
        return 1

    @property
    def constants(self) -> Mapping[str, int]:
        """The compiler's definitions."""
        return {
            **constants_of(self), "GROUPS": self.groups, "COLUMNS": self.columns, "PACK": self.pack, "PRODUCTS": self.products,
        }  # fmt: skip


def tile_of(params: BlockParams, capability: int) -> Tile | None:
    """A problem's tile on GPUs of a compute capability; None where there is none.

    The warp-group tile where there is one, unless the model predicts products of single warps to be faster.
    """
    found = tile_by_groups(params, capability)
    return config_of(params) if found is None or by_warps(params) else found


def tile_by_groups(params: BlockParams, capability: int) -> WarpGroupConfig | None:
    """The tile for warp groups, even if it is the slower; None where the GPU, the compiler or the kernel has none."""
    return warpgroup_of(params) if capability == HOPPER and knows_warp_groups() else None


@lru_cache(maxsize=256)  # asked before every block
def by_warps(params: BlockParams) -> bool:
    """Whether the model of bench/gpu_cost.py predicts products of single warps to be faster on sm_90.

    It was evaluated at the extents of the presets' blocks, and the answer holds for all extents and for every name of the same
    products (`precision`): a part of an image must have the bits of the whole. False for a problem that was not evaluated.
    """
    options = replace(params.options, precision="ieee")
    return problem_key(replace(params, options=options)) in _problems_by_warps()


@cache
def _problems_by_warps() -> frozenset[str]:
    return frozenset(json.loads(BY_WARPS.read_text()))


@lru_cache(maxsize=256)  # asked before every block
def warpgroup_of(params: BlockParams) -> WarpGroupConfig | None:
    """The tile for warp groups that computes the fewest outputs beside a problem's own; None where they cannot run it."""
    if refused(params) is not None:
        return None
    fitting = (config for config in _candidates(params) if config.shared <= MULTIPROCESSORS[HOPPER].shared_of_block)
    return min(fitting, key=lambda config: _cost(config, params), default=None)


def refused(params: BlockParams) -> str | None:
    """Why products of warp groups cannot run a problem that forward.cu runs, None where they can."""
    options = params.options
    if params.filters % PART:
        return f"a warp group has {PART} filters, and {params.filters} are no multiple"
    if isinstance(options.norm, CrossMapNorm) and params.filters > PART:
        return f"a norm across {params.filters} maps needs all of them in one warp group, which has {PART}"
    if relu_last(params):
        return "warp groups keep results behind their ReLU"
    pixel = pixel_of(params)
    span = options.stride * pixel // 8
    if span > 1 and span % 2:
        return f"a stride of {options.stride} puts the halves of a product unequally far apart"
    if params.size * pixel % 16 and params.dtype != torch.uint8:
        return (
            f"a filter row of {params.size} pixels of {pixel} channels fills no whole product, and what lies beside may be NaN"
        )
    return None


def _candidates(params: BlockParams) -> Iterator[WarpGroupConfig]:
    """Every tile that fits, the largest first."""
    options = params.options
    pool = options.pool or Pool(1, 1)
    for columns, pack in product(_COLUMNS, range(1, _MOST_PACK + 1)):
        cols = _most_cols(params, columns, pack)
        if cols < pool.size:
            continue
        most = 2 * _MOST_SUMS // columns
        for products in range(most, most // 2, -1):
            yield WarpGroupConfig(
                params.size, options.stride, pool.size, pool.stride, PART, pixel_of(params), _GROUPS * _WARPS, cols, columns,
                pack, products,
            )  # fmt: skip


def _most_cols(params: BlockParams, columns: int, pack: int) -> int:
    """The most columns of a strip with `pack` rows per product; 0 where there are none."""
    fitting = (cols for cols in range(columns, 0, -1) if (pack - 1) * _pitch(params, cols) + cols <= columns)
    return next(fitting, 0)


def _pitch(params: BlockParams, cols: int) -> int:
    """Units of a plane from a row of outputs to the next: `pitch_of` in csrc/cuda/block/patch.cuh."""
    pixel, stride = pixel_of(params), params.options.stride
    steps, span = -(-params.size * pixel // 16), stride * pixel // 8
    least = stride * (cols + (2 * steps - 1) // span)
    return least + (cols - least) % 8


def _cost(config: WarpGroupConfig, params: BlockParams) -> int:
    """Outputs computed per filter for an image in that tile, a step's fixed cost counted as outputs."""
    _, _, rows, cols = params.conv_shape
    again = max(config.pool - config.pool_stride, 0)  # columns that strips beside each other share
    beside = max(1, -(-(cols - again) // (config.cols - again)))
    return beside * -(-rows // config.most_rows) * (config.computed + _STEP)
