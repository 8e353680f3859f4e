"""The parts of a problem by which the block's GPU kernels are chosen and compiled."""

from __future__ import annotations

from dataclasses import replace

from dcnn_fast.ops.block.params import BlockParams


def problem_key(params: BlockParams, keeps: bool = False) -> str:
    """The key of a tile's choice: everything but extents and the fields that a kernel is not compiled for."""
    options = params.options
    plain = replace(options, padding=0, rounding="up", ties="all")
    return f"{replace(params, images=1, height=0, width=0, options=plain, backward=False)}{'-keeps' if keeps else ''}"


def norm_first(params: BlockParams) -> bool:
    """Whether a pool follows the norm."""
    options = params.options
    return options.norm is not None and options.pool is not None and options.norm_first


def relu_last(params: BlockParams) -> bool:
    """Whether the ReLU follows a pool or a norm."""
    options = params.options
    return options.relu_last and (options.pool is not None or options.norm is not None)


def operand_bytes(params: BlockParams) -> int:
    """Bytes of an operand of the products."""
    if params.options.precision in ("bf16", "fp16"):
        return 2
    return params.weight_dtype.itemsize


def power_of_two(count: int) -> int:
    """The smallest power of two of at least `count`."""
    return 1 << max(count - 1, 0).bit_length()
