"""The inverted residual block in Triton: one launch, in which each program computes a rectangle of one image.

Weights are packed once: transposed, so that a program reads maps or filters contiguously, and padded with zeros, so that it
reads without masks. The choice of rectangles changes no bits: all sums are in one order (triton_kernels.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

from dcnn_fast.ops import launch
from dcnn_fast.ops.gpus import MOST_REGISTERS, WARP
from dcnn_fast.ops.mbconv.backend import MbConvBackend, MbConvWeights, PreparedMbConv
from dcnn_fast.ops.mbconv.params import MbConvParams, same_padding

LARGEST = 8, 512  # filters' size and number: every rectangle has room for a window, and the smallest rectangle for these sums
_PIXELS = 256  # most per program
_WARPS = 8
_STEP = 16  # expanded maps, and channels, per step
_HELD = {"ieee": 80, "bf16": 144}  # most values per thread; more exceed the registers (devtools/kernel_report.csv)
_FEW = 40  # values per thread up to which the compiler, unless told otherwise, aims at 128 registers in fp32 and may spill
_COUNTED = 2**31  # the kernel counts in 32 bits


@dataclass(frozen=True)
class Tile:
    """rows, cols: a program's input pixels. out_rows, out_cols: the outputs that it has room for."""

    rows: int
    cols: int
    out_rows: int
    out_cols: int

    @property
    def pixels(self) -> int:
        return self.rows * self.cols

    @property
    def outputs(self) -> int:
        return self.out_rows * self.out_cols


@dataclass(frozen=True)
class Cut:
    """A division of an image among programs. own_rows, own_cols: outputs per program. down, across: numbers of programs."""

    tile: Tile
    own_rows: int
    own_cols: int
    down: int
    across: int

    @property
    def programs(self) -> int:
        return self.down * self.across


class TritonMbConv(MbConvBackend):
    """The block in Triton."""

    def can_run(self, params: MbConvParams, device: torch.device) -> str | None:
        """None, or one sentence that says why not."""
        if why := launch.refused(device):
            return why
        if params.dtype != torch.float32:
            return f"the Triton kernel takes float32, not {str(params.dtype).removeprefix('torch.')}"
        if params.precision not in _HELD:
            return f"the Triton kernel multiplies in ieee or bf16, not in {params.precision}"
        if params.size > LARGEST[0] or params.filters > LARGEST[1]:
            most = f"{LARGEST[1]} filters and depthwise filters of {LARGEST[0]} x {LARGEST[0]}"
            return f"the Triton kernel takes up to {most}, not {params.filters} and {params.size} x {params.size}"
        return _refused_sizes(params)

    def prepare(self, params: MbConvParams, weights: MbConvWeights) -> TritonPrepared:
        """The weights packed, in new memory."""
        return prepared(params, weights)


BACKEND = TritonMbConv()


@dataclass(frozen=True)
class TritonPrepared(PreparedMbConv):
    """A block's problem (its extents do not matter) and its weights, by the kernel's names."""

    params: MbConvParams
    weights: dict[str, Tensor]

    def run(self, x: Tensor) -> Tensor:
        """x: [N, channels, height, width] -> [N, filters, out_height, out_width] in channels_last memory."""
        images, _, height, width = x.shape
        params = replace(self.params, images=images, height=height, width=width)
        shape = (images, params.filters, params.out_height, params.out_width)
        out = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
        launch.launch(launch_of(params, self.weights, x, out))
        return out


def prepared(params: MbConvParams, weights: MbConvWeights) -> TritonPrepared:
    """The weights in the kernel's layout, in new memory."""
    operand = torch.bfloat16 if params.precision == "bf16" else torch.float32
    maps = _padded(params.expanded, _STEP)
    filters = _padded(params.filters, _STEP)
    (depthwise, depthwise_bias), (project, project_bias) = weights.depthwise, weights.project
    packed = {
        "depthwise": laid(depthwise.flatten(1).T, params.size**2, maps),
        "depthwise_bias": laid(depthwise_bias[None], 1, maps),
        "project": laid(project.T, maps, filters).to(operand),
        "project_bias": laid(project_bias[None], 1, filters),
    }
    packed |= {"expand": packed["depthwise"], "expand_bias": packed["depthwise_bias"]}  # not read where nothing is expanded
    if weights.expand is not None:
        packed["expand"] = laid(weights.expand[0].T, _padded(params.channels, _STEP), maps).to(operand)
        packed["expand_bias"] = laid(weights.expand[1][None], 1, maps)
    return TritonPrepared(params, packed)


