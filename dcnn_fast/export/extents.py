"""Paddings that give libraries' convolutions and pools the spec's windows."""

from __future__ import annotations

from dcnn_fast.networks import Block, Pool, Rounding, window_count


def conv_padding(block: Block, extent: int, rounding: Rounding) -> tuple[int, int]:
    """Zeros before and after an axis of `extent` that give a convolution which rounds down the spec's windows.

    With "up" the last filter window may hang over the far edge, where it reads zeros.
    """
    if rounding == "down":
        return block.padding, block.padding
    covered = (block.conv_extent(extent, rounding) - 1) * block.stride + block.size
    return block.padding, covered - extent - block.padding


def pool_overhang(pool: Pool, extent: int, rounding: Rounding) -> int:
    """The overhang of a pool's last window beyond an axis of `extent`."""
    if rounding == "down":
        return 0
    covered = (window_count(extent, pool.size, pool.stride, rounding) - 1) * pool.stride + pool.size
    return max(0, covered - extent)


def norm_reach(size: int) -> tuple[int, int]:
    """The places before and after an element in a norm's window, which starts size // 2 before the element."""
    return size // 2, size - 1 - size // 2
