"""Regions: the units of work that every backend's block executes (docs/design.md#data-flow).

A region is a rectangle of convolution outputs on one image of one source. It is computed once and emits pieces: each a
rectangle of block outputs in one pool phase, and its stores. Brute force is one region per window with one piece; a
sharing plan has one region per class of windows with several pieces, and small regions for the rims.

Convention: (top, left) is the first row and column of a rectangle, extents are counts, so a rectangle covers
top ... top + height - 1. Source coordinates are pixels of the source image. Convolution coordinates start at the region's
own first output; its receptive field has its corner at pixel (top, left), and outputs lie `stride` pixels apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from typing import overload

import numpy as np
import torch
from torch import Tensor

from dcnn_fast import engine
from dcnn_fast.networks import Pool, Rounding, window_count
from dcnn_fast.ops import region_rules
from dcnn_fast.ops.computed_once import computed_once
from dcnn_fast.ops.records import PIECE, REGION, STORE
from dcnn_fast.ops.tables import Rows, matrix, records, zeros


@dataclass(frozen=True)
class Store:
    """A rectangle of a piece's results, and its place in an output.

    Args:
        skip_top: The rectangle's first row among the piece's results.
        skip_left: Its first column among them.
        height: Its rows.
        width: Its columns.
        output: The output that it is stored in, counted from 0.
        image: The image of that output.
        out_top: The row of the image where its first row goes.
        out_left: The column of the image where its first column goes.
    """

    skip_top: int
    skip_left: int
    height: int
    width: int
    output: int
    image: int
    out_top: int
    out_left: int


@dataclass(frozen=True)
class Piece:
    """Block outputs of one pool phase, computed once and stored in one or more places.

    The pool windows of the piece start at convolution output (`top`, `left`) of the region, pool stride apart; the phase is
    (top % stride, left % stride). `rows` x `cols` of them are taken; one that passes the region's edge is clipped to it.
    A same-map norm that follows the pool sees these rows x cols and nothing else. Without a pool every convolution output is
    a window of its own.

    Args:
        top: The region's row of convolution outputs where the first pool window starts.
        left: The region's column of convolution outputs where it starts.
        rows: Rows of pool windows.
        cols: Columns of pool windows.
        stores: Where the results go.
    """

    top: int
    left: int
    rows: int
    cols: int
    stores: tuple[Store, ...]


@dataclass(frozen=True)
class Region:
    """A rectangle of convolution outputs of one image, and the pieces it emits.

    The first output's receptive field has its corner at pixel (`top`, `left`), which may lie outside the window by the
    padding. Pixels inside the window (`window_top`, `window_left`, `window_height`, `window_width`) are read from the
    source; everything outside it reads as zero, even where the source has pixels.

    (`lattice_top`, `lattice_left`) is the first output's place on the lattice that all windows of an image share. A backend
    that computes outputs in tiles aligns them to it, so that an output's bits are the same in every region that computes it.

    Args:
        source: The source that is read, counted from 0.
        image: The image of that source.
        window_top: The window's first row, in pixels of the image.
        window_left: The window's first column, in pixels of the image.
        window_height: The window's rows.
        window_width: The window's columns.
        top: The row of the pixel at the corner of the first output's receptive field.
        left: The column of that pixel.
        rows: Rows of convolution outputs.
        cols: Columns of convolution outputs.
        lattice_top: The first output's row on the lattice.
        lattice_left: The first output's column on the lattice.
        pieces: The pieces that the region emits.
    """

    source: int
    image: int
    window_top: int
    window_left: int
    window_height: int
    window_width: int
    top: int
    left: int
    rows: int
    cols: int
    lattice_top: int
    lattice_left: int
    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class RegionList:
    """Regions as tables, the form that kernels read.

    A region holds the index of its first piece and its number of pieces, a piece likewise for its stores. Tables are writable
    at any time, so they are checked before every execution (`require_regions`).

    Args:
        regions: [n, fields] int64, the regions' records of csrc/core/tables.h as a matrix.
        pieces: [n, fields] int64, the pieces' records.
        stores: [n, fields] int64, the stores' records.
        outputs: (images, height, width) of each output tensor that is stored to.
    """

    regions: Tensor
    pieces: Tensor
    stores: Tensor
    outputs: tuple[tuple[int, int, int], ...]

    @classmethod
    def of(cls, regions: Iterable[Region], outputs: Sequence[tuple[int, int, int]]) -> RegionList:
        """Tables of `regions`.

        Args:
            regions: The regions, with their pieces and the pieces' stores.
            outputs: (images, height, width) of each tensor that the stores go to.

        Returns:
            The tables, in memory of their own.

        Example:
            >>> piece = Piece(0, 0, 2, 2, (Store(0, 0, 2, 2, output=0, image=0, out_top=0, out_left=0),))
            >>> tables = RegionList.of([Region(0, 0, 0, 0, 4, 4, 0, 0, 2, 2, 0, 0, (piece,))], [(1, 2, 2)])
            >>> len(tables), tables.conv_outputs()
            (1, 4)
        """
        rows: list[tuple[int, ...]] = []
        pieces: list[tuple[int, ...]] = []
        stores: list[tuple[int, ...]] = []
        for region in regions:
            rows.append((*astuple(replace(region, pieces=()))[:-1], len(pieces), len(region.pieces)))
            for piece in region.pieces:
                pieces.append((piece.top, piece.left, piece.rows, piece.cols, len(stores), len(piece.stores)))
                stores += map(astuple, piece.stores)
        tables = np.array(rows, REGION), np.array(pieces, PIECE), np.array(stores, STORE)
        return cls(matrix(tables[0]), matrix(tables[1]), matrix(tables[2]), tuple(outputs))

    def __len__(self) -> int:
        return int(self.regions.shape[0])

    def __iter__(self) -> Iterator[Region]:
        stores = [Store(*row) for row in self.stores.tolist()]
        pieces = [
            Piece(*row, stores=tuple(stores[first : first + count]))  # type: ignore[misc]
            for *row, first, count in self.pieces.tolist()
        ]
        for *row, first, count in self.regions.tolist():
            yield Region(*row, pieces=tuple(pieces[first : first + count]))  # type: ignore[misc]

    def rows(self) -> Rows:
        """The table of regions by the names of its fields.

        Returns:
            [R], a record for each region. Shares the table's memory.
        """
        return records(self.regions, REGION)

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The tables as matrices without gaps.

        Returns:
            regions, pieces and stores, [n, fields] int64 each; a table that has gaps is copied, others share their memory.

        Raises:
            ValueError: A tensor is no such table; the message names it.
        """
        return (
            _matrix("regions", self.regions, REGION), _matrix("pieces", self.pieces, PIECE),
            _matrix("stores", self.stores, STORE),
        )  # fmt: skip

    def conv_outputs(self) -> int:
        """Convolution outputs computed per filter, over all regions.

        Returns:
            Their number.
        """
        rows = self.rows()
        return int((rows["rows"] * rows["cols"]).sum())


