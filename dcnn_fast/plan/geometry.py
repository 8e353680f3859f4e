"""One axis of one block: which results depend on nothing but pixels inside the window, and what a result needs.

Results lie on the window's own index 0 ... out - 1. Shared ones are the same for every window that sees their pixels; the
rest, the rim, see padding, an overhanging edge, or the window's border through a same-map norm.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

from dcnn_fast.spec import Block, Column, Pool, Rounding, SameMapNorm


@dataclass(frozen=True)
class Span:
    """What results lo ... hi need: convolution outputs first ... last, of which pool windows start at `pool`; `rows` results
    with the halo of a same-map norm, `skip` of them before lo.
    """

    first: int
    last: int
    pool: int
    rows: int
    skip: int


@dataclass(frozen=True)
class Axis:
    """A block along one axis of a window of `extent` inputs.

    shared_first ... shared_last are the shared results; there are none when the last comes before the first.
    before, after: results that a same-map norm after the pool looks at on either side; conv_before, conv_after: convolution
    outputs that one before the pool looks at.
    """

    extent: int
    conv: int
    out: int
    size: int
    stride: int
    padding: int
    pool_size: int
    pool_stride: int
    before: int
    after: int
    conv_before: int
    conv_after: int
    shared_first: int
    shared_last: int

    @cached_property
    def shared(self) -> int:
        """Number of shared results."""
        return max(0, self.shared_last - self.shared_first + 1)

    def span(self, lo: int, hi: int) -> Span:
        """What results lo ... hi need inside the window: nothing beyond its edges is looked at."""
        start, end = max(0, lo - self.before), min(self.out - 1, hi + self.after)
        pool, last = start * self.pool_stride, min(end * self.pool_stride + self.pool_size - 1, self.conv - 1)
        first, last = max(0, pool - self.conv_before), min(self.conv - 1, last + self.conv_after)
        return Span(first, last, pool, end - start + 1, lo - start)

    def free_span(self, lo: int, hi: int) -> Span:
        """What results lo ... hi need on a lattice that has no edges: for shared results."""
        start, end = lo - self.before, hi + self.after
        pool, last = start * self.pool_stride, end * self.pool_stride + self.pool_size - 1
        return Span(pool - self.conv_before, last + self.conv_after, pool, end - start + 1, self.before)

    def inputs(self, span: Span) -> tuple[int, int]:
        """First and last input that the span's convolution outputs read, padding included."""
        return span.first * self.stride - self.padding, span.last * self.stride - self.padding + self.size - 1

    def rim(self) -> tuple[tuple[int, int], ...]:
        """The results before and after the shared ones, as (lo, hi); empty ones left out."""
        sides = ((0, self.shared_first - 1), (self.shared_last + 1, self.out - 1))
        return tuple(side for side in sides if side[0] <= side[1])


@lru_cache(maxsize=256)
def axes_of(column: Column) -> tuple[Axis, ...]:
    """Every block of the column along one axis; windows are square, so both axes are alike."""
    axes: list[Axis] = []
    first, last = 0, column.window - 1
    for block, extent in zip(column.blocks, column.extents()[:-1], strict=True):
        axis = _axis(block, extent, first, last, column.rounding)
        axes.append(axis)
        first, last = axis.shared_first, axis.shared_last
    return tuple(axes)


def _axis(block: Block, extent: int, first: int, last: int, rounding: Rounding) -> Axis:
    """The block over inputs of which first ... last are shared."""
    pool = block.pool or Pool(1, 1)
    conv = block.conv_extent(extent, rounding)
    reach = (
        (block.norm.size // 2, block.norm.size - 1 - block.norm.size // 2) if isinstance(block.norm, SameMapNorm) else (0, 0)
    )
    norm_first = block.order == "conv-norm-pool"
    (before, after), (conv_before, conv_after) = ((0, 0), reach) if norm_first else (reach, (0, 0))
    low = -(-(first + block.padding) // block.stride) + conv_before
    high = min((last + block.padding - block.size + 1) // block.stride, conv - 1) - conv_after
    shared_first = -(-low // pool.stride) + before
    shared_last = (high - pool.size + 1) // pool.stride - after
    if last < first or shared_last < shared_first:
        shared_first, shared_last = 0, -1
    return Axis(
        extent, conv, block.out_extent(extent, rounding), block.size, block.stride, block.padding, pool.size, pool.stride,
        before, after, conv_before, conv_after, shared_first, shared_last,
    )  # fmt: skip
