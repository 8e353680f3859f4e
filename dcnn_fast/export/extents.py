"""Paddings with which libraries' windows are those of the spec."""

from __future__ import annotations

from dcnn_fast.networks import Block, Pool, Rounding, window_count


def conv_padding(block: Block, extent: int, rounding: Rounding) -> tuple[int, int]:
    """Zeros before and after an axis of `extent` with which a convolution that rounds down has the spec's windows.

    With "up" the last window may hang over the far edge, where it reads zeros.
    """
    if rounding == "down":
        return block.padding, block.padding
    covered = (block.conv_extent(extent, rounding) - 1) * block.stride + block.size
    return block.padding, covered - extent - block.padding


def pool_overhang(pool: Pool, extent: int, rounding: Rounding) -> int:
    """Places behind an axis of `extent` that the last window of a pool hangs over."""
    if rounding == "down":
        return 0
    covered = (window_count(extent, pool.size, pool.stride, rounding) - 1) * pool.stride + pool.size
    return max(0, covered - extent)


def norm_reach(size: int) -> tuple[int, int]:
    """Places before and behind an element that a norm's window covers; it starts size // 2 before it."""
    return size // 2, size - 1 - size // 2
