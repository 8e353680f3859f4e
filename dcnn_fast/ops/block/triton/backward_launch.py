"""The backward of the block in Triton (kernels: backward_kernels.py). The same bits in every run, no atomics.

Where the forward kept hits, the kernels of the gradients of the input and of the weights build the gradient of the
convolution's output, tile by tile and tap by tap, from the gradient `u` of the pool's output, or read it from memory, where a
kernel of its own wrote it once (conv_gradient.py chooses; the bits are the same). Gradients of weight and bias are sums over
all positions, cut into slices by the problem's shape alone and added in a fixed order; an image's share of the gradient of x
does not depend on the batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from dcnn_fast.ops.block.backend import Gradients, Needs, Operands, Saved
from dcnn_fast.ops.block.gpu.problem import power_of_two, relu_last
from dcnn_fast.ops.block.params import BlockParams
from dcnn_fast.ops.block.triton import conv_gradient
from dcnn_fast.ops.block.triton.backward_tile import Tile, cdiv, run_kernel, sides
from dcnn_fast.ops.block.triton.conv_gradient import Way
from dcnn_fast.ops.block.triton.tail_launch import norm_gradient, tail_gradient
from dcnn_fast.ops.launch import capability

_CHUNK_BYTES = 64 << 20  # of planes as large as the convolution's output, where it is computed again
_PARTIAL_BYTES = 64 << 20  # of partial sums over slices
_PROGRAMS = 1024  # that a sum over positions is cut into, several for each multiprocessor of any GPU
_MOST = 1 << 30  # counted in 32 bits, with room for the last tile
_BLOCK = 1024  # elements of a program that adds slices
_run = partial(run_kernel, "backward_kernels")


@dataclass(frozen=True)
class Products:
    """What `tl.dot` multiplies: operands of `dtype`, those of float32 with `precision`."""

    dtype: torch.dtype
    precision: str

    @classmethod
    def of(cls, params: BlockParams) -> Products:
        """16-bit weights are multiplied as they are, those of float32 as the options name it. Raises ValueError for others."""
        dtype, named = params.weight_dtype, params.options.precision
        own = {torch.float32: "ieee", torch.float16: "fp16", torch.bfloat16: "bf16"}.get(dtype)
        if own is None:
            raise ValueError(f"weights must be float32, float16 or bfloat16, got {dtype}")
        if named in ("ieee", own) or (named == "tf32" and dtype != torch.float32):  # which rounds no 16-bit value
            return cls(dtype, "ieee")
        if dtype != torch.float32 or named == "bf16x3":
            raise ValueError(f"the Triton backward has no {named} for {dtype}")
        if named == "tf32":
            return cls(dtype, "tf32")
        return cls(torch.bfloat16 if named == "bf16" else torch.float16, "ieee")


@dataclass(frozen=True)
class Gradient:
    """The gradient of the convolution's output as `conv_gradient` builds it.

    u: [N, F, rows, cols], as large as the result ("mask", "hits") or as the convolution's output ("direct"). passed: the result
    or the hits, as large as u; unused in mode "direct".
    """

    u: Tensor
    passed: Tensor
    mode: str


def refused(params: BlockParams) -> str | None:
    """None, or the sentence that says what it does not do. Positions, pixels and weights are counted in 32 bits."""
    try:
        Products.of(params)
    except ValueError as error:
        return str(error)
    pixels = params.images * (params.height + params.options.stride) * (params.width + params.options.stride)
    for what, count in (
        ("outputs of the convolution for each filter", _positions(params)),
        ("pixels", pixels),
        ("weights", params.filters * params.depth),
    ):
        if count > _MOST:
            return f"the Triton backward takes at most {_MOST} {what}, not {count}"
    return None


def gradients(
    params: BlockParams, operands: Operands, x: Tensor, saved: Saved, grad: Tensor, needs: Needs, way: Way | None = None
) -> Gradients:
    """Gradients of x, weight and bias from `grad` of the result, in their dtypes and channels_last; None where not needed.

    way: where the gradient of the convolution is to be, for problems that have a choice; None for what `choice` says.
    """
    last = torch.channels_last
    weight, bias = operands.weight, operands.bias
    wanted = Gradients(
        torch.empty_like(x, memory_format=last) if needs.x else None,
        torch.empty_like(weight, memory_format=last) if needs.weight else None,
        torch.empty_like(bias, memory_format=torch.contiguous_format) if needs.bias and bias is not None else None,
    )
    run(params, operands, x, saved, grad, wanted, way)
    return wanted


def run(
    params: BlockParams, operands: Operands, x: Tensor, saved: Saved, grad: Tensor, wanted: Gradients, way: Way | None = None
) -> None:
    """`gradients` into the tensors `wanted` (channels_last). Raises ValueError for more positions or pixels than it counts."""
    if why := refused(params):
        raise ValueError(why)
    if params.images == 0:
        for tensor in (wanted.x, wanted.weight, wanted.bias):
            if tensor is not None:
                tensor.zero_()
        return
    options = params.options
    grad, x, weight = (_dense(tensor) for tensor in (grad, x, operands.weight))
    if params.kept.again:
        _run_in_chunks(params, replace(operands, weight=weight), x, grad, wanted)
        return
    values, hits = saved.values, saved.hits
    u = grad
    if options.norm is not None:
        assert values is not None
        u = torch.empty_like(grad, dtype=params.weight_dtype)
        norm_gradient(grad, _dense(values), u, options.norm, masked=options.pool is None)
    if options.pool is not None:
        assert hits is not None
        gradient = Gradient(u, _dense(hits), "hits")
    elif options.norm is not None:
        gradient = Gradient(u, u, "direct")
    else:
        assert values is not None
        gradient = Gradient(u, _dense(values), "mask")
    if wanted.x is not None or wanted.weight is not None:
        if way is None and (found := conv_gradient.choice(params, capability(x.device))) is not None:
            way = found.way
        multiplied = in_memory(gradient, params) if way == "memory" and gradient.mode == "hits" else gradient
        of_operands(multiplied, x, weight, wanted, params)
    if wanted.bias is not None:
        _BiasSum(params, gradient, x.device).add(gradient, wanted.bias)


def of_operands(gradient: Gradient, x: Tensor, weight: Tensor, wanted: Gradients, params: BlockParams) -> None:
    """The gradients of x and weight of all images, where wanted, from that of the convolution's output."""
    if wanted.x is not None:
        _input_gradient(gradient, weight, wanted.x, params)
    if wanted.weight is not None:
        _WeightSum(params, x.device, gradient.mode).add(gradient, x, wanted.weight, params)