def launch_of(
    params: MbConvParams, weights: dict[str, Tensor], x: Tensor, out: Tensor, cut: Cut | None = None
) -> launch.Launch:
    """The launch, which writes to `out` (channels_last). weights: as `prepared` packs them. cut: by default `cut_of(params)`.

    Raises ValueError for maps too large for the kernel's 32-bit counts.
    """
    from dcnn_fast.ops.mbconv.triton_kernels import mbconv_kernel  # noqa: PLC0415 - Triton on first use

    if why := _refused_sizes(params):
        raise ValueError(why)
    cut = cut_of(replace(params, images=1)) if cut is None else cut
    filters = _padded(params.filters, _STEP)
    halves, channels = params.precision == "bf16", _padded(params.channels, _STEP)
    depth = 32 if channels == 32 or (halves and channels % 32 == 0) else _STEP
    above, _, left, _ = params.padding
    return launch.Launch(
        mbconv_kernel,
        (params.images * cut.programs,),
        {
            "x": x.contiguous(memory_format=torch.channels_last), **weights, "out": out, "height": params.height,
            "width": params.width, "out_height": params.out_height, "out_width": params.out_width, "above": above, "left": left,
            "own_rows": cut.own_rows, "own_cols": cut.own_cols, "across": cut.across, "programs": cut.programs,
        },
        {
            "CHANNELS": params.channels, "MAPS": params.expanded, "FILTERS": params.filters, "SIZE": params.size,
            "STRIDE": params.stride, "EXPANDS": params.expands, "RESIDUAL": params.residual, "ROWS": cut.tile.rows,
            "COLS": cut.tile.cols, "OUT_ROWS": cut.tile.out_rows, "OUT_COLS": cut.tile.out_cols, "BE": _STEP, "BK": depth,
            "BF": _STEP, "PARTS": filters // _STEP,
        },
        warps=_WARPS,
        stages=2 if halves else 3,
        registers=MOST_REGISTERS if halves or _held(params, cut.tile) <= _FEW * _WARPS * WARP else None,
    )  # fmt: skip


@lru_cache(maxsize=1024)
def cut_of(params: MbConvParams) -> Cut:
    """The cheapest cut; of equally cheap ones that with the most programs. `images` does not matter."""
    return min(cuts(params), key=lambda cut: (_cost(params, cut), -cut.programs))


def cuts(params: MbConvParams) -> Iterator[Cut]:
    """Every possible cut of an image; all give the same bits."""
    for tile in _tiles(params):
        own_rows = owned(params.height, params.size, params.stride, tile.rows, tile.out_rows)
        own_cols = owned(params.width, params.size, params.stride, tile.cols, tile.out_cols)
        if own_rows and own_cols:
            yield Cut(tile, own_rows, own_cols, -(-params.out_height // own_rows), -(-params.out_width // own_cols))


def multiplications(params: MbConvParams, cut: Cut) -> int:
    """Multiply-adds of an image as in `MbConvParams.macs`, including the padding's and the tiles' excess."""
    return _work(params, cut, params.channels if params.expands else 0, 1)


def _cost(params: MbConvParams, cut: Cut) -> int:
    """`multiplications`, plus the costs of reading, bounding and laying out a pixel, and of shuffling and selecting a tap."""
    return _work(params, cut, 12 + (params.channels if params.expands else 0), 3)


def _work(params: MbConvParams, cut: Cut, pixel: int, tap: int) -> int:
    output = tap * params.size**2 + _padded(params.filters, _STEP)
    return cut.programs * _padded(params.expanded, _STEP) * (cut.tile.pixels * pixel + cut.tile.outputs * output)


@lru_cache(maxsize=1024)
def owned(extent: int, size: int, stride: int, pixels: int, most: int) -> int:
    """The outputs per program along an axis of `pixels` pixels per program, which start at its first output's first input and
    end with the map: the largest number up to `most` for which every program covers its windows; 0 if there is none.
    """
    before, _ = same_padding(extent, size, stride)
    outputs = -(-extent // stride)

    def fits(first: int, count: int) -> bool:
        last = (min(first + count, outputs) - 1) * stride - before + size - 1
        return min(last, extent - 1) < max(first * stride - before, 0) + pixels

    counts = range(min(most, outputs), 0, -1)
    return next((count for count in counts if all(fits(first, count) for first in range(0, outputs, count))), 0)


def _tiles(params: MbConvParams) -> Iterator[Tile]:
    """The tiles whose sums fit a program's registers."""
    halved = params.stride.bit_length() - 1  # a stride of two or three leaves at most half of the rows and columns
    room = _HELD[params.precision] * _WARPS * WARP
    for rows in (8, 16, 32):
        for cols in (8, 16, 32):
            if rows * cols <= _PIXELS:
                for out_rows in {rows >> halved, max(rows >> halved >> 1, 1)}:
                    tile = Tile(rows, cols, out_rows, max(cols >> halved, 1))
                    if _held(params, tile) <= room and (tile.outputs >= WARP or params.stride > 2):
                        yield tile


def _held(params: MbConvParams, tile: Tile) -> int:
    """Values held: the sums, and the expanded maps before and after the filters."""
    return tile.outputs * _padded(params.filters, _STEP) + 2 * tile.pixels * _STEP


def _refused_sizes(params: MbConvParams) -> str | None:
    """None, or one sentence that says why the problem is too large for the kernel's 32-bit counts."""
    row = max(params.width * params.channels, params.out_width * params.filters)
    weights = params.expanded * max(params.channels, params.filters)
    programs = params.images * params.height * params.width
    if max(32 * row, 2 * weights, programs) >= _COUNTED:
        return f"the Triton kernel counts pixels, weights and the values of 32 rows below 2**31, not {params}"
    return None


def laid(weight: Tensor, rows: int, cols: int) -> Tensor:
    """A copy of the matrix with zeros below and to the right, [rows, cols]."""
    laid = weight.new_zeros(rows, cols)
    laid[: weight.shape[0], : weight.shape[1]] = weight
    return laid


def _padded(count: int, of: int) -> int:
    return -(-count // of) * of
