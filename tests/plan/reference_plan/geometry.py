"""One axis of every block: the results that depend only on pixels inside the window, and each result's inputs.

Results lie on the window's own index 0 ... out - 1. Shared ones are the same for every window that sees their pixels; the
rest, the rim, see padding, an overhanging edge, or the window's border through a same-map norm or through their tile: where a
convolution is computed in tiles (`OutputTile`), all inputs of a tile decide an output's bits, so whole tiles are shared.
Tiles lie on the lattice that all windows of a plane share, so what is shared depends on where the window lies.

Everything here takes arrays, or integers, and gives arrays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from dcnn_fast.networks import Block, Column, Pool, Rounding, SameMapNorm
from dcnn_fast.ops.block import OutputTile

BEFORE, AFTER, SHARED, ALL, NONE = range(5)  # parts of results along an axis: the rim's two sides, the shared ones, all, none


class Span(NamedTuple):
    """The needs of results lo ... hi: convolution outputs first ... last, where pool windows start at `pool`; `rows` results
    with the halo of a same-map norm, `skip` of them before lo.
    """

    lo: np.ndarray
    hi: np.ndarray
    first: np.ndarray
    last: np.ndarray
    pool: np.ndarray
    rows: np.ndarray
    skip: np.ndarray


@dataclass(frozen=True)
class Axis:
    """A block along one axis of a window of `extent` inputs.

    step: pixels of the plane between two convolution outputs; a window at pixel o has its output i at o // step + i of the
    lattice. before, after: results that a same-map norm after the pool reads on either side; conv_before, conv_after:
    convolution outputs that a norm before the pool reads. open: a window's first tile may see pixels before the window.
    """

    extent: int
    conv: int
    out: int
    stride: int
    padding: int
    pool_size: int
    pool_stride: int
    before: int
    after: int
    conv_before: int
    conv_after: int
    step: int
    tile: OutputTile
    open: bool

    def shared(self, first: np.ndarray, last: np.ndarray, lattice: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """First and last shared result of windows whose shared inputs are first ... last; last is -1 where none is shared.

        lattice: the places of the windows' convolution outputs 0.
        """
        side = self.tile.side
        low = -(-(first + self.padding) // self.stride)
        if not self.open:
            low = low + -(lattice + low) % side
        high = (last + 1 + self.padding - self.tile.size) // self.stride - (side - 1)  # last possible start of a whole tile
        high = high - (lattice + high) % side + side - 1
        shared_first = -(-(low + self.conv_before) // self.pool_stride) + self.before
        shared_last = (high - self.conv_after - self.pool_size + 1) // self.pool_stride - self.after
        empty = (last < first) | (shared_last < shared_first)
        return np.where(empty, 0, shared_first), np.where(empty, -1, shared_last)

    def span(self, lo: np.ndarray, hi: np.ndarray) -> Span:
        """The needs of results lo ... hi inside the window; nothing beyond its edges is read."""
        start, end = np.maximum(0, lo - self.before), np.minimum(self.out - 1, hi + self.after)
        pool, last = start * self.pool_stride, np.minimum(end * self.pool_stride + self.pool_size, self.conv) - 1
        first, last = np.maximum(0, pool - self.conv_before), np.minimum(self.conv - 1, last + self.conv_after)
        return Span(lo, hi, first, last, pool, end - start + 1, lo - start)

    def free_span(self, lo: np.ndarray, hi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """First and last convolution output that results lo ... hi need on a lattice without edges, for shared results."""
        first = (lo - self.before) * self.pool_stride - self.conv_before
        return first, (hi + self.after) * self.pool_stride + self.pool_size - 1 + self.conv_after

    def whole_tiles(self, first: np.ndarray, last: np.ndarray) -> np.ndarray:
        """Outputs in the tiles of outputs first ... last of the lattice, at least one."""
        side = self.tile.side
        outputs: np.ndarray = last - first + 1 if side == 1 else (last // side - first // side + 1) * side
        return outputs

    def reads(self, outputs: np.ndarray) -> np.ndarray:
        """Number of inputs that `outputs` adjacent outputs read: whole tiles, at least one."""
        return (outputs - 1) * self.stride + self.tile.size

    def inputs(self, first: np.ndarray, last: np.ndarray, lattice: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The first and last input, padding included, of the tiles of a window's outputs first ... last."""
        side = self.tile.side
        start = first - (lattice + first) % side
        end = last - (lattice + last) % side + side - 1
        return start * self.stride - self.padding, end * self.stride - self.padding + self.tile.size - 1


@dataclass(frozen=True)
class Windows:
    """A block along one axis for windows at given pixels of the plane, a row for each; or along both, [n, 2, ...]; or several
    blocks, [blocks, n, 2, ...].

    table: the properties below side by side, since taking rows of one array is faster than of nine.
    """

    table: np.ndarray

    @property
    def residue(self) -> np.ndarray:
        """[n], the window's place on the lattice of inputs, modulo the stride."""
        return self.table[..., 0]

    @property
    def phase(self) -> np.ndarray:
        """[n], the window's place on the lattice of outputs, modulo the pool stride."""
        return self.table[..., 1]

    @property
    def shared(self) -> np.ndarray:
        """[n, 2], first and last shared result."""
        return self.table[..., 2:4]

    @property
    def needs(self) -> np.ndarray:
        """[n, 2], first and last of the convolution outputs that the shared results need."""
        return self.table[..., 4:6]

    @property
    def counts(self) -> np.ndarray:
        """[n, 2, 3], outputs in whole tiles and the inputs that they read, for both sides of the rim together, the shared
        results and all results.
        """
        return self.table[..., 6:12].reshape(*self.table.shape[:-1], 2, 3)

    @property
    def frame(self) -> np.ndarray:
        """[n, 5, 2], first and last of the shared results that the next block's rim reads, on the side BEFORE and AFTER; of
        those between (SHARED), of all shared ones (ALL), and NONE.
        """
        return self.table[..., 12:22].reshape(*self.table.shape[:-1], 5, 2)

    @property
    def parts(self) -> np.ndarray:
        """[n, 5, 7], the spans of the parts BEFORE, AFTER, SHARED, ALL and NONE."""
        return self.table[..., 22:].reshape(*self.table.shape[:-1], 5, len(Span._fields))

    def of_block(self, number: int) -> Windows:
        """One of the blocks of `windows_of`."""
        return Windows(self.table[number])