class ColumnRegions(Sequence[RegionList]):
    """The regions of a column's blocks in the engine's memory, as a sequence of one RegionList per block.

    Lists are made on first use and share that memory; pickling gives a tuple of lists.
    """

    def __init__(self, held: engine.native.ColumnRegions) -> None:
        self.held = held

    @overload
    def __getitem__(self, index: int) -> RegionList: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[RegionList]: ...
    def __getitem__(self, index: int | slice) -> RegionList | Sequence[RegionList]:
        return self._lists[index]

    def __len__(self) -> int:
        return len(self.held)

    def __reduce__(self) -> tuple[type[tuple[RegionList, ...]], tuple[tuple[RegionList, ...]]]:
        return tuple, (self._lists,)

    @computed_once
    def _lists(self) -> tuple[RegionList, ...]:
        made = (self.held.tables(block) for block in range(len(self.held)))
        return tuple(
            RegionList(torch.from_numpy(regions), torch.from_numpy(pieces), torch.from_numpy(stores), outputs)
            for regions, pieces, stores, outputs in made
        )


def held(regions: Sequence[RegionList]) -> engine.native.ColumnRegions:
    """A column's regions, one list per block, copied to the engine's memory unless they are there already."""
    if isinstance(regions, ColumnRegions):
        return regions.held
    return engine.native.ColumnRegions([(*of.arrays(), of.outputs) for of in regions])


