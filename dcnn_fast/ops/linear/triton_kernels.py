"""The fully-connected layer in two launches: products of slices of the inputs, then their sum, bias and ReLU.

Tile: 64 rows x 64 outputs, 64 products a step at 16 bits and 32 in fp32 (triton.py), 8 warps. Few rows and many inputs, as
behind the blocks, would give a GPU no work for most of its multiprocessors, hence the slices; each is added in ascending order
of the inputs and the slices in theirs, so that a row's bits are its own. Limit: the weights, which are read once for 64 rows.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def linear_product_kernel(
    x,  # [rows, inputs]
    weight,  # [outputs, inputs]
    partial,  # [slices, rows, outputs] float32
    rows, inputs, outputs,
    share,  # inputs of a slice, a multiple of BK
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """A program for BM rows, BN outputs and one slice of the inputs."""
    m = tl.program_id(0) * BM + tl.arange(0, BM)
    n = tl.program_id(1) * BN + tl.arange(0, BN)
    k = tl.arange(0, BK)
    begin = tl.program_id(2) * share
    x_at = x + m[:, None].to(tl.int64) * inputs + k[None, :]
    w_at = weight + n[None, :].to(tl.int64) * inputs + k[:, None]
    total = tl.zeros([BM, BN], tl.float32)
    for first in range(begin, tl.minimum(begin + share, inputs), BK):
        there = first + k < inputs
        a = tl.load(x_at + first, (m < rows)[:, None] & there[None, :], 0.0)
        b = tl.load(w_at + first, (n < outputs)[None, :] & there[:, None], 0.0)
        total = tl.dot(a.to(b.dtype), b, total, input_precision="ieee")
    at = (tl.program_id(2).to(tl.int64) * rows + m[:, None]) * outputs + n[None, :]
    tl.store(partial + at, total, (m < rows)[:, None] & (n < outputs)[None, :])


@triton.jit
def linear_sum_kernel(
    partial,  # [slices, rows, outputs] float32
    bias,  # [outputs]
    out,  # [rows, outputs]
    slices, count, outputs,
    RELU: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """A program for BLOCK of the `count` values of `out`."""
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    there = at < count
    total = tl.zeros([BLOCK], tl.float32)
    for slice in range(slices):
        total += tl.load(partial + slice.to(tl.int64) * count + at, there, 0.0)
    total += tl.load(bias + at % outputs, there, 0.0).to(tl.float32)
    if RELU:
        total = tl.where(total < 0.0, 0.0, total)  # a maximum would turn NaN into 0
    tl.store(out + at, total.to(out.dtype.element_ty), there)
