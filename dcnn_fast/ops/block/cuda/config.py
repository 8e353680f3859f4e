"""Tile sizes of the hand-staged CUDA block: data, chosen from the problem alone, and the strips that regions are cut into.

The warp-group kernel's tile sizes are in warpgroup.py.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from dcnn_fast import engine
from dcnn_fast.networks import CrossMapNorm, Pool
from dcnn_fast.ops.block.params import BlockParams
from dcnn_fast.ops.computed_once import computed_once
from dcnn_fast.ops.gpus import LEAST_SHARED, WARP
from dcnn_fast.ops.region import RegionList

MOST_FILTERS = 128  # per thread block, and so the most maps of a norm across maps
MOST_NORM = 33  # maps that a norm sums over: two lanes' filters to either side
_BESIDE = (28, 20, 16, 12, 8, 4)  # columns of a strip for which shared memory is laid out, the least wasteful first


@dataclass(frozen=True)
class Tile(ABC):
    """Compile-time sizes of a kernel of csrc/cuda/block beside the problem, under their names in shape.cuh.

    part: filters of a thread block. pixel: channels of a pixel in shared memory. cols: the columns of a strip for which shared
    memory is laid out.
    """

    size: int
    stride: int
    pool: int
    pool_stride: int
    part: int
    pixel: int
    warps: int
    cols: int

    @property
    @abstractmethod
    def outputs(self) -> int:
        """Outputs of the convolution per step."""

    @property
    @abstractmethod
    def shared(self) -> int:
        """Bytes of shared memory."""

    @property
    @abstractmethod
    def resident(self) -> int:
        """Thread blocks that the registers of a multiprocessor let be resident."""

    @property
    @abstractmethod
    def constants(self) -> Mapping[str, int]:
        """The compiler's definitions."""

    @property
    def most_rows(self) -> int:
        """The most rows of results per step."""
        return self.outputs

    @property
    def most_cols(self) -> int:
        """The most columns of a strip."""
        return self.outputs

    @property
    def threads(self) -> int:
        return WARP * self.warps

    @property
    def steps(self) -> int:
        """Steps of 16 products per filter row."""
        return -(-self.size * self.pixel // 16)

    @property
    def span(self) -> int:
        """16-byte units from an output's pixels to its neighbour's."""
        return self.stride * self.pixel // 8

    @computed_once
    def plane(self) -> int:
        """16-byte units of a plane of the patch, padded so that a pixel's planes lie in different groups of banks."""
        units: tuple[int, int] = engine.native.patch_units(
            size=self.size, stride=self.stride, span=self.span, steps=self.steps, cols=self.cols, rows=self.outputs // self.cols
        )
        needed = units[0]
        return needed + (8 // self.span - needed) % 8 if self.span in (1, 2, 4, 8) else needed

    @computed_once
    def ring(self) -> int:
        """Outputs kept for pool and norm."""
        return (self.outputs // self.cols + self.pool - 1) * self.cols

    @property
    def fetched(self) -> int:
        """The most units of a patch, idle lanes included."""
        a_stage = self.threads * self.size
        return -(-self.span * self.plane // a_stage) * a_stage

    @property
    def patches(self) -> int:
        """Bytes of two patches: one being multiplied, one being loaded."""
        return 2 * 16 * self.span * self.plane

    @property
    def stage(self) -> int:
        """Bytes of a stage's weights."""
        return self.steps * self.part * 32

    @property
    def kept(self) -> int:
        """Bytes of the ring."""
        return self.ring * (2 * self.part + (16 if self.part & (self.part - 1) else 0))

    def rows_of(self, cols: int) -> int:
        """The most rows of a step in a strip of `cols` columns, 0 where none fits."""
        rows: int = strip_cutter(self).rows_of(cols)
        return rows


@dataclass(frozen=True)
class CudaConfig(Tile):
    """The tile of csrc/cuda/block/forward.cu.

    tiles: a step has 16 * warps * tiles outputs of the convolution. In strips of other widths it has as many rows as fit.
    """

    tiles: int

    @property
    def outputs(self) -> int:
        """Outputs of the convolution per step."""
        return 16 * self.warps * self.tiles

    @property
    def shared(self) -> int:
        """Bytes of shared memory: two patches, two stages of weights, the ring."""
        return self.patches + 2 * self.stage + self.kept

    @property
    def resident(self) -> int:
        """Thread blocks that the registers of a multiprocessor let be resident."""
        return 2

    @property
    def constants(self) -> Mapping[str, int]:
        """The compiler's definitions."""
        return {**constants_of(self), "WARPS": self.warps, "TILES": self.tiles}


def constants_of(tile: Tile) -> dict[str, int]:
    """The compiler's definitions common to all tiles."""
    return {"PART": tile.part, "PIXEL": tile.pixel, "PLANE": tile.plane, "RING": tile.ring}


@lru_cache(maxsize=256)
def strip_cutter(config: Tile) -> engine.native.StripCutter:
    """The cutter of regions into strips for this tile (csrc/core/launch/strips.h)."""
    return engine.native.StripCutter(
        outputs=config.outputs, ring=config.ring, plane=config.plane, fetched=config.fetched, span=config.span,
        steps=config.steps, size=config.size, stride=config.stride, pool_size=config.pool, pool_stride=config.pool_stride,
        most_rows=config.most_rows, most_cols=config.most_cols,
    )  # fmt: skip


def pixel_of(params: BlockParams) -> int:
    """Channels of a pixel in shared memory."""
    if params.channels <= 4 and params.options.stride % 2 == 0:
        return 4
    return 8 if params.channels <= 8 else 16


def config_of(params: BlockParams) -> CudaConfig | None:
    """The problem's tile of forward.cu, the largest that fits the memory of every GPU; None where there is none.

    28 columns are half of the presets' widths of 108 and 54 but for the pool's overlap, and nine rows of them are 252 of a
    step's 256 outputs.
    """
    options = params.options
    filters = -(-params.filters // 16) * 16
    part = filters if isinstance(options.norm, CrossMapNorm) else min(filters, 64)
    pool = options.pool or Pool(1, 1)
    for tiles in (4, 2, 1) if part <= 64 else (2, 1):
        for cols in _BESIDE:
            config = CudaConfig(params.size, options.stride, pool.size, pool.stride, part, pixel_of(params), 4, cols, tiles)
            if config.shared <= LEAST_SHARED and config.rows_of(pool.size) > 0:
                return config
    return None


def strips_of(regions: RegionList, config: Tile, blocks: int) -> Tensor:
    """The strips that cover all regions: records `StripRow` of csrc/core/tables.h. The number of strips that a region is cut
    into, one below another, minimizes the time of `blocks` thread blocks, which take the strips in order.
    """
    found = engine.native.strips(regions.regions.numpy(), regions.pieces.numpy(), strip_cutter(config), blocks)
    return torch.from_numpy(found)
