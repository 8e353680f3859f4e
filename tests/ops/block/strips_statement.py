"""The cutting of regions into strips for the CUDA C++ kernel: the statement for csrc/core/launch/strips.cpp."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from dcnn_fast.networks import Pool
from dcnn_fast.ops.block.cuda.config import CudaConfig
from dcnn_fast.ops.records import PIECE, STRIP
from dcnn_fast.ops.region import RegionList
from dcnn_fast.ops.tables import Rows, matrix, records, zeros

_BELOW = (2, 3, 4, 6, 8)  # strips below each other in a region
_LEAST_ROWS = 4  # fewest rows of a strip that lies below another, in pool sizes
_MANY = 8  # strips per thread block from which finer cuts are not tried
_Beside = tuple[tuple[int, int, int, int], ...]  # strips beside each other: first column, columns, own columns, rows of a step


def rows_of(config: CudaConfig, cols: int) -> int:
    """The most rows of a step in a strip of `cols` columns, 0 where none fits."""
    if cols > config.most_cols:
        return 0
    rows = min(config.outputs // cols, config.ring // cols - (config.pool - 1), config.most_rows)
    while rows > 0 and not (
        plane_units(config, cols, rows) <= config.plane and fetched_units(config, cols, rows) <= config.fetched
    ):
        rows -= 1
    return max(rows, 0)


def plane_units(config: CudaConfig, cols: int, rows: int) -> int:
    """The 16-byte units in one plane of the patch that rows x cols outputs read."""
    width = cols + (2 * config.steps - 1) // config.span
    pitch = config.stride * width + (cols - config.stride * width) % 8
    last = (rows - 1) * config.stride + config.size - 1
    return last // config.stride * pitch + (last % config.stride + 1) * width


def fetched_units(config: CudaConfig, cols: int, rows: int) -> int:
    """The 16-byte units that are fetched for that patch."""
    units = (cols - 1) * config.span + 2 * config.steps
    return ((rows - 1) * config.stride + config.size) * (-(-units // 8) * 8)


def strips_of(regions: RegionList, config: CudaConfig, blocks: int) -> Tensor:
    """The strips that cover all regions: records `StripRow` of csrc/core/tables.h. Regions are cut into the
    number of strips below each other with which `blocks` thread blocks, which divide them in order, finish soonest.
    """
    pool = Pool(config.pool, config.pool_stride)
    shapes, of = _shapes(regions)
    best = _all_strips(shapes, of, pool, config, 1)
    for parts in _BELOW:
        if len(best) >= _MANY * blocks:
            break
        best = min(best, _all_strips(shapes, of, pool, config, parts), key=lambda strips: _longest(strips, blocks))
    return matrix(best)


def shared_out(strips: Tensor, blocks: int, empty: int) -> Tensor:
    """The strips, padded with idle ones so that each of `blocks` thread blocks has equally many and keeps its own share.

    empty: the region of the idle strips. Its only output reads no pixel and belongs to no piece;
    an idle strip takes one step.
    """
    each = -(-len(strips) // blocks)
    idle = zeros(blocks * each, STRIP)
    idle["region"] = empty
    idle["rows"] = idle["cols"] = idle["step"] = 1
    found = matrix(idle)
    number = torch.arange(blocks + 1) * len(strips) // blocks  # the kernel's division of the strips
    owner = torch.searchsorted(number, torch.arange(len(strips)), right=True) - 1
    found[owner * each + torch.arange(len(strips)) - number[owner]] = strips
    return found


_Shape = tuple[tuple[int, int], bytes]  # a region's rows and columns, and the places of its pieces
_PLACE = ("top", "left", "rows", "cols")  # a piece's fields that decide which pool windows it has


def _shapes(regions: RegionList) -> tuple[list[_Shape], np.ndarray]:
    """The distinct shapes of regions and the index of each region's shape: regions of one shape are cut alike."""
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
    """The steps of the busiest thread block."""
    steps = np.concatenate([[0], np.cumsum(-(-strips["rows"] // strips["step"]))])
    blocks = min(blocks, len(strips))
    bounds = len(strips) * np.arange(blocks + 1) // max(blocks, 1)
    return int(np.diff(steps[bounds]).max(initial=0))


@lru_cache(maxsize=8192)
def _cut(extents: tuple[int, int], pieces: bytes, pool: Pool, config: CudaConfig, parts: int) -> Rows:
    """One region's strips: `parts` below each other, and as many beside each other as take the fewest steps.

    pieces: `_PLACE` of each, int64.
    """
    starts = _starts(pieces, pool)
    if not starts[0] or not starts[1]:
        return zeros(0, STRIP)
    down = _evenly(starts[0], extents[0], pool.size, min(parts, max(1, extents[0] // (_LEAST_ROWS * pool.size))))
    best: tuple[int, _Beside] | None = None
    taken: dict[int, int] = {}  # steps down all parts, keyed by the rows of a step
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
    """Every division of the columns into strips that fit."""
    found = []
    for count in range(1, max(1, -(-extent // 12)) + 1):
        across = _evenly(starts, extent, pool, count)
        steps = [rows_of(config, cols) for _, cols, _ in across]
        if min(steps) >= 1:
            found.append(tuple((*strip, step) for strip, step in zip(across, steps, strict=True)))
    return tuple(found)


def _evenly(starts: Sequence[int], extent: int, pool: int, count: int) -> list[tuple[int, int, int]]:
    """Pool windows divided evenly: each part's first output, its outputs, and the outputs in which its windows start."""
    count = min(count, len(starts))
    bounds = [len(starts) * i // count for i in range(count + 1)]
    parts = []
    for low, high in pairwise(bounds):
        first, last = starts[low], starts[high - 1]
        parts.append((first, min(last + pool, extent) - first, last - first + 1))
    return parts