def axes_of(column: Column, tiles: tuple[OutputTile, ...]) -> tuple[Axis, ...]:
    """Every block of the column along one axis; windows are square, so both axes are equal."""
    axes: list[Axis] = []
    step = 1
    for block, tile, extent in zip(column.blocks, tiles, column.extents()[:-1], strict=True):
        step *= block.stride
        axes.append(_axis(block, extent, column.rounding, step, tile, not axes and sees_before(column)))
        step *= (block.pool or Pool(1, 1)).stride
    return tuple(axes)


def sees_before(column: Column) -> bool:
    """Whether block 1's regions may read the plane above and left of a window. Without padding no output depends on it,
    only its tile, and allowing that saves every window a rim on two sides.
    """
    return column.blocks[0].padding == 0


def _axis(block: Block, extent: int, rounding: Rounding, step: int, tile: OutputTile, is_open: bool) -> Axis:
    pool = block.pool or Pool(1, 1)
    reach = (
        (block.norm.size // 2, block.norm.size - 1 - block.norm.size // 2) if isinstance(block.norm, SameMapNorm) else (0, 0)
    )
    norm_first = block.norm_first
    (before, after), (conv_before, conv_after) = ((0, 0), reach) if norm_first else (reach, (0, 0))
    conv, out = block.conv_extent(extent, rounding), block.out_extent(extent, rounding)
    return Axis(
        extent, conv, out, block.stride, block.padding, pool.size, pool.stride, before, after, conv_before,
        conv_after, step, tile, is_open,
    )  # fmt: skip


def windows_of(axes: tuple[Axis, ...], places: np.ndarray) -> Windows:
    """Every block, [blocks, ...], for windows at `places`, pixels of the plane along one axis, of any shape."""
    flat, shape = places.reshape(-1), np.arange(places.size).reshape(places.shape)
    return Windows(_tables(axes, flat)[:, shape])


def _tables(axes: tuple[Axis, ...], places: np.ndarray) -> np.ndarray:
    first, last = np.zeros_like(places), np.full_like(places, axes[0].extent - 1)
    shared: list[tuple[np.ndarray, np.ndarray]] = []
    for axis in axes:
        first, last = axis.shared(first, last, places // axis.step)
        shared.append((first, last))
    frames = [_frame(axes[i + 1 : i + 2], shared[i : i + 2], places) for i in range(len(axes))]
    return np.stack(
        [_table(axis, places, *of, frame) for axis, of, frame in zip(axes, shared, frames, strict=True)],
    )


def _table(axis: Axis, places: np.ndarray, first: np.ndarray, last: np.ndarray, frame: list[np.ndarray]) -> np.ndarray:
    lattice, zero, end = places // axis.step, np.zeros_like(first), np.full_like(first, axis.out - 1)
    spans = (zero, first - 1), (last + 1, end), (first, last), (zero, end), (zero, zero - 1)
    parts = [axis.span(lo, hi) for lo, hi in spans]
    tiles = [np.where(s.hi < s.lo, 0, axis.whole_tiles(lattice + s.first, lattice + s.last)) for s in parts]
    reads = [np.where(count == 0, 0, axis.reads(count)) for count in tiles]
    columns = [
        places // (axis.step // axis.stride) % axis.stride,
        lattice % axis.pool_stride,
        first,
        last,
        *axis.free_span(first, last),
        *(counts for of in (tiles, reads) for counts in (of[BEFORE] + of[AFTER], of[SHARED], of[ALL])),
        *frame,
        *(values for span in parts for values in span),
    ]
    return np.stack(columns, axis=-1)


def _frame(following: tuple[Axis, ...], shared: list[tuple[np.ndarray, np.ndarray]], places: np.ndarray) -> list[np.ndarray]:
    """The columns of `Windows.frame` of a block before `following`, if any; shared: both blocks' shared results."""
    lo, hi = shared[0]
    near, far = _sides(following, shared, places) if following else (hi, hi + 1)
    zero = np.zeros_like(lo)
    return [lo, near, far, hi, near + 1, far - 1, lo, hi, zero, zero - 1]


def _sides(
    following: tuple[Axis, ...], shared: list[tuple[np.ndarray, np.ndarray]], places: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The last shared result that the rim's side BEFORE reads, and the first that its side AFTER reads."""
    (lo, hi), (first, last), (axis,) = *shared, following
    lattice = places // axis.step
    before, after = axis.span(np.zeros_like(first), first - 1), axis.span(last + 1, np.full_like(last, axis.out - 1))
    near = np.where(before.hi < before.lo, lo - 1, np.minimum(hi, axis.inputs(before.first, before.last, lattice)[1]))
    far = np.where(after.hi < after.lo, hi + 1, np.maximum(lo, axis.inputs(after.first, after.last, lattice)[0]))
    everything = near >= far - 1
    return np.where(everything, hi, near), np.where(everything, hi + 1, far)
