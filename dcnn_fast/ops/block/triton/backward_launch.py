"""The backward of the block in Triton (kernels: backward_kernels.py). The same bits in every run, no atomics.

Where the forward kept hits or a result, the gradient of the convolution's output is never written to memory: the kernels of
the gradients of the input and of the weights build it, tile by tile, from the gradient `u` of the pool's output. Gradients of
weight and bias are sums over all positions, cut into slices by the problem's shape alone and added in a fixed order; an image's
share of the gradient of x does not depend on the batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from dcnn_fast.ops.block.backend import Gradients, Needs, Operands, Saved
from dcnn_fast.ops.block.gpu.problem import power_of_two
from dcnn_fast.ops.block.norms import per_term
from dcnn_fast.ops.block.params import BlockParams
from dcnn_fast.ops.launch import Launch, launch
from dcnn_fast.spec import CrossMapNorm, Norm, Pool, SameMapNorm

_CHUNK_BYTES = 64 << 20  # of planes as large as the convolution's output, where it is computed again
_PARTIAL_BYTES = 64 << 20  # of partial sums over slices
_PROGRAMS = 1024  # that a sum over positions is cut into, several for each multiprocessor of any GPU
_MOST = 1 << 30  # of what is counted in 32 bits, with room for the last tile
_BLOCK = 1024  # elements of a program that adds slices


@dataclass(frozen=True)
class Tile:
    """The tile of a program: `rows` by `columns` results, `depth` products at a time, and how it is compiled."""

    rows: int
    columns: int
    depth: int
    warps: int = 4
    stages: int = 2


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


def gradients(params: BlockParams, operands: Operands, x: Tensor, saved: Saved, grad: Tensor, needs: Needs) -> Gradients:
    """Gradients of x, weight and bias from `grad` of the result, in their dtypes and channels_last; None where not needed."""
    last = torch.channels_last
    weight, bias = operands.weight, operands.bias
    wanted = Gradients(
        torch.empty_like(x, memory_format=last) if needs.x else None,
        torch.empty_like(weight, memory_format=last) if needs.weight else None,
        torch.empty_like(bias, memory_format=torch.contiguous_format) if needs.bias and bias is not None else None,
    )
    run(params, operands, x, saved, grad, wanted)
    return wanted


def run(params: BlockParams, operands: Operands, x: Tensor, saved: Saved, grad: Tensor, wanted: Gradients) -> None:
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
        _norm_gradient(grad, _dense(values), u, options.norm, masked=options.pool is None)
    if options.pool is not None:
        assert hits is not None
        gradient = Gradient(u, _dense(hits), "hits")
    elif options.norm is not None:
        gradient = Gradient(u, u, "direct")
    else:
        assert values is not None
        gradient = Gradient(u, _dense(values), "mask")
    if wanted.x is not None:
        _input_gradient(gradient, weight, wanted.x, params)
    if wanted.weight is not None:
        _WeightSum(params, x.device).add(gradient, x, wanted.weight, params)
    if wanted.bias is not None:
        _BiasSum(params, gradient, x.device).add(gradient, wanted.bias)


def _run_in_chunks(params: BlockParams, operands: Operands, x: Tensor, grad: Tensor, wanted: Gradients) -> None:
    """`run` where the convolution is computed again, for so many images at a time as `_CHUNK_BYTES` hold, at least one.

    A norm between the convolution and the pool makes every gradient depend on a neighbourhood of the convolution's outputs, and
    a pool without hits on the maxima of its windows. Both need the outputs several times over, and each is a sum of thousands
    of products: a chunk's outputs are written to memory once and read from there, and so is their gradient.
    """
    chunk = _images_of_chunk(params)
    whole = replace(params, images=min(chunk, params.images))
    weight_sum = None if wanted.weight is None else _WeightSum(whole, x.device)
    bias_sum: _BiasSum | None = None
    for start in range(0, params.images, chunk):
        images = slice(start, start + chunk)
        part = replace(params, images=len(range(params.images)[images]))
        last = start + chunk >= params.images
        relu = _plane(part, x.device)
        _conv_relu(x[images], operands, relu, part)
        u = _tail_gradient(grad[images], relu, part)
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
    planes = 2 if params.options.norm is None or params.options.order == "conv-pool-norm" else 6
    return max(1, _CHUNK_BYTES // (planes * 4 * filters * rows * cols))


def _tail_gradient(grad: Tensor, relu: Tensor, params: BlockParams) -> Tensor:
    """Gradient of the convolution's output, in the weights' dtype, from `grad` of the result and the ReLU's output `relu`."""
    options = params.options
    pool, norm = options.pool, options.norm
    assert pool is not None
    u = torch.empty_like(relu, dtype=params.weight_dtype)
    if norm is None or options.order == "conv-pool-norm":
        top, index = _pool_maximum(relu, pool, params)
        if norm is not None:
            grad, outer = torch.empty_like(top), grad
            _norm_gradient(outer, top, grad, norm, masked=False)
        _pool_gradient(grad, top, index, relu, relu, u, params, masked=True)
        return u
    normed, inner = torch.empty_like(relu), torch.empty_like(relu)
    _norm(relu, normed, norm)
    top, index = _pool_maximum(normed, pool, params)
    _pool_gradient(grad, top, index, normed, relu, inner, params, masked=False)
    _norm_gradient(inner, relu, u, norm, masked=True)
    return u


