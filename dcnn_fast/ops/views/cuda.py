"""Views in CUDA C++: the host code for csrc/cuda/views/planes.cu, which cuts photographs of any sizes in one launch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dcnn_fast.ops.computed_once import computed_once
from dcnn_fast.ops.device_tables import Packed, packed
from dcnn_fast.ops.gpus import LEAST_CAPABILITY, SECTOR, named
from dcnn_fast.ops.launch import CudaKernel, Launch, capability, cuda_refused, launch
from dcnn_fast.ops.records import CUT, CUT_CHUNK, CUT_TILE
from dcnn_fast.ops.tables import Rows, matrix, records, zeros
from dcnn_fast.ops.views.backend import Cutting, ViewsBackend
from dcnn_fast.ops.views.cuts import Cut, CutList
from dcnn_fast.ops.views.filters import bilinear

KERNEL = CudaKernel(
    "views/planes.cu", "views_planes_kernel",
    ("cuts", "tiles", "chunks", "filters", "weights", "mean_r", "mean_g", "mean_b", "scale", "background"),
)  # fmt: skip
OUTPUTS = {torch.uint8: 0, torch.float16: 1, torch.bfloat16: 2}

# The kernel's constants: bytes of its stage and its ring, and the warps of a thread block.
_STAGE, _RING, _WARPS = 32768, 14336, 8
_GROUPS = (32, 16, 8, 4, 2, 1)  # source rows staged at a time; the fewer, the longer they may be
_WIDTHS, _HEIGHTS = (1, 2, 4, 8, 16, 32, 64, 128, 256), (8, 16, 32, 64, 128, 256)
_LEAST = 256  # fewest outputs of a tile, one per thread, where the image has that many
_ALLOWED, _MOST = 1.2, 1.25  # bytes read / bytes needed: the smallest tile within the first, else the second, is taken
_FEW = 4  # most cuts of a launch whose tables are cached
_MAX_SIDE = 2**24  # the kernel's offsets inside an image's row have 32 bits


class CudaViews(ViewsBackend):
    """Views by one launch of the kernel."""

    def can_run(self, params: CutList, device: torch.device) -> str | None:
        """None when the kernel can make the cuts on the device, else one sentence that says why not."""
        if why := cuda_refused(device):
            return why
        if (found := capability(device)) < LEAST_CAPABILITY:
            return f"the kernel needs compute capability {named(LEAST_CAPABILITY)}, not {named(found)}"
        for cut in params.cuts:
            if max(cut.params.height, cut.params.width) > _MAX_SIDE or not _fits(cut):
                return f"a photograph of {cut.params.width} x {cut.params.height} is too long for a tile's memory"
        return None

    def run(self, cutting: Cutting) -> None:
        """Write every cut to its output; one launch."""
        if cutting.cuts:
            launch(launch_of(cutting))


BACKEND = CudaViews()


def launch_of(cutting: Cutting) -> Launch:
    """The launch of `CudaViews.run`."""
    images, cuts, outputs, background = cutting.images, cutting.cuts, cutting.outputs, cutting.background
    device = outputs[0].device
    asked = tuple((cut, images[cut.image].shape[2]) for cut in cuts)
    tables = _kept_tables(asked) if len(cuts) <= _FEW else _tables_of(asked)
    tables = tables.copy()
    rows = records(tables.table("cuts"), CUT)
    for row, cut, output in zip(rows, cuts, outputs, strict=True):
        row["address"], row["pitch"], row["out"] = images[cut.image].data_ptr(), images[cut.image].stride(0), output.data_ptr()
    red, green, blue = (float(value) for value in (tuple(cutting.mean) or (0.0, 0.0, 0.0)))
    args: dict[str, Any] = {
        **tables.placed(device),
        "mean_r": red, "mean_g": green, "mean_b": blue, "scale": float(cutting.scale),
        "background": background[0] | background[1] << 8 | background[2] << 16,
    }  # fmt: skip
    read = {cut.image: images[cut.image] for cut in cuts}
    return Launch(
        KERNEL, (len(args["tiles"]),), args, {"OUT": OUTPUTS[outputs[0].dtype]}, _WARPS, reads=list(read.values()),
        writes=list(outputs),
    )  # fmt: skip


def _tables_of(cuts: tuple[tuple[Cut, int], ...]) -> Packed:
    """The kernel's tables (records of csrc/core/tables.h) for (cut, photograph's channels) pairs, without addresses."""
    growing = _Growing()
    for cut, channels in cuts:
        growing.add(cut, channels)
    return growing.tables()


_kept_tables = lru_cache(maxsize=64)(_tables_of)  # photographs come in few sizes, and whole planes have no random offsets


class _Growing:
    """Builds the kernel's tables cut by cut."""

    def __init__(self) -> None:
        self._cuts: list[tuple[int, ...]] = []
        self._tiles: list[Rows] = []
        self._chunks: list[Rows] = []
        self._filters: list[Rows] = []
        self._weights: list[np.ndarray[Any, Any]] = []
        self._known: dict[tuple[int, int, int, int, bool], int] = {}
        self._counts = {"chunks": 0, "filters": 0, "weights": 0}

    def add(self, cut: Cut, channels: int) -> None:
        (height, width), (top, left) = cut.params.resized, cut.origin
        rows, cols = _wanted(cut)
        axis_y = self._axis(cut.params.height, height, rows, False)
        axis_x = self._axis(cut.params.width, width, cols, True)
        number = len(self._cuts)
        self._cuts.append(
            (0, 0, channels, cut.params.height, cut.params.width, 0, cut.width, axis_x + left, axis_y + top, int(cut.flip))
        )
        tiles = _tiles(cut, channels)
        assert tiles is not None, cut
        own = tiles.rows.copy()
        own["cut"] = number
        own["first"] += self._counts["chunks"]
        self._tiles.append(own)
        self._counts["chunks"] += len(tiles.chunks)
        self._chunks.append(tiles.chunks)
        self._tiles.append(np.array([(number, *rectangle, 0, 0, 0) for rectangle in _outside(cut)], CUT_TILE))

    def tables(self) -> Packed:
        return packed({
            "cuts": matrix(np.array(self._cuts, CUT)), "tiles": _joined(self._tiles), "chunks": _joined(self._chunks),
            "filters": _joined(self._filters), "weights": torch.from_numpy(np.concatenate(self._weights)),
        })  # fmt: skip

    def _axis(self, size: int, target: int, outputs: range, across: bool) -> int:
        """The table index of a filter's output 0, which may lie before its entries; a known filter is not entered again."""
        if not outputs:
            return 0
        filter_, start = bilinear(size, target, outputs)
        key = size, target, start, len(filter_.entries), across
        if key not in self._known:
            entries = filter_.entries.copy()
            entries["weights"] += self._counts["weights"]
            weights = filter_.cut_quads if across else filter_.quads
            self._known[key] = self._counts["filters"] - start
            self._counts["filters"] += len(entries)
            self._counts["weights"] += len(weights)
            self._filters.append(entries)
            self._weights.append(weights)
        return self._known[key]


