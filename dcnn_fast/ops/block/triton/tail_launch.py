"""The backward of what follows the block's convolution, in Triton (kernels: tail_kernels.py): computed again and back."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from dcnn_fast.networks import CrossMapNorm, Norm, Pool, SameMapNorm
from dcnn_fast.ops.block.gpu.problem import power_of_two
from dcnn_fast.ops.block.norms import per_term
from dcnn_fast.ops.block.params import BlockParams
from dcnn_fast.ops.block.triton.backward_tile import Tile, cdiv, run_kernel, sides

_BLOCK = 1024  # elements of a program that goes through memory in order
_run = partial(run_kernel, "tail_kernels")


def tail_gradient(grad: Tensor, outputs: Tensor, params: BlockParams) -> Tensor:
    """Gradient of the convolution's output, in the weights' dtype, from `grad` of the result.

    outputs: [N, F, rows, cols] float32, the convolution's after the ReLU, or without one that comes last.
    """
    options = params.options
    if options.norm is None:
        return _of_pool(grad, outputs, params)
    if options.pool is None:
        return _of_norm(grad, outputs, options.norm, params)
    return _of_norm_then_pool(grad, outputs, params) if options.norm_first else _of_pool_then_norm(grad, outputs, params)


def _of_pool(grad: Tensor, outputs: Tensor, params: BlockParams) -> Tensor:
    """`tail_gradient` of a pool."""
    last = params.options.relu_last
    pooled = _Pooled(outputs, params, wanted=last)
    u = _like(outputs, params)
    pooled.gradient(_positive(grad, pooled.values) if last else grad, outputs, u, masked=not last)
    return u


def _of_norm(grad: Tensor, outputs: Tensor, norm: Norm, params: BlockParams) -> Tensor:
    """`tail_gradient` of a norm with the ReLU behind it, which passes values above 0 before the norm: it keeps signs."""
    u = _like(outputs, params)
    norm_gradient(_positive(grad, outputs), outputs, u, norm, masked=False)
    return u


def _of_pool_then_norm(grad: Tensor, outputs: Tensor, params: BlockParams) -> Tensor:
    """`tail_gradient` of a pool before a norm, which keeps signs."""
    norm, last = params.options.norm, params.options.relu_last
    assert norm is not None
    pooled = _Pooled(outputs, params)
    inner, u = torch.empty_like(pooled.values), _like(outputs, params)
    norm_gradient(_positive(grad, pooled.values) if last else grad, pooled.values, inner, norm, masked=False)
    pooled.gradient(inner, outputs, u, masked=not last)
    return u


def _of_norm_then_pool(grad: Tensor, outputs: Tensor, params: BlockParams) -> Tensor:
    """`tail_gradient` of a norm before a pool."""
    norm, last = params.options.norm, params.options.relu_last
    assert norm is not None
    normed, inner, u = torch.empty_like(outputs), torch.empty_like(outputs), _like(outputs, params)
    _norm(outputs, normed, norm)
    pooled = _Pooled(normed, params, wanted=last)
    pooled.gradient(_positive(grad, pooled.values) if last else grad, outputs, inner, masked=False)
    norm_gradient(inner, outputs, u, norm, masked=not last)
    return u


def _like(outputs: Tensor, params: BlockParams) -> Tensor:
    """Room for the gradient of the convolution's outputs."""
    return torch.empty_like(outputs, dtype=params.weight_dtype)


def _positive(grad: Tensor, values: Tensor) -> Tensor:
    """`grad` where `values` are positive, else 0, in float32."""
    out = torch.empty_like(values)
    count = values.numel()
    args: dict[str, Any] = {"grad": grad, "values": values, "out": out, "count": count}
    _run("block_bwd_relu_kernel", (cdiv(count, _BLOCK),), args, {"BLOCK": _BLOCK}, Tile(1, _BLOCK, 1))
    return out


class _Pooled:
    """A pool of `source` [N, F, rows, cols], computed again.

    values: each window's maximum or average, [N, F, H, W] float32; not there for averages that are not `wanted`, since their
    gradient does without.
    """

    def __init__(self, source: Tensor, params: BlockParams, wanted: bool = True) -> None:
        pool = params.options.pool
        assert pool is not None
        self._source, self._params = source, params
        if pool.kind == "max":
            self.values, self._index = _pool_maximum(source, pool, params)
        elif wanted:
            self.values = _pool_average(source, pool, params)

    def gradient(self, grad: Tensor, relu: Tensor, out: Tensor, masked: bool) -> None:
        """out = the gradient of the source from `grad` of the values, where `masked` only where relu is positive."""
        if self._params.options.averages:
            _average_gradient(grad, relu, out, self._params, masked)
        else:
            _pool_gradient(grad, self.values, self._index, self._source, relu, out, self._params, masked)


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
    constants = {"FILTERS": filters, "POOL": pool.size, "POOL_STRIDE": pool.stride, "TIES_FIRST": first, **sides(tile)}
    grid = (cdiv(positions, tile.rows), cdiv(filters, tile.columns))
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
        "MASKED": masked, **sides(tile),
    }  # fmt: skip
    grid = (cdiv(positions, tile.rows), cdiv(filters, tile.columns))
    _run("block_bwd_pool_kernel", grid, args, constants, tile)


