"""The counted cost of a column's windows: operations and bytes of each block's regions and of the fully-connected layers."""

from __future__ import annotations

from dataclasses import dataclass

from dcnn_fast.networks import Block, Column
from dcnn_fast.ops.block import output_tile
from dcnn_fast.ops.precision import Precision
from dcnn_fast.plan import ColumnPlan

IN_TILES = "in tiles, counted as sums over taps"


@dataclass(frozen=True)
class Work:
    """One layer: floating-point operations (two for a multiply-add) and bytes that must move once."""

    layer: str
    flops: float
    bytes: float

    def least_seconds(self, flops: float, bandwidth: float) -> float:
        """The roofline: no machine with these rates of operations and bytes takes less, if it multiplies as counted."""
        return max(self.flops / flops, self.bytes / bandwidth)


def work_of(column: Column, plan: ColumnPlan, plane: tuple[int, int], *, values: int, weights: int) -> list[Work]:
    """Each block over its regions, then each fully-connected layer over the distinct windows.

    plane: rows and columns, of bytes. values, weights: bytes of a value between layers and of a weight. Operations are counted
    as sums over taps; a kernel that computes in tiles needs fewer.
    """
    found = []
    channels, read = column.channels, float(plane[0] * plane[1] * column.channels)
    for number, (block, table) in enumerate(zip(column.blocks, plan.blocks, strict=True), 1):
        depth = block.size**2 * channels // block.groups
        written = sum(images * rows * cols for images, rows, cols in table.outputs) * block.filters * values
        filters = block.filters * depth * weights
        found.append(Work(f"block {number}", 2.0 * table.conv_outputs() * depth * block.filters, read + filters + written))
        channels, read = block.filters, float(written)
    windows, inputs = plan.blocks[-1].outputs[0][0], column.features
    for size in column.fc:
        moved = windows * (inputs + size) * values + inputs * size * weights
        found.append(Work(f"fc{size}", 2.0 * windows * inputs * size, float(moved)))
        inputs = size
    return found


def in_tiles(block: Block, channels: int, precision: Precision) -> bool:
    """Whether the C++ engine computes this block's convolution in tiles. channels: its input's."""
    tile = output_tile(
        "cpu", size=block.size, stride=block.stride, channels=channels // block.groups, filters=block.filters // block.groups,
        precision=precision,
    )  # fmt: skip
    return tile.side > 1