def _joined(tables: Sequence[Rows]) -> Tensor:
    return matrix(np.concatenate(tables))


@lru_cache(maxsize=1024)
def _fits(cut: Cut) -> bool:
    """Whether tiles of one column fit the stage and the ring, whatever the photograph's channels, both for this cut and for a
    cut of its size in the middle, by which tiles' sides are chosen.
    """
    wanted = _wanted(cut)
    if not wanted[0] or not wanted[1]:
        return True
    source, resized = (cut.params.height, cut.params.width), cut.params.resized
    return _fitting(source, resized, wanted) and _fitting(
        source, resized, _middle(resized, (len(wanted[0]), len(wanted[1])))
    )  # fmt: skip


@lru_cache(maxsize=1024)
def _fitting(source: tuple[int, int], resized: tuple[int, int], outputs: tuple[range, range]) -> bool:
    rows, cols = (_Axis(*sides) for sides in zip(source, resized, outputs, strict=True))
    return _group(rows, cols, 1, 4) is not None


def _wanted(cut: Cut) -> tuple[range, range]:
    """The rows and columns of the resized photograph inside the cut."""
    rows, cols = (
        range(inside.start + first, inside.stop + first) for inside, first in zip(cut.inside, cut.origin, strict=True)
    )
    return rows, cols