def in_memory(gradient: Gradient, params: BlockParams) -> Gradient:
    """The same gradient of the convolution's output in memory, in the format of the products' operands.

    Raises ValueError where `conv_gradient.refused` says why not.
    """
    if why := conv_gradient.refused(params):
        raise ValueError(f"no gradient of {params} in memory: {why}")
    out = _plane(params, gradient.u.device, Products.of(params).dtype)
    extents, positions = _extents(gradient, params), _positions(params)
    args: dict[str, Any] = {
        "u": gradient.u, "passed": gradient.passed, "out": out, "positions": positions,
        **{name: extents[name] for name in ("conv_rows", "conv_cols", "u_rows", "u_cols")},
    }  # fmt: skip
    tile = Tile(32, min(64, power_of_two(params.filters)), 1)  # of 64 rows it spilled on three GPUs
    constants = {"FILTERS": params.filters, **_tail(gradient, params), **sides(tile)}
    grid = cdiv(positions, tile.rows), cdiv(params.filters, tile.columns)
    run_kernel("conv_gradient_kernels", "block_bwd_conv_gradient_kernel", grid, args, constants, tile)
    return Gradient(out, out, "direct")


def _run_in_chunks(params: BlockParams, operands: Operands, x: Tensor, grad: Tensor, wanted: Gradients) -> None:
    """`run` where the convolution is computed again, for so many images at a time as `_CHUNK_BYTES` hold, at least one.

    A norm between the convolution and the pool makes every gradient depend on a neighbourhood of the convolution's outputs, a
    pool without hits on the maxima of its windows, and a ReLU that comes last on all before it. They need the outputs several
    times over, and each is a sum of thousands of products: a chunk's outputs are written to memory once and read from there,
    and so is their gradient.
    """
    chunk = _images_of_chunk(params)
    whole = replace(params, images=min(chunk, params.images))
    weight_sum = None if wanted.weight is None else _WeightSum(whole, x.device, "direct")
    bias_sum: _BiasSum | None = None
    for start in range(0, params.images, chunk):
        images = slice(start, start + chunk)
        part = replace(params, images=len(range(params.images)[images]))
        last = start + chunk >= params.images
        outputs = _plane(part, x.device, torch.float32)
        _conv_again(x[images], operands, outputs, part)
        u = tail_gradient(grad[images], outputs, part)
        gradient = Gradient(u, u, "direct")
        if wanted.x is not None:
            _input_gradient(gradient, operands.weight, wanted.x[images], part)
        if weight_sum is not None:
            weight_sum.add(gradient, x[images], wanted.weight if last else None, part)
        if wanted.bias is not None:
            bias_sum = bias_sum or _BiasSum(whole, gradient, x.device)
            bias_sum.add(gradient, wanted.bias if last else None)


