"""What a region costs: the multiplications of its convolution, and bytes moved expressed in multiplications.

The exchange rate is a property of a backend: how many multiply-adds it does in the time it moves one byte. The cost is a
pure function of shapes, so a plan never depends on timings.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

from dcnn_fast.ops.block import output_tile
from dcnn_fast.ops.block.params import OutputTile
from dcnn_fast.ops.precision import Precision
from dcnn_fast.plan.geometry import Axis, Span, axes_of
from dcnn_fast.spec import Column

# csrc/cpu in fp32: about 90 G multiply-adds and 10 GB a second and core. The GPU figure is predicted, not measured.
MACS_PER_BYTE = {"cpu": 9.0, "reference": 9.0, "triton": 15.0, "cuda": 15.0}


@dataclass(frozen=True)
class BlockCost:
    """Costs of one block's regions on one backend, in multiply-adds.

    tile: how the backend computes the convolution. depth: products of one convolution output of all filters. channels, filters:
    of input and output.
    """

    axis: Axis
    tile: OutputTile
    depth: int
    channels: int
    filters: int
    per_byte: float

    @cached_property
    def whole(self) -> float:
        """A window by itself."""
        axis = self.axis
        return self._region(axis.conv, axis.conv) + self._moved(axis.out**2)

    @cached_property
    def rim(self) -> float:
        """The rim of one window, and storing its shared results beside it."""
        axis = self.axis
        strips = [self._strip(rows, cols) for rows, cols in rim_strips(axis)]
        return sum(strips) + self._moved(axis.shared**2)

    @cached_property
    def shared(self) -> Callable[[int, int], float]:
        """The price of the shared results of windows whose shifts differ by up to (rows, columns)."""
        axis, depth, stride = self.axis, self.depth, self.axis.pool_stride
        span = axis.free_span(axis.shared_first, axis.shared_last)
        extent, results, reads = _extent(span), axis.shared, axis.size - axis.stride
        read, moved = 4 * self.channels * self.per_byte, 4 * self.filters * self.per_byte

        def price(rows: int, cols: int) -> float:
            rows_of, cols_of = extent + rows, extent + cols
            pixels = (rows_of * axis.stride + reads) * (cols_of * axis.stride + reads)
            stored = (results + rows // stride) * (results + cols // stride)
            return rows_of * cols_of * depth + pixels * read + stored * moved

        return price

    def _strip(self, rows: tuple[int, int], cols: tuple[int, int]) -> float:
        down, right = self.axis.span(*rows), self.axis.span(*cols)
        results = (rows[1] - rows[0] + 1) * (cols[1] - cols[0] + 1)
        return self._region(_extent(down), _extent(right)) + self._moved(results)

    def _region(self, conv_rows: int, conv_cols: int) -> float:
        axis = self.axis
        read = ((conv_rows - 1) * axis.stride + axis.size) * ((conv_cols - 1) * axis.stride + axis.size)
        return conv_rows * conv_cols * self.depth + 4 * read * self.channels * self.per_byte

    def _moved(self, results: int) -> float:
        return 4 * results * self.filters * self.per_byte


def costs_of(column: Column, backend: str, precision: Precision = "ieee") -> tuple[BlockCost, ...]:
    """The costs of every block of the column, whose products are computed in `precision`."""
    inputs = (column.channels, *(block.filters for block in column.blocks))
    tiles = tuple(
        output_tile(backend, size=block.size, stride=block.stride, channels=channels // block.groups, precision=precision)
        for block, channels in zip(column.blocks, inputs, strict=False)
    )
    return _costs(column, backend, tiles)


@lru_cache(maxsize=256)
def _costs(column: Column, backend: str, tiles: tuple[OutputTile, ...]) -> tuple[BlockCost, ...]:
    inputs = (column.channels, *(block.filters for block in column.blocks))
    costs = []
    for block, axis, channels, tile in zip(column.blocks, axes_of(column), inputs, tiles, strict=False):
        depth = block.size**2 * (channels // block.groups) * block.filters
        costs.append(BlockCost(axis, tile, depth, channels, block.filters, MACS_PER_BYTE[backend]))
    return tuple(costs)


def _extent(span: Span) -> int:
    return span.last - span.first + 1


def rim_strips(axis: Axis) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """The rim of a window as rectangles of results that do not overlap: (first and last row, first and last column)."""
    middle = (axis.shared_first, axis.shared_last)
    rows = [(side, (0, axis.out - 1)) for side in axis.rim()]
    return rows + [(middle, side) for side in axis.rim()]