def _middle(resized: tuple[int, int], extent: tuple[int, int]) -> tuple[range, range]:
    """The ranges of `extent` rows and columns in the middle of the resized photograph."""
    rows, cols = (range((side - part) // 2, (side + part) // 2) for side, part in zip(resized, extent, strict=True))
    return rows, cols


@dataclass(frozen=True)
class _Tiles:
    """The tiles of one cut and their chunks, numbered from 0: records of csrc/core/tables.h, in pixels of the cut."""

    rows: Rows
    chunks: Rows


def _tiles(cut: Cut, channels: int) -> _Tiles | None:
    return _tiles_of((cut.params.height, cut.params.width), cut.params.resized, cut.origin, _wanted(cut), channels)


@lru_cache(maxsize=1024)
def _tiles_of(
    source: tuple[int, int], resized: tuple[int, int], origin: tuple[int, int], outputs: tuple[range, range], channels: int
) -> _Tiles | None:
    """Tiles of the rows and columns `outputs` of the resized photograph; None where no tile fits the kernel's memory."""
    if not outputs[0] or not outputs[1]:
        return _Tiles(zeros(0, CUT_TILE), zeros(0, CUT_CHUNK))
    side = _side(source, resized, (len(outputs[0]), len(outputs[1])), channels)
    if side is None:
        return None
    rows, cols = (_Axis(*sides) for sides in zip(source, resized, outputs, strict=True))
    m, n = side
    while (group := _group(rows, cols, n, channels)) is None:
        if n == 1:
            return None
        n //= 2
    top, left = (wanted.start - first for wanted, first in zip(outputs, origin, strict=True))
    tiles: list[tuple[int, ...]] = []
    chunks: list[tuple[int, int, int, int]] = []
    for col in range(0, len(cols.first), n):
        count, first = min(n, len(cols.first) - col), len(chunks)
        chunks += [(start + left, run, pixel, words) for start, run, pixel, words in _chunks(cols, col, count, group, channels)]
        for row in range(0, len(rows.first), m):
            tiles.append((0, col + left, count, row + top, min(m, len(rows.first) - row), group, first, len(chunks) - first))
    return _Tiles(np.array(tiles, CUT_TILE), np.array(chunks, CUT_CHUNK))


@lru_cache(maxsize=1024)
def _side(source: tuple[int, int], resized: tuple[int, int], extent: tuple[int, int], channels: int) -> tuple[int, int] | None:
    """Rows and columns of the smallest tiles (for parallelism) that read little more than the bytes needed; None where no tile
    fits.

    Where the photograph shrinks, a tile of m x n outputs reads the pixels of (m + 1) x (n + 1), in whole sectors, and weights.
    For small photographs, where this excess is never small beside the bytes needed, the bytes written count too. A lane takes
    a row, so tiles are narrow enough to have the most rows staged. Outputs are judged as if they lay in the middle, wherever
    they lie.
    """
    rows, cols = (_Axis(*sides) for sides in zip(source, resized, _middle(resized, extent), strict=True))
    need = rows.reach * cols.reach * channels
    written = 8 * extent[0] * extent[1]
    ranked: list[tuple[float, ...]] = []
    down = [(m, int(spans.sum()), len(spans)) for m in _HEIGHTS for spans in (rows.spans(m),)]
    for n in _WIDTHS:
        if (group := _group(rows, cols, n, channels)) is None:
            continue
        wide = cols.spans(n)
        # Bytes of whole sectors; rows are contiguous, so only partial rows read sectors in part.
        across = int((channels * wide + np.where(wide == cols.size, 0, SECTOR)).sum())
        for m, tall, count in down:
            read = tall * across + cols.table_bytes * count + rows.table_bytes * len(wide)
            alone, together = read / need, (read + written) / (need + written)
            small = min(n, extent[1]) * min(m, extent[0]) < min(_LEAST, extent[0] * extent[1])
            if alone <= _MOST or together <= _ALLOWED:
                ranked.append((-group, small, (alone > _ALLOWED) + (alone > _MOST), n * m, together, m, n))
            else:
                ranked.append((-group, small, 3, together, n * m, m, n))
    if not ranked:
        return None
    m, n = map(int, min(ranked)[-2:])
    return m, n


class _Axis:
    """The outputs wanted along one axis: their first pixels, the ends of their pixels, their taps in groups of four."""

    def __init__(self, size: int, target: int, outputs: range) -> None:
        filter_, start = bilinear(size, target, outputs)
        entries = filter_.entries[outputs.start - start : outputs.stop - start]
        self.size = size
        self.first, self.taps, self.quads = (entries[name].astype(np.int64) for name in ("first", "taps", "quads"))
        self.end = self.first + self.taps

    @property
    def reach(self) -> int:
        """Number of pixels that the outputs depend on."""
        return int(self.end.max() - self.first.min())

    def spans(self, count: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        """The number of pixels that each run of `count` outputs depends on."""
        starts = np.arange(0, len(self.first), count)
        spans: np.ndarray[Any, np.dtype[np.int64]] = np.maximum.reduceat(self.end, starts) - self.first[starts]
        return spans

    @computed_once
    def table_bytes(self) -> int:
        """Bytes of the filter's entries and weights."""
        return 16 * (len(self.first) + int(self.quads.sum()))


def _group(rows: _Axis, cols: _Axis, n: int, channels: int) -> int | None:
    """The most source rows that fit the ring and whose part under the longest filter fits the stage; None if no row does."""
    planes = 1 if channels == 1 else 3
    pitch = 4 * ((min(n, len(cols.first)) * planes + 3) // 4 | 1)
    tall, words = int(rows.taps.max()), _words(4 * int(cols.quads.max()), channels)
    for group in _GROUPS:
        if words <= _staged_words(group) and tall + group <= _RING // pitch:
            return group
    return None


def _staged_words(group: int) -> int:
    """The most words of a staged row, leaving room for the words before it in its first sector."""
    return _STAGE // 4 // group - SECTOR // 4


def _words(pixels: int, channels: int) -> int:
    """Words of a staged row: its bytes, and one word more that the last shift may read."""
    return -(-pixels * channels // 4) + 1


def _chunks(cols: _Axis, col: int, count: int, group: int, channels: int) -> list[tuple[int, int, int, int]]:
    """Runs of a tile's columns whose source pixels fit a staged row: (column, columns, first pixel, words)."""
    chunks = []
    most = _staged_words(group)
    first = cols.first[col : col + count].tolist()
    end = np.maximum.accumulate(cols.first + 4 * cols.quads)[col : col + count].tolist()
    start = 0
    while start < count:
        stop = start + 1
        while stop < count and _words(end[stop] - first[start], channels) <= most:
            stop += 1
        chunks.append((col + start, stop - start, first[start], _words(end[stop - 1] - first[start], channels)))
        start = stop
    return chunks


def _outside(cut: Cut) -> list[tuple[int, int, int, int]]:
    """Rectangles (col, cols, row, rows) of the cut that the photograph does not cover."""
    rows, cols = cut.inside
    if not rows or not cols:
        return [(0, cut.width, 0, cut.height)]
    found = [
        (0, cut.width, 0, rows.start), (0, cut.width, rows.stop, cut.height - rows.stop),
        (0, cols.start, rows.start, len(rows)), (cols.stop, cut.width - cols.stop, rows.start, len(rows)),
    ]  # fmt: skip
    return [rectangle for rectangle in found if rectangle[1] and rectangle[3]]