def whole(
    images: int,
    height: int,
    width: int,
    *,
    size: int,
    stride: int,
    padding: int,
    rounding: Rounding,
    pool: Pool | None,
) -> RegionList:
    """Brute force over whole images: one region for each image of one source [images, C, height, width]."""
    windows = np.zeros((images, 3), np.int64)
    windows[:, 0] = np.arange(images)
    return of_windows(
        torch.from_numpy(windows), height, width, size=size, stride=stride, padding=padding, rounding=rounding, pool=pool
    )


def of_windows(
    windows: Tensor,
    height: int,
    width: int,
    *,
    size: int,
    stride: int,
    padding: int,
    rounding: Rounding,
    pool: Pool | None,
) -> RegionList:
    """Brute force over windows: one region per window, one phase; window i becomes image i of output 0.

    windows: [N, 3] int64 of (image, top, left) in source 0, or [N, 4] of (source, image, top, left).
    height, width: extents of every window.
    """
    count = len(windows)
    *source, image, top, left = windows.numpy().T
    conv_rows, conv_cols = (window_count(extent + 2 * padding, size, stride, rounding) for extent in (height, width))
    pooled = pool or Pool(1, 1)
    rows, cols = (window_count(extent, pooled.size, pooled.stride, rounding) for extent in (conv_rows, conv_cols))
    if rows < 1 or cols < 1:
        raise ValueError(f"windows of {height} x {width} are too small for a block of size {size}, padding {padding}, {pool}")
    index = np.arange(count)
    regions, pieces, stores = zeros(count, REGION), zeros(count, PIECE), zeros(count, STORE)
    for name, of in zip(("image", "window_top", "window_left"), (image, top, left), strict=True):
        regions[name] = of
    if source:
        regions["source"] = source[0]
    regions["window_height"], regions["window_width"] = height, width
    regions["top"], regions["left"] = top - padding, left - padding
    regions["rows"], regions["cols"] = conv_rows, conv_cols
    pieces["rows"], pieces["cols"] = rows, cols
    for table in (regions, pieces):
        table["first"], table["count"] = index, 1
    stores["height"], stores["width"] = rows, cols
    stores["image"] = index
    return RegionList(matrix(regions), matrix(pieces), matrix(stores), ((count, rows, cols),))


def require_regions(
    sources: Sequence[tuple[int, int, int]],
    regions: RegionList,
    *,
    size: int,
    stride: int,
    padding: int,
    rounding: Rounding,
    pool: Pool | None,
) -> None:
    """Raise ValueError naming the first region, piece or store that exceeds its source, region, piece or output, or the first
    store that overlaps an earlier one.

    sources: (images, height, width) of each source.
    """
    pooled = pool or Pool(1, 1)
    judge = region_rules.require_regions if engine.reason() else engine.native.require_regions
    judge(
        *regions.arrays(), sources=sources, outputs=regions.outputs, size=size, stride=stride, padding=padding,
        rounding=rounding, pool=(pooled.size, pooled.stride),
    )  # fmt: skip


def _matrix(name: str, table: Tensor, record: np.dtype[np.void]) -> np.ndarray:
    """The table in contiguous memory. Raises ValueError naming it where its dtype or shape is wrong."""
    fields = len(record.names or ())
    if table.dim() != 2 or table.shape[1] != fields or table.dtype != torch.int64:
        got = f"{str(table.dtype).removeprefix('torch.')} {list(table.shape)}"
        raise ValueError(f"regions: the table of {name} must be int64 [n, {fields}], got {got}")
    return (table if table.is_contiguous() else table.contiguous()).numpy()