def _images_of_chunk(params: BlockParams) -> int:
    _, filters, rows, cols = params.conv_shape
    options = params.options
    pool_first = options.pool is not None and not options.norm_first
    planes = 2 if options.norm is None or pool_first else 6
    return max(1, _CHUNK_BYTES // (planes * 4 * filters * rows * cols))


class _Sum:
    """A sum over positions, a chunk of images after another: [1 + slices, count] partial sums, slot 0 what earlier chunks gave.

    positions: those of the largest chunk. depth: positions that a program adds at a time.
    """

    def __init__(self, positions: int, count: int, tiles: int, depth: int, device: torch.device) -> None:
        most = min(cdiv(_PROGRAMS, tiles), max(1, _PARTIAL_BYTES // (4 * count)))
        self.share = cdiv(cdiv(positions, most), depth) * depth
        self.partial = torch.empty(1 + cdiv(positions, self.share), count, dtype=torch.float32, device=device)
        self.chunks = 0

    def finish(self, slices: int, out: Tensor | None) -> None:
        """Add the slices of a chunk to what there was, into `out` or, where None, into slot 0."""
        count = self.partial.shape[1]
        target = self.partial[0] if out is None else out
        args: dict[str, Any] = {
            "partial": self.partial,
            "out": target,
            "first": 0 if self.chunks else 1,
            "slices": 1 + slices,
            "count": count,
        }
        _run("block_bwd_add_slices_kernel", (cdiv(count, _BLOCK),), args, {"BLOCK": _BLOCK}, Tile(1, _BLOCK, 1))
        self.chunks += 1


class _WeightSum:
    """The gradient of the weights of one chunk of images after another. mode: of the `Gradient` of every chunk."""

    def __init__(self, params: BlockParams, device: torch.device, mode: str) -> None:
        self.tile = weight_tile(params, mode)
        groups = params.options.groups
        self.tiles = cdiv(params.filters // groups, self.tile.rows) * cdiv(params.depth, self.tile.columns)
        count = params.filters * params.depth
        self.sum = _Sum(_positions(params), count, self.tiles * groups, self.tile.depth, device)

    def add(self, gradient: Gradient, x: Tensor, out: Tensor | None, params: BlockParams) -> None:
        """One chunk's share; `out` [F, C / groups, S, S] is written where it is the last."""
        positions = _positions(params)
        slices = cdiv(positions, self.sum.share)
        args: dict[str, Any] = {
            "u": gradient.u, "passed": gradient.passed, "x": x, "partial": self.sum.partial[1:], "positions": positions,
            "share": self.sum.share, **_extents(gradient, params),
        }  # fmt: skip
        tile = self.tile
        constants = {
            **_convolution(params), **_tail(gradient, params), **_dot(params), **sides(tile, depth=True),
            "GATHER": _group_channels(params) % tile.columns != 0,
        }  # fmt: skip
        grid = (self.tiles, slices, params.options.groups)
        _run("block_bwd_weight_kernel", grid, args, constants, tile)
        self.sum.finish(slices, out)


class _BiasSum:
    """The gradient of the bias of one chunk of images after another."""

    def __init__(self, params: BlockParams, gradient: Gradient, device: torch.device) -> None:
        filters = params.filters
        self.first = params.options.ties == "first"
        self.tile = Tile(1, min(64, power_of_two(filters)), 32)
        self.tiles = cdiv(filters, self.tile.columns)
        self.sum = _Sum(gradient.u.numel() // filters, filters, self.tiles, self.tile.depth, device)

    def add(self, gradient: Gradient, out: Tensor | None) -> None:
        """One chunk's share; `out` [F] is written where it is the last."""
        filters = gradient.u.shape[1]
        positions = gradient.u.numel() // filters
        slices = cdiv(positions, self.sum.share)
        args: dict[str, Any] = {
            "u": gradient.u, "passed": gradient.passed, "partial": self.sum.partial[1:], "positions": positions,
            "share": self.sum.share,
        }  # fmt: skip
        constants = {
            "FILTERS": filters, "MODE": gradient.mode, "TIES_FIRST": self.first, "BN": self.tile.columns, "BK": self.tile.depth,
        }  # fmt: skip
        _run("block_bwd_bias_kernel", (self.tiles, slices), args, constants, self.tile)
        self.sum.finish(slices, out)


def _input_gradient(gradient: Gradient, weight: Tensor, grad_x: Tensor, params: BlockParams) -> None:
    """grad_x [N, C, H, W], every element of it."""
    options, tile = params.options, input_tile(params, gradient.mode)
    # So many rows and columns of each phase: some of them may lie beside the image, which the kernel sees.
    phase_rows, phase_cols = (
        (extent - 1 + options.padding) // options.stride - options.padding // options.stride + 1
        for extent in (params.height, params.width)
    )
    pixels = params.images * phase_rows * phase_cols
    args: dict[str, Any] = {
        "u": gradient.u, "passed": gradient.passed, "weight": weight, "grad_x": grad_x, "pixels": pixels,
        **_extents(gradient, params), "phase_rows": phase_rows, "phase_cols": phase_cols,
    }  # fmt: skip
    constants = {**_convolution(params), **_tail(gradient, params), **_dot(params), **sides(tile, depth=True)}
    channels = cdiv(_group_channels(params), tile.columns)
    grid = (cdiv(pixels, tile.rows), channels * options.stride**2, options.groups)
    _run("block_bwd_input_kernel", grid, args, constants, tile)


def _conv_again(x: Tensor, operands: Operands, out: Tensor, params: BlockParams) -> None:
    """out [N, F, rows, cols] = the convolution's output in float32, after the ReLU unless that comes last."""
    weight, bias = operands.weight, operands.bias
    tile, groups, positions = conv_tile(params), params.options.groups, _positions(params)
    args: dict[str, Any] = {
        "x": x, "weight": weight, "bias": weight if bias is None else bias.contiguous(), "out": out, "positions": positions,
        "height": params.height, "width": params.width, "conv_rows": out.shape[2], "conv_cols": out.shape[3],
    }  # fmt: skip
    constants = {
        **_convolution(params), "BIASED": bias is not None, "RELU_LAST": relu_last(params), **_dot(params),
        **sides(tile, depth=True), "GATHER": _group_channels(params) % tile.depth != 0,
    }  # fmt: skip
    grid = (cdiv(positions, tile.rows), cdiv(params.filters // groups, tile.columns), groups)
    _run("block_bwd_conv_again_kernel", grid, args, constants, tile)


def weight_tile(params: BlockParams, mode: str) -> Tile:
    """Tile of the weights' gradient: filters by columns (taps and channels), and positions at a time.

    mode: of the `Gradient`. Sides and depth are the same in every mode: they say how a sum is cut into slices, and so its bits.
    """
    channels = _group_channels(params)
    rows = _fitting(params.filters // params.options.groups, 64)
    columns = next((side for side in (64, 32) if channels % side == 0), 64)
    warps = 4 if Products.of(params).dtype != torch.float32 and mode != "hits" else 8
    depth = _depth(params, params.weight_dtype)
    return Tile(rows, min(columns, _fitting(params.depth, 64)), depth, warps, _stages(params, mode))


def input_tile(params: BlockParams, mode: str) -> Tile:
    """Tile of x's gradient: pixels by channels, and filters at a time. Warps and stages as compiling for every GPU showed.

    mode: of the `Gradient`. One that was written to memory instead of built from hits leaves room for larger tiles.
    """
    columns, filters = _fitting(_group_channels(params), 64), params.filters // params.options.groups
    halves = Products.of(params).dtype != torch.float32
    depth = _fitting(filters, _depth(params, Products.of(params).dtype))
    if params.kept.hits and mode == "direct":
        return Tile(128, columns, _fitting(filters, 64), 8, 3) if halves else Tile(64, columns, depth, 8, 2)
    if mode == "hits" and params.weight_dtype != torch.float32 and columns > 32:
        return Tile(64, columns, depth, 4, _stages(params, mode))
    return Tile(64, columns, depth, 8, 1 if mode != "hits" or columns <= 32 else _stages(params, mode))


def _depth(params: BlockParams, dtype: torch.dtype) -> int:
    """Products at a time: 32, or 16 where more of `dtype` would not fit the registers, as compiling for every GPU showed."""
    ieee = Products.of(params) == Products(torch.float32, "ieee")
    return 16 if ieee or (params.kept.hits and dtype == torch.float32) else 32


def _stages(params: BlockParams, mode: str) -> int:
    """Two, of which one is loaded while the other is multiplied, where the windows that cover an output leave shared memory."""
    pool = params.options.pool
    return 2 if pool is None or mode != "hits" or cdiv(pool.size, pool.stride) <= 2 else 1


def conv_tile(params: BlockParams) -> Tile:
    """Tile of the convolution: positions by filters, and columns (taps and channels) at a time."""
    exact = Products.of(params) == Products(torch.float32, "ieee")
    columns = _fitting(params.filters // params.options.groups, 32 if exact else 64)
    return Tile(64, columns, _depth(params, params.weight_dtype), 8)


def _fitting(extent: int, most: int) -> int:
    """The least power of 2 that holds `extent`, between 16, the least side of `tl.dot`, and `most`."""
    return min(most, max(16, power_of_two(extent)))


def _plane(params: BlockParams, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Room for the convolution's output or its gradient."""
    return torch.empty(params.conv_shape, dtype=dtype, device=device, memory_format=torch.channels_last)


def _positions(params: BlockParams) -> int:
    images, _, rows, cols = params.conv_shape
    return images * rows * cols


def _group_channels(params: BlockParams) -> int:
    return params.channels // params.options.groups


def _extents(gradient: Gradient, params: BlockParams) -> Mapping[str, int]:
    """Rows and columns of x, of the convolution's output and of u, as the kernels take them."""
    _, _, conv_rows, conv_cols = params.conv_shape
    return {
        "height": params.height, "width": params.width, "conv_rows": conv_rows, "conv_cols": conv_cols,
        "u_rows": gradient.u.shape[2], "u_cols": gradient.u.shape[3],
    }  # fmt: skip


def _convolution(params: BlockParams) -> Mapping[str, Any]:
    options = params.options
    return {
        "CHANNELS": params.channels, "FILTERS": params.filters, "GROUPS": options.groups, "SIZE": params.size,
        "STRIDE": options.stride, "PADDING": options.padding,
    }  # fmt: skip


def _tail(gradient: Gradient, params: BlockParams) -> Mapping[str, Any]:
    """What `conv_gradient` takes."""
    pool = params.options.pool if gradient.mode == "hits" else None
    size, stride = (1, 1) if pool is None else (pool.size, pool.stride)
    return {"MODE": gradient.mode, "POOL": size, "POOL_STRIDE": stride, "TIES_FIRST": params.options.ties == "first"}


def _dot(params: BlockParams) -> Mapping[str, Any]:
    products = Products.of(params)
    dtype = getattr(import_module("triton.language"), str(products.dtype).removeprefix("torch."))
    return {"OPERAND": dtype, "PRECISION": products.precision}


def _dense(tensor: Tensor) -> Tensor:
    return tensor.contiguous(memory_format=torch.channels_last)