def _pool_average(values: Tensor, pool: Pool, params: BlockParams) -> Tensor:
    """The averages of the windows of `values`."""
    images, filters, rows, cols = values.shape
    shape = (images, *params.out_shape[1:])
    out = torch.empty(shape, dtype=torch.float32, device=values.device, memory_format=torch.channels_last)
    positions = out.numel() // filters
    args: dict[str, Any] = {
        "values": values, "out": out, "positions": positions, "rows": rows, "cols": cols, "out_rows": out.shape[2],
        "out_cols": out.shape[3],
    }  # fmt: skip
    tile = _plane_tile(filters)
    constants = {"FILTERS": filters, "POOL": pool.size, "POOL_STRIDE": pool.stride, **sides(tile)}
    _run("block_bwd_average_again_kernel", (cdiv(positions, tile.rows), cdiv(filters, tile.columns)), args, constants, tile)
    return out


def _average_gradient(grad: Tensor, relu: Tensor, out: Tensor, params: BlockParams, masked: bool) -> None:
    """out = the gradient of what was averaged from `grad` of the averages, where `masked` only where relu is positive."""
    _, filters, rows, cols = out.shape
    pool = params.options.pool
    assert pool is not None
    positions = out.numel() // filters
    args: dict[str, Any] = {
        "grad": grad, "relu": relu, "out": out, "positions": positions, "rows": rows, "cols": cols,
        "grad_rows": grad.shape[2], "grad_cols": grad.shape[3],
    }  # fmt: skip
    tile = _plane_tile(filters)
    constants = {"FILTERS": filters, "POOL": pool.size, "POOL_STRIDE": pool.stride, "MASKED": masked, **sides(tile)}
    _run("block_bwd_average_kernel", (cdiv(positions, tile.rows), cdiv(filters, tile.columns)), args, constants, tile)


def _norm(values: Tensor, out: Tensor, norm: Norm) -> None:
    """out = the norm of `values`, both [N, F, rows, cols] in float32."""
    if isinstance(norm, SameMapNorm):
        _same_map(values, values, out, out, norm, terms=False)
        return
    filters = values.shape[1]
    positions = values.numel() // filters
    args: dict[str, Any] = {"values": values, "out": out, "positions": positions, **_norm_numbers(norm)}
    tile = _maps_tile(filters)
    constants = {**_maps_window(norm, filters), **sides(tile)}
    _run("block_bwd_cross_map_again_kernel", (cdiv(positions, tile.rows),), args, constants, tile)


def norm_gradient(grad: Tensor, values: Tensor, u: Tensor, norm: Norm, masked: bool) -> None:
    """u = the gradient of the norm's input `values` from `grad` of its result, where `masked` only where values are positive.

    All [N, F, rows, cols]; values in float32.
    """
    _, filters, rows, cols = values.shape
    positions = values.numel() // filters
    args: dict[str, Any] = {"values": values, "u": u, "positions": positions, **_norm_numbers(norm)}
    if isinstance(norm, CrossMapNorm):
        tile = _maps_tile(filters)
        args["grad"] = grad
        constants = {**_maps_window(norm, filters), "MASKED": masked, **sides(tile)}
        _run("block_bwd_cross_map_kernel", (cdiv(positions, tile.rows),), args, constants, tile)
        return
    scaled, terms = torch.empty_like(values), torch.empty_like(values)
    _same_map(grad, values, scaled, terms, norm, terms=True)
    before = norm.size // 2
    tile = _plane_tile(filters)
    args |= {"scaled": scaled, "terms": terms, **_plane_window(norm.size - 1 - before, before, rows, cols)}
    grid = (cdiv(positions, tile.rows), cdiv(filters, tile.columns))
    constants = {"FILTERS": filters, "MASKED": masked, **sides(tile)}
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
    grid = (cdiv(positions, tile.rows), cdiv(filters, tile.columns))
    constants = {"FILTERS": filters, "KEEP_TERMS": terms, **sides(tile)}
    _run("block_bwd_same_map_terms_kernel", grid, args, constants, tile)


def _plane_tile(filters: int) -> Tile:
    """The tile of elementwise kernels with windows in the plane: positions by filters."""
    columns = min(64, power_of_two(filters))
    return Tile(max(1, 1024 // columns), columns, 1)


def _maps_tile(filters: int) -> Tile:
    """The tile of kernels with windows across maps: positions by all filters."""
    columns = power_of_two(filters)
    return Tile(max(1, min(32, 2048 // columns)), columns, 1)


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