class _Sum:
    """A sum over positions, a chunk of images after another: [1 + slices, count] partial sums, slot 0 what earlier chunks gave.

    positions: those of the largest chunk. depth: positions that a program adds at a time.
    """

    def __init__(self, positions: int, count: int, tiles: int, depth: int, device: torch.device) -> None:
        most = min(_cdiv(_PROGRAMS, tiles), max(1, _PARTIAL_BYTES // (4 * count)))
        self.share = _cdiv(_cdiv(positions, most), depth) * depth
        self.partial = torch.empty(1 + _cdiv(positions, self.share), count, dtype=torch.float32, device=device)
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
        _run("block_bwd_add_slices_kernel", (_cdiv(count, _BLOCK),), args, {"BLOCK": _BLOCK}, Tile(1, _BLOCK, 1))
        self.chunks += 1


class _WeightSum:
    """The gradient of the weights of one chunk of images after another."""

    def __init__(self, params: BlockParams, device: torch.device) -> None:
        self.tile = weight_tile(params)
        groups = params.options.groups
        self.tiles = _cdiv(params.filters // groups, self.tile.rows) * _cdiv(params.depth, self.tile.columns)
        count = params.filters * params.depth
        self.sum = _Sum(_positions(params), count, self.tiles * groups, self.tile.depth, device)

    def add(self, gradient: Gradient, x: Tensor, out: Tensor | None, params: BlockParams) -> None:
        """One chunk's share; `out` [F, C / groups, S, S] is written where it is the last."""
        positions = _positions(params)
        slices = _cdiv(positions, self.sum.share)
        args: dict[str, Any] = {
            "u": gradient.u, "passed": gradient.passed, "x": x, "partial": self.sum.partial[1:], "positions": positions,
            "share": self.sum.share, **_extents(gradient, params),
        }  # fmt: skip
        tile = self.tile
        constants = {
            **_convolution(params), **_tail(gradient, params), **_dot(params), **_sides(tile, depth=True),
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
        self.tiles = _cdiv(filters, self.tile.columns)
        self.sum = _Sum(gradient.u.numel() // filters, filters, self.tiles, self.tile.depth, device)

    def add(self, gradient: Gradient, out: Tensor | None) -> None:
        """One chunk's share; `out` [F] is written where it is the last."""
        filters = gradient.u.shape[1]
        positions = gradient.u.numel() // filters
        slices = _cdiv(positions, self.sum.share)
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
    options, tile = params.options, input_tile(params)
    # Of each phase so many rows and columns: some of them may lie beside the image, which the kernel sees.
    phase_rows, phase_cols = (
        (extent - 1 + options.padding) // options.stride - options.padding // options.stride + 1
        for extent in (params.height, params.width)
    )
    pixels = params.images * phase_rows * phase_cols
    args: dict[str, Any] = {
        "u": gradient.u, "passed": gradient.passed, "weight": weight, "grad_x": grad_x, "pixels": pixels,
        **_extents(gradient, params), "phase_rows": phase_rows, "phase_cols": phase_cols,
    }  # fmt: skip
    constants = {**_convolution(params), **_tail(gradient, params), **_dot(params), **_sides(tile, depth=True)}
    channels = _cdiv(_group_channels(params), tile.columns)
    grid = (_cdiv(pixels, tile.rows), channels * options.stride**2, options.groups)
    _run("block_bwd_input_kernel", grid, args, constants, tile)


def _conv_relu(x: Tensor, operands: Operands, relu: Tensor, params: BlockParams) -> None:
    """relu [N, F, rows, cols] = the convolution's output after the ReLU, in float32."""
    weight, bias = operands.weight, operands.bias
    tile, groups, positions = conv_tile(params), params.options.groups, _positions(params)
    args: dict[str, Any] = {
        "x": x, "weight": weight, "bias": weight if bias is None else bias.contiguous(), "relu": relu, "positions": positions,
        "height": params.height, "width": params.width, "conv_rows": relu.shape[2], "conv_cols": relu.shape[3],
    }  # fmt: skip
    constants = {
        **_convolution(params), "BIASED": bias is not None, **_dot(params), **_sides(tile, depth=True),
        "GATHER": _group_channels(params) % tile.depth != 0,
    }  # fmt: skip
    grid = (_cdiv(positions, tile.rows), _cdiv(params.filters // groups, tile.columns), groups)
    _run("block_bwd_conv_again_kernel", grid, args, constants, tile)


def _pool_maximum(values: Tensor, pool: Pool, params: BlockParams) -> tuple[Tensor, Tensor]:
    """The maxima of the windows of `values` and, for ties "first", the places of the first of them; else the maxima twice."""
    images, filters, rows, cols = values.shape
    shape = (images, *params.out_shape[1:])
    top = torch.empty(shape, dtype=torch.float32, device=values.device, memory_format=torch.channels_last)
    first = params.options.ties == "first"
    index = torch.empty_like(top, dtype=torch.int32) if first else top
    positions = top.numel() // filters
    args: dict[str, Any] = {
        "values": values, "top": top, "index": index, "positions": positions, "rows": rows, "cols": cols,
        "top_rows": top.shape[2], "top_cols": top.shape[3],
    }  # fmt: skip
    tile = _plane_tile(filters)
    constants = {"FILTERS": filters, "POOL": pool.size, "POOL_STRIDE": pool.stride, "TIES_FIRST": first, **_sides(tile)}
    grid = (_cdiv(positions, tile.rows), _cdiv(filters, tile.columns))
    _run("block_bwd_pool_again_kernel", grid, args, constants, tile)
    return top, index


def _pool_gradient(
    grad: Tensor, top: Tensor, index: Tensor, values: Tensor, relu: Tensor, out: Tensor, params: BlockParams, masked: bool
) -> None:
    """out = the gradient of `values` from `grad` of their maxima `top`, where `masked` only where relu is positive."""
    _, filters, rows, cols = values.shape
    pool = params.options.pool
    assert pool is not None
    positions = values.numel() // filters
    args: dict[str, Any] = {
        "grad": grad, "top": top, "index": index, "values": values, "relu": relu, "out": out, "positions": positions,
        "rows": rows, "cols": cols, "top_rows": top.shape[2], "top_cols": top.shape[3],
    }  # fmt: skip
    tile = _plane_tile(filters)
    constants = {
        "FILTERS": filters, "POOL": pool.size, "POOL_STRIDE": pool.stride, "TIES_FIRST": params.options.ties == "first",
        "MASKED": masked, **_sides(tile),
    }  # fmt: skip
    grid = (_cdiv(positions, tile.rows), _cdiv(filters, tile.columns))
    _run("block_bwd_pool_kernel", grid, args, constants, tile)


def _norm(values: Tensor, out: Tensor, norm: Norm) -> None:
    """out = the norm of `values`, both [N, F, rows, cols] in float32."""
    if isinstance(norm, SameMapNorm):
        _same_map(values, values, out, out, norm, terms=False)
        return
    filters = values.shape[1]
    positions = values.numel() // filters
    args: dict[str, Any] = {"values": values, "out": out, "positions": positions, **_norm_numbers(norm)}
    tile = _maps_tile(filters)
    constants = {**_maps_window(norm, filters), **_sides(tile)}
    _run("block_bwd_cross_map_again_kernel", (_cdiv(positions, tile.rows),), args, constants, tile)


def _norm_gradient(grad: Tensor, values: Tensor, u: Tensor, norm: Norm, masked: bool) -> None:
    """u = the gradient of the norm's input `values` from `grad` of its result, where `masked` only where values are positive.

    All [N, F, rows, cols]; values in float32.
    """
    _, filters, rows, cols = values.shape
    positions = values.numel() // filters
    args: dict[str, Any] = {"values": values, "u": u, "positions": positions, **_norm_numbers(norm)}
    if isinstance(norm, CrossMapNorm):
        tile = _maps_tile(filters)
        args["grad"] = grad
        constants = {**_maps_window(norm, filters), "MASKED": masked, **_sides(tile)}
        _run("block_bwd_cross_map_kernel", (_cdiv(positions, tile.rows),), args, constants, tile)
        return
    scaled, terms = torch.empty_like(values), torch.empty_like(values)
    _same_map(grad, values, scaled, terms, norm, terms=True)
    before = norm.size // 2
    tile = _plane_tile(filters)
    args |= {"scaled": scaled, "terms": terms, **_plane_window(norm.size - 1 - before, before, rows, cols)}
    grid = (_cdiv(positions, tile.rows), _cdiv(filters, tile.columns))
    constants = {"FILTERS": filters, "MASKED": masked, **_sides(tile)}
    _run("block_bwd_same_map_kernel", grid, args, constants, tile)


def _same_map(grad: Tensor, values: Tensor, scaled: Tensor, into: Tensor, norm: SameMapNorm, terms: bool) -> None:
    """scaled = grad * d**-power and, where `terms`, into = scaled * values / d."""
    _, filters, rows, cols = values.shape
    positions = values.numel() // filters
    before = norm.size // 2
    args: dict[str, Any] = {
        "grad": grad, "values": values, "scaled": scaled, "terms": into, "positions": positions,
        **_plane_window(before, norm.size - 1 - before, rows, cols), **_norm_numbers(norm),
    }  # fmt: skip
    tile = _plane_tile(filters)
    grid = (_cdiv(positions, tile.rows), _cdiv(filters, tile.columns))
    constants = {"FILTERS": filters, "KEEP_TERMS": terms, **_sides(tile)}
    _run("block_bwd_same_map_terms_kernel", grid, args, constants, tile)


def weight_tile(params: BlockParams) -> Tile:
    """Of the weights' gradient: filters by columns (taps and channels), and positions at a time."""
    channels = _group_channels(params)
    rows = _fitting(params.filters // params.options.groups, 64)
    columns = next((side for side in (64, 32) if channels % side == 0), 64)
    warps = 4 if Products.of(params).dtype != torch.float32 and not params.kept.hits else 8
    return Tile(rows, min(columns, _fitting(params.depth, 64)), _depth(params, params.weight_dtype), warps, _stages(params))


def input_tile(params: BlockParams) -> Tile:
    """Of the gradient of x: pixels by channels, and filters at a time. Warps and stages as compiling for every GPU showed."""
    columns = _fitting(_group_channels(params), 64)
    depth = _fitting(params.filters // params.options.groups, _depth(params, Products.of(params).dtype))
    if params.weight_dtype != torch.float32 and params.kept.hits and columns > 32:
        return Tile(64, columns, depth, 4, _stages(params))
    return Tile(64, columns, depth, 8, 1 if not params.kept.hits or columns <= 32 else _stages(params))


def _depth(params: BlockParams, dtype: torch.dtype) -> int:
    """Products at a time: 32, or 16 where more of `dtype` would not fit the registers, as compiling for every GPU showed."""
    ieee = Products.of(params) == Products(torch.float32, "ieee")
    return 16 if ieee or (params.kept.hits and dtype == torch.float32) else 32


def _stages(params: BlockParams) -> int:
    """Two, of which one is loaded while the other is multiplied, where the windows that cover an output leave shared memory."""
    pool = params.options.pool
    return 2 if pool is None or not params.kept.hits or _cdiv(pool.size, pool.stride) <= 2 else 1


def conv_tile(params: BlockParams) -> Tile:
    """Of the convolution: positions by filters, and columns (taps and channels) at a time."""
    exact = Products.of(params) == Products(torch.float32, "ieee")
    columns = _fitting(params.filters // params.options.groups, 32 if exact else 64)
    return Tile(64, columns, _depth(params, params.weight_dtype), 8)


def _run(
    kernel: str, grid: tuple[int, ...], args: Mapping[str, Tensor | int | float], constants: Mapping[str, Any], tile: Tile
) -> None:
    """Launch a kernel of backward_kernels.py, which is imported where Triton is used and no earlier."""
    kernels = import_module("dcnn_fast.ops.block.triton.backward_kernels")
    launch(Launch(getattr(kernels, kernel), grid, args, constants, tile.warps, tile.stages))


def _plane_tile(filters: int) -> Tile:
    """Of elementwise kernels with windows in the plane: positions by filters."""
    columns = min(64, power_of_two(filters))
    return Tile(max(1, 1024 // columns), columns, 1)


def _maps_tile(filters: int) -> Tile:
    """Of kernels with windows across maps: positions by all filters."""
    columns = power_of_two(filters)
    return Tile(max(1, min(32, 2048 // columns)), columns, 1)


def _fitting(extent: int, most: int) -> int:
    """The least power of 2 that holds `extent`, between 16, the least side of `tl.dot`, and `most`."""
    return min(most, max(16, power_of_two(extent)))


def _plane(params: BlockParams, device: torch.device) -> Tensor:
    """Room for the convolution's output in float32."""
    return torch.empty(params.conv_shape, dtype=torch.float32, device=device, memory_format=torch.channels_last)


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


def _sides(tile: Tile, depth: bool = False) -> Mapping[str, int]:
    sides = {"BM": tile.rows, "BN": tile.columns}
    return {**sides, "BK": tile.depth} if depth else sides


def _norm_numbers(norm: Norm) -> Mapping[str, float]:
    numbers = {"norm_scale": per_term(norm), "norm_power": float(norm.power)}
    return {**numbers, "norm_k": float(norm.k)} if isinstance(norm, CrossMapNorm) else numbers


def _maps_window(norm: CrossMapNorm, filters: int) -> Mapping[str, int]:
    """Maps of a window before and after its own, no more than there are."""
    before = norm.size // 2
    after = norm.size - 1 - before
    return {"FILTERS": filters, "MAPS_BEFORE": min(before, filters - 1), "MAPS_AFTER": min(after, filters - 1)}


def _plane_window(before: int, after: int, rows: int, cols: int) -> Mapping[str, int]:
    """The plane's rows and columns, and those of a window before and after its own, no more than there are."""
    return {
        "rows": rows, "cols": cols, "above": min(before, rows - 1), "below": min(after, rows - 1),
        "left": min(before, cols - 1), "right": min(after, cols - 1),
    }  # fmt: skip


def _dense(tensor: Tensor) -> Tensor:
    return tensor.contiguous(memory_format=torch.channels_last)


def _cdiv(count: int, size: int) -> int:
    return -(-count // size)
