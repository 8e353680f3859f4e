"""The cost of a region: its convolution's multiplications, in whole tiles, plus bytes moved, expressed in multiplications.

The exchange rate is a property of a backend: its multiply-adds in the time of moving one byte. The operation states an
output's cost (`OutputTile.macs`). Costs are pure functions of shapes, so a plan never depends on timings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from dcnn_fast.networks import Column
from dcnn_fast.ops.block import OutputTile
from dcnn_fast.ops.region import RegionList
from tests.plan.reference_plan.columns import REGION_EXTENT, REGION_LATTICE, STORE_EXTENT
from tests.plan.reference_plan.geometry import Axis, Windows, axes_of


@dataclass(frozen=True)
class BlockCost:
    """Costs of one block's regions on one backend, in multiply-adds.

    depth: one convolution output of all filters. read, stored: one input read and one result stored, all channels.
    """

    axis: Axis
    depth: float
    read: float
    stored: float

    def prices(self, first: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Prices of computing regions over lattice outputs first ... last, [n, 2] each, and of storing their results once."""
        axis = self.axis
        tiles, results = axis.whole_tiles(first, last), (last - first) // axis.pool_stride + 1
        reads = axis.reads(tiles)
        computing = tiles[:, 0] * tiles[:, 1] * self.depth + reads[:, 0] * reads[:, 1] * self.read
        return computing, results[:, 0] * results[:, 1] * self.stored

    def multiplications(self, regions: RegionList) -> float:
        """The multiplications of all regions, in whole tiles."""
        return float(self.depth * np.prod(self._tiles(regions), axis=1).sum())

    def of(self, regions: RegionList) -> float:
        """The cost of all regions and their stores."""
        reads = self.axis.reads(self._tiles(regions))
        stores = regions.stores.numpy()
        moved = self.read * np.prod(reads, axis=1).sum() + self.stored * np.prod(stores[:, STORE_EXTENT], axis=1).sum()
        return self.multiplications(regions) + float(moved)

    def _tiles(self, regions: RegionList) -> np.ndarray:
        table = regions.regions.numpy()
        return self.axis.whole_tiles(table[:, REGION_LATTICE], table[:, REGION_LATTICE] + table[:, REGION_EXTENT] - 1)


@dataclass(frozen=True)
class Constants:
    """Every block's axis and cost as arrays, [blocks], kept because building them takes longer than using them."""

    depth: np.ndarray
    read: np.ndarray
    extent: np.ndarray
    stride: np.ndarray
    padding: np.ndarray
    pool_stride: np.ndarray
    before: np.ndarray
    after: np.ndarray
    step: np.ndarray

    @classmethod
    def of(cls, costs: Sequence[BlockCost]) -> Constants:
        """The constants of these blocks."""
        names = [field.name for field in fields(cls)[2:]]
        whole = (np.array([getattr(cost.axis, name) for cost in costs]) for name in names)
        return cls(np.array([cost.depth for cost in costs]), np.array([cost.read for cost in costs]), *whole)


def savings(of: Constants, windows: Windows) -> tuple[np.ndarray, np.ndarray]:
    """[blocks, n]: each window's saving in each block when its shared results come from elsewhere, and its cost alone.

    windows: all blocks', [blocks, n, 2]. A rim is computed in four strips. Stores are left out: results are stored in a
    window's own image either way.
    """
    depth, read = of.depth[:, None], of.read[:, None]
    down, across = windows.counts[:, :, 0], windows.counts[:, :, 1]  # [blocks, n, tiles or reads, part]
    whole = down[..., 2] * across[..., 2]
    inside = whole - down[..., 0] * across[..., 2] - down[..., 1] * across[..., 0]
    return depth * inside[..., 0] + read * inside[..., 1], depth * whole[..., 0] + read * whole[..., 1]


def costs_of(column: Column, tiles: tuple[OutputTile, ...], macs_per_byte: float) -> tuple[BlockCost, ...]:
    """The costs of every block of the column."""
    return costs_and_constants(column, tiles, macs_per_byte)[0]


def costs_and_constants(
    column: Column, tiles: tuple[OutputTile, ...], macs_per_byte: float
) -> tuple[tuple[BlockCost, ...], Constants]:
    """The costs of every block of the column, and their constants as arrays."""
    inputs = (column.channels, *(block.filters for block in column.blocks))
    costs = tuple(
        BlockCost(
            axis,
            axis.tile.macs * (channels // block.groups) * block.filters,
            4 * channels * macs_per_byte,
            4 * block.filters * macs_per_byte,
        )
        for block, axis, channels in zip(column.blocks, axes_of(column, tiles), inputs, strict=False)
    )
    return costs, Constants.of(costs)
