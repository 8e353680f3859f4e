"""The cost of a plan's regions, and the backend's figures that planning needs: its tiles and its cost of a byte.

The operation states an output's work (`OutputTile.macs`); csrc/core/plan/cost.h defines how a plan uses it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dcnn_fast.networks import Column
from dcnn_fast.ops.block import OutputTile, output_tile
from dcnn_fast.ops.precision import Precision
from dcnn_fast.ops.region import RegionList

# Multiply-adds that a backend does in the time it moves one byte. csrc/cpu in fp32: about 90 G multiply-adds and 10 GB per
# second and core. The GPU figure is predicted, not measured.
MACS_PER_BYTE = {"cpu": 9.0, "reference": 9.0, "triton": 15.0, "cuda": 15.0}


@dataclass(frozen=True)
class BlockCost:
    """The multiplications of one block's regions on one backend. side: a tile's. depth: multiplications per output, all
    filters.
    """

    side: int
    depth: float

    def multiplications(self, regions: RegionList) -> float:
        """The number for all regions, in whole tiles."""
        rows = regions.rows()
        outputs = [
            (rows[f"lattice_{corner}"] + rows[extent] - 1) // self.side - rows[f"lattice_{corner}"] // self.side + 1
            for corner, extent in (("top", "rows"), ("left", "cols"))
        ]
        return float(self.depth * np.prod(np.array(outputs) * self.side, axis=0).sum())


def tiles_of(column: Column, backend: str, precision: Precision) -> tuple[OutputTile, ...]:
    """Every block's tiles. Not cached, as they depend on the instruction set in use."""
    inputs = (column.channels, *(block.filters for block in column.blocks))
    return tuple(
        output_tile(
            backend,
            size=block.size,
            stride=block.stride,
            channels=channels // block.groups,
            filters=block.filters // block.groups,
            precision=precision,
        )
        for block, channels in zip(column.blocks, inputs, strict=False)
    )


def costs_of(column: Column, backend: str, precision: Precision = "ieee") -> tuple[BlockCost, ...]:
    """The costs of every block of the column, whose products are computed in `precision`."""
    inputs = (column.channels, *(block.filters for block in column.blocks))
    return tuple(
        BlockCost(tile.side, tile.macs * (channels // block.groups) * block.filters)
        for block, tile, channels in zip(column.blocks, tiles_of(column, backend, precision), inputs, strict=False)
    )
