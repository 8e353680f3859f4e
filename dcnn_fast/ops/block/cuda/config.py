"""Tile sizes of the hand-staged CUDA block: data, chosen from the problem alone, and the strips that regions are cut into."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from dcnn_fast.ops.block.params import BlockParams
from dcnn_fast.ops.computed_once import computed_once
from dcnn_fast.ops.gpus import LEAST_SHARED
from dcnn_fast.ops.records import PIECE, STRIP
from dcnn_fast.ops.region import RegionList
from dcnn_fast.ops.tables import Rows, matrix, records, zeros
from dcnn_fast.spec import CrossMapNorm, Pool

_BELOW = (2, 3, 4, 6, 8)  # strips below each other in a region
_LEAST_ROWS = 4  # of a strip below another, in sizes of the pool
_MANY = 8  # strips a thread block from which on no cut makes them end at one time
MOST_FILTERS = 128  # of a thread block, and so of a norm across maps
MOST_NORM = 33  # maps that a norm sums over: two lanes' filters to either side
_BESIDE = (28, 20, 16, 12, 8, 4)  # columns of a strip for which shared memory is laid out, from the one that wastes least


_Beside = tuple[tuple[int, int, int, int], ...]  # strips beside each other: first column, columns, own columns, rows of a step


@dataclass(frozen=True)
class CudaConfig:
    """What csrc/cuda/block/forward.cu is compiled for beside the problem, under the names it has there.

    part: filters of a thread block. pixel: channels of a pixel in shared memory. warps, tiles: 16 * warps * tiles outputs of
    the convolution are a step. cols: the columns of a strip for which shared memory is laid out; in others as many rows as fit.
    """

    size: int
    stride: int
    pool: int
    part: int
    pixel: int
    warps: int
    tiles: int
    cols: int

    @property
    def outputs(self) -> int:
        """Of the convolution, in a step."""
        return 16 * self.warps * self.tiles

    @property
    def threads(self) -> int:
        return 32 * self.warps

    @property
    def steps(self) -> int:
        """Of 16 products, in a filter row."""
        return -(-self.size * self.pixel // 16)

    @property
    def span(self) -> int:
        """16-byte units from an output's pixels to its neighbour's."""
        return self.stride * self.pixel // 8

    @computed_once
    def plane(self) -> int:
        """16-byte units of a plane of the patch: whole groups of banks apart, so that a pixel's planes lie in others."""
        needed = self._plane_units(self.cols, self.outputs // self.cols)
        return needed + (8 // self.span - needed) % 8 if self.span in (1, 2, 4, 8) else needed

    @computed_once
    def ring(self) -> int:
        """Outputs kept for pool and norm."""
        return (self.outputs // self.cols + self.pool - 1) * self.cols

    @property
    def fetched(self) -> int:
        """Units that a patch may consist of, idle lanes included."""
        a_stage = self.threads * self.size
        return -(-self.span * self.plane // a_stage) * a_stage

    @property
    def shared(self) -> int:
        """Bytes of shared memory: two patches, two stages of weights, the ring."""
        return (
            2 * 16 * self.span * self.plane
            + 2 * self.steps * self.part * 32
            + self.ring * (2 * self.part + (16 if self.part & (self.part - 1) else 0))
        )

    def rows_of(self, cols: int) -> int:
        """The most rows of a step in a strip of `cols` columns, 0 where none fits."""
        if cols not in self._rows_found:
            self._rows_found[cols] = self._rows_of(cols)
        return self._rows_found[cols]

    @computed_once
    def _rows_found(self) -> dict[int, int]:
        return {}

    def _rows_of(self, cols: int) -> int:
        rows = min(self.outputs // cols, self.ring // cols - (self.pool - 1))
        while rows > 0 and not (
            self._plane_units(cols, rows) <= self.plane and self._fetched_units(cols, rows) <= self.fetched
        ):
            rows -= 1
        return max(rows, 0)

    def _reach(self) -> int:
        return (2 * self.steps - 1) // self.span

    def _plane_units(self, cols: int, rows: int) -> int:
        width = cols + self._reach()
        pitch = self.stride * width + (cols - self.stride * width) % 8
        last = (rows - 1) * self.stride + self.size - 1
        return last // self.stride * pitch + (last % self.stride + 1) * width

    def _fetched_units(self, cols: int, rows: int) -> int:
        units = (cols - 1) * self.span + 2 * self.steps
        return ((rows - 1) * self.stride + self.size) * (-(-units // 8) * 8)


def pixel_of(params: BlockParams) -> int:
    """Channels of a pixel in shared memory."""
    if params.channels <= 4 and params.options.stride % 2 == 0:
        return 4
    return 8 if params.channels <= 8 else 16


def config_of(params: BlockParams) -> CudaConfig | None:
    """The tile that a problem is computed in, the largest whose memory every GPU has; None where there is none.

    28 columns are half of the presets' widths of 108 and 54 but for the pool's overlap, and nine rows of them are 252 of a
    step's 256 outputs.
    """
    options = params.options
    filters = -(-params.filters // 16) * 16
    part = filters if isinstance(options.norm, CrossMapNorm) else min(filters, 64)
    pool = (options.pool or Pool(1, 1)).size
    for tiles in (4, 2, 1) if part <= 64 else (2, 1):
        for cols in _BESIDE:
            config = CudaConfig(params.size, options.stride, pool, part, pixel_of(params), 4, tiles, cols)
            if config.shared <= LEAST_SHARED and config.rows_of(pool) > 0:
                return config
    return None


def strips_of(regions: RegionList, params: BlockParams, config: CudaConfig, blocks: int) -> Tensor:
    """The strips that cover all regions: records `StripRow` of csrc/core/tables.h. Regions are cut into as many strips below
    each other as let `blocks` thread blocks, which share them out in order, be done soonest.
    """
    pool = params.options.pool or Pool(1, 1)
    shapes, of = _shapes(regions)
    best = _all_strips(shapes, of, pool, config, 1)
    for parts in _BELOW:
        if len(best) >= _MANY * blocks:
            break
        best = min(best, _all_strips(shapes, of, pool, config, parts), key=lambda strips: _longest(strips, blocks))
    return matrix(best)


def shared_out(strips: Tensor, blocks: int, empty: int) -> Tensor:
    """The strips with others between them that have nothing to do, so that each of `blocks` thread blocks has as many and the
    strips that it would have had. empty: the region of those, which holds nothing: an output of theirs sees no pixel and has
    no piece, and takes a step.
    """
    each = -(-len(strips) // blocks)
    idle = zeros(blocks * each, STRIP)
    idle["region"] = empty
    idle["rows"] = idle["cols"] = idle["step"] = 1
    found = matrix(idle)
    number = torch.arange(blocks + 1) * len(strips) // blocks  # as the kernel counts
    owner = torch.searchsorted(number, torch.arange(len(strips)), right=True) - 1
    found[owner * each + torch.arange(len(strips)) - number[owner]] = strips
    return found


_Shape = tuple[tuple[int, int], bytes]  # a region's rows and columns, and the places of its pieces
_PLACE = ("top", "left", "rows", "cols")  # a piece's fields that decide which pool windows it has


def _shapes(regions: RegionList) -> tuple[list[_Shape], np.ndarray]:
    """The different shapes of regions, and which of them each region has: those of one shape are cut alike."""
    pieces = records(regions.pieces, PIECE)
    content, width = np.stack([pieces[name] for name in _PLACE], axis=1).tobytes(), len(_PLACE) * pieces.dtype[0].itemsize
    table = regions.rows()
    found: dict[_Shape, int] = {}
    of = [
        found.setdefault(((rows, cols), content[width * first : width * (first + count)]), len(found))
        for rows, cols, first, count in zip(*(table[name].tolist() for name in ("rows", "cols", "first", "count")), strict=True)
    ]
    return list(found), np.array(of, np.int64)


def _all_strips(shapes: Sequence[_Shape], of: np.ndarray, pool: Pool, config: CudaConfig, parts: int) -> Rows:
    """Every region's strips."""
    cuts = [zeros(0, STRIP), *(_cut(extents, pieces, pool, config, parts) for extents, pieces in shapes)]
    counts = np.array([len(cut) for cut in cuts])
    first, count = (np.cumsum(counts) - counts)[of + 1], counts[of + 1]  # of each region
    behind = np.repeat(np.cumsum(count) - count, count)
    strips: Rows = np.concatenate(cuts)[np.repeat(first, count) + np.arange(len(behind)) - behind]
    strips["region"] = np.repeat(np.arange(len(of)), count)
    return strips


def _longest(strips: Rows, blocks: int) -> int:
    """Steps of the thread block that has most."""
    steps = np.concatenate([[0], np.cumsum(-(-strips["rows"] // strips["step"]))])
    blocks = min(blocks, len(strips))
    bounds = len(strips) * np.arange(blocks + 1) // max(blocks, 1)
    return int(np.diff(steps[bounds]).max(initial=0))


@lru_cache(maxsize=8192)
def _cut(extents: tuple[int, int], pieces: bytes, pool: Pool, config: CudaConfig, parts: int) -> Rows:
    """One region's strips: beside each other as many as take the fewest steps, below each other `parts`.

    pieces: `_PLACE` of each, int64.
    """
    starts = _starts(pieces, pool)
    if not starts[0] or not starts[1]:
        return zeros(0, STRIP)
    down = _evenly(starts[0], extents[0], pool.size, min(parts, max(1, extents[0] // (_LEAST_ROWS * pool.size))))
    best: tuple[int, _Beside] | None = None
    taken: dict[int, int] = {}  # steps down all parts, by the rows of one
    for across in _beside(starts[1], extents[1], pool.size, config):
        for *_, step in across:
            if step not in taken:
                taken[step] = sum(-(-rows // step) for _, rows, _ in down)
        cost = sum(taken[step] for *_, step in across)
        if best is None or cost < best[0]:
            best = cost, across
    assert best is not None, "a strip of one window fits"
    return np.array(
        [
            (0, row, col, rows, cols, own_rows, own_cols, min(step, rows))
            for col, cols, own_cols, step in best[1]
            for row, rows, own_rows in down
        ],
        dtype=STRIP,
    )


@lru_cache(maxsize=8192)
def _starts(pieces: bytes, pool: Pool) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The rows and the columns in which a region's pool windows start."""
    own = np.frombuffer(pieces, np.int64).reshape(-1, len(_PLACE)).tolist()
    down = {top + pool.stride * i for top, _, rows, _ in own for i in range(rows)}
    across = {left + pool.stride * i for _, left, _, cols in own for i in range(cols)}
    return tuple(sorted(down)), tuple(sorted(across))


@lru_cache(maxsize=8192)
def _beside(starts: tuple[int, ...], extent: int, pool: int, config: CudaConfig) -> tuple[_Beside, ...]:
    """Every way to share columns out to strips that fit."""
    found = []
    for count in range(1, max(1, -(-extent // 8)) + 1):
        across = _evenly(starts, extent, pool, count)
        steps = [config.rows_of(cols) for _, cols, _ in across]
        if min(steps) >= 1:
            found.append(tuple((*strip, step) for strip, step in zip(across, steps, strict=True)))
    return tuple(found)


def _evenly(starts: Sequence[int], extent: int, pool: int, count: int) -> list[tuple[int, int, int]]:
    """Pool windows shared out evenly: of each part the first output, its outputs, and those in which windows start."""
    count = min(count, len(starts))
    bounds = [len(starts) * i // count for i in range(count + 1)]
    parts = []
    for low, high in pairwise(bounds):
        first, last = starts[low], starts[high - 1]
        parts.append((first, min(last + pool, extent) - first, last - first + 1))
    return parts
