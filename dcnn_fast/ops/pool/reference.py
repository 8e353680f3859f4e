"""Max-pooling and both rules for its gradient, stated plainly in PyTorch (facts.md 2.3)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from dcnn_fast.spec import Pool, Rounding, window_count


def forward(x: Tensor, pool: Pool, rounding: Rounding) -> Tensor:
    """Max over each window of x: [N, C, H, W]; a window that hangs over the edge is clipped to the image."""
    return F.max_pool2d(x, pool.size, pool.stride, ceil_mode=rounding == "up")


def backward(grad: Tensor, x: Tensor, pool: Pool, rounding: Rounding, ties: Literal["all", "first"]) -> Tensor:
    """Gradient of x: [N, C, H, W] from `grad` of the pooled result.

    ties "all": every element equal to its window's maximum gets the window's gradient (cuda-convnet); "first": the first
    of them in row order (torch).
    """
    top = forward(x, pool, rounding)
    padded = _padded(x, pool, rounding)
    result = torch.zeros_like(padded)
    taken = torch.zeros_like(top, dtype=torch.bool)
    for rows, cols in _taps(padded, pool, top.shape[2], top.shape[3]):
        hit = padded[:, :, rows, cols] == top
        if ties == "first":
            hit = hit & ~taken
            taken |= hit
        result[:, :, rows, cols] += grad * hit
    return F.pad(result, (0, x.shape[3] - result.shape[3], 0, x.shape[2] - result.shape[2]))


def _padded(x: Tensor, pool: Pool, rounding: Rounding) -> Tensor:
    """x extended by -inf, or cut, to just what the windows cover."""
    height, width = (
        (window_count(extent, pool.size, pool.stride, rounding) - 1) * pool.stride + pool.size for extent in x.shape[2:]
    )
    return F.pad(x, (0, width - x.shape[3], 0, height - x.shape[2]), value=float("-inf"))


def _taps(padded: Tensor, pool: Pool, rows: int, cols: int) -> Iterator[tuple[slice, slice]]:
    """For each position inside a window, in row order, the slices of it over all windows."""
    for i in range(pool.size):
        for j in range(pool.size):
            yield (
                slice(i, i + (rows - 1) * pool.stride + 1, pool.stride),
                slice(j, j + (cols - 1) * pool.stride + 1, pool.stride),
            )
