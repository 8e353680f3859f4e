"""Pooling, and both rules for the gradient of a maximum, stated plainly in PyTorch (docs/cuda-convnet.md#formulas)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from dcnn_fast.networks import Pool, Rounding, window_count


def forward(x: Tensor, pool: Pool, rounding: Rounding) -> Tensor:
    """Max or average over each window of x: [N, C, H, W]; a window that hangs over the edge is clipped to the image."""
    if pool.kind == "max":
        return F.max_pool2d(x, pool.size, pool.stride, ceil_mode=rounding == "up")
    return clipped(x, pool, _covered(x, pool, rounding))


def clipped(x: Tensor, pool: Pool, covered: tuple[int, int]) -> Tensor:
    """The pool over windows that cover `covered` (rows, columns) from x's corner, each window clipped to x."""
    pad = (0, covered[1] - x.shape[3], 0, covered[0] - x.shape[2])
    if pool.kind == "max":
        return F.max_pool2d(F.pad(x, pad, value=float("-inf")), pool.size, pool.stride)
    sums = F.avg_pool2d(F.pad(x, pad), pool.size, pool.stride, divisor_override=1)
    return sums / _counts(x, pool, covered)


def _counts(x: Tensor, pool: Pool, covered: tuple[int, int]) -> Tensor:
    """The number of values of x in each window, [1, 1, rows, cols]."""
    ones = torch.ones((1, 1, *x.shape[2:]), dtype=x.dtype, device=x.device)
    ones = F.pad(ones, (0, covered[1] - x.shape[3], 0, covered[0] - x.shape[2]))
    return F.avg_pool2d(ones, pool.size, pool.stride, divisor_override=1)


def _covered(x: Tensor, pool: Pool, rounding: Rounding) -> tuple[int, int]:
    """The rows and columns that the windows over x cover."""
    rows, cols = (
        (window_count(extent, pool.size, pool.stride, rounding) - 1) * pool.stride + pool.size for extent in x.shape[2:]
    )
    return rows, cols


def backward(grad: Tensor, x: Tensor, pool: Pool, rounding: Rounding, ties: Literal["all", "first"]) -> Tensor:
    """Gradient of x: [N, C, H, W] from `grad` of the pooled result.

    ties "all": every element equal to its window's maximum gets the window's gradient (cuda-convnet); "first": the first
    of them in row order (torch).
    """
    if pool.kind == "avg":
        return _of_averages(grad, x, pool, rounding)
    top = forward(x, pool, rounding)
    padded = _padded(x, pool, rounding)
    result = grad.new_zeros(padded.shape)
    taken = torch.zeros_like(top, dtype=torch.bool)
    for rows, cols in _taps(pool, top.shape[2], top.shape[3]):
        hit = padded[:, :, rows, cols] == top
        if ties == "first":
            hit = hit & ~taken
            taken |= hit
        result[:, :, rows, cols] += grad * hit
    return F.pad(result, (0, x.shape[3] - result.shape[3], 0, x.shape[2] - result.shape[2]))


def _of_averages(grad: Tensor, x: Tensor, pool: Pool, rounding: Rounding) -> Tensor:
    covered = _covered(x, pool, rounding)
    share = grad / _counts(x, pool, covered)
    result = grad.new_zeros((*x.shape[:2], *covered))
    for rows, cols in _taps(pool, grad.shape[2], grad.shape[3]):
        result[:, :, rows, cols] += share
    return F.pad(result, (0, x.shape[3] - covered[1], 0, x.shape[2] - covered[0]))


def hits(x: Tensor, pool: Pool, rounding: Rounding) -> Tensor:
    """The elements of each window of x that equal its maximum: int16 [N, C, H', W'], bit i * size + j for row i, column j.

    No bit is set where the maximum is not positive. Windows of at most 16 elements.
    """
    top = forward(x, pool, rounding)
    padded = _padded(x, pool, rounding)
    result = torch.zeros_like(top, dtype=torch.int32)
    for bit, (rows, cols) in enumerate(_taps(pool, top.shape[2], top.shape[3])):
        result |= (padded[:, :, rows, cols] == top).int() << bit
    return (result * (top > 0)).to(torch.int16)


def backward_of_hits(
    grad: Tensor, hit: Tensor, shape: Sequence[int], pool: Pool, rounding: Rounding, ties: Literal["all", "first"]
) -> Tensor:
    """Gradient of x, whose shape is [N, C, H, W], from `grad` of the pooled result and `hits`; zero where nothing hit."""
    if ties == "first":
        hit = hit & -hit
    result = _padded(grad.new_zeros(tuple(shape)), pool, rounding)
    for bit, (rows, cols) in enumerate(_taps(pool, hit.shape[2], hit.shape[3])):
        result[:, :, rows, cols] += grad * ((hit >> bit) & 1)
    return F.pad(result, (0, shape[3] - result.shape[3], 0, shape[2] - result.shape[2]))


def _padded(x: Tensor, pool: Pool, rounding: Rounding) -> Tensor:
    """x extended by -inf, or cropped, to exactly the extent that the windows cover."""
    height, width = _covered(x, pool, rounding)
    return F.pad(x, (0, width - x.shape[3], 0, height - x.shape[2]), value=float("-inf"))


def _taps(pool: Pool, rows: int, cols: int) -> Iterator[tuple[slice, slice]]:
    """For each position in a window, in row order, the slices that select it in all windows."""
    for i in range(pool.size):
        for j in range(pool.size):
            yield (
                slice(i, i + (rows - 1) * pool.stride + 1, pool.stride),
                slice(j, j + (cols - 1) * pool.stride + 1, pool.stride),
            )
