"""The Triton kernel that writes the gradient of the convolution's output to memory; backward_launch.py launches it.

Where it has run, the kernels of the input's and the weights' gradients read their operand (mode "direct" of `conv_gradient`)
instead of building it from hits once for each tap. What is written is that operand, rounded as they round it: the same bits.

Tile: 32 positions by up to 64 filters, each once. Memory: registers, and `out`. Limit: reading and writing memory; not timed.
"""

from __future__ import annotations

import triton
import triton.language as tl

from dcnn_fast.ops.block.triton.backward_kernels import conv_gradient
from dcnn_fast.ops.block.triton.parts import place, row_offsets


@triton.jit
def block_bwd_conv_gradient_kernel(
    u,  # see `conv_gradient`
    passed,
    out,  # [N, conv_rows, conv_cols, FILTERS], of the products' operands
    positions,  # in all
    conv_rows,
    conv_cols,
    u_rows,
    u_cols,
    FILTERS: tl.constexpr,
    MODE: tl.constexpr,
    POOL: tl.constexpr,
    POOL_STRIDE: tl.constexpr,
    TIES_FIRST: tl.constexpr,
    BM: tl.constexpr,
    BN: tl.constexpr,
):
    """BM positions by BN filters of the gradient of the convolution's output. Grid [tiles, tiles of filters]."""
    filter = tl.program_id(1) * BN + tl.arange(0, BN)
    known = filter < FILTERS
    position = tl.program_id(0) * BM + tl.arange(0, BM)
    inside = position < positions
    image, at_y, at_x = place(position, conv_rows, conv_cols)
    g = conv_gradient(
        u, passed, image, at_y, at_x, inside, filter, known, u_rows, u_cols, FILTERS, MODE, POOL, POOL_STRIDE, TIES_FIRST
    )
    target = out + row_offsets(image, at_y, at_x, conv_rows, conv_cols, FILTERS)
    mask = inside[:, None] & known[None, :]
    tl.store(target[:, None] + filter[None, :], g.to(out.dtype.element_ty), mask=mask)
