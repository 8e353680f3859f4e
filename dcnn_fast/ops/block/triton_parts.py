"""What the block's Triton kernels share: sums over a norm's windows and its power, operands, shifts within a tile."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def cross_map_sum(
    values,  # [M, J * BG]: J groups of FG filters, each padded to BG with zeros
    FIRST: tl.constexpr,
    SIZE: tl.constexpr,
    FG: tl.constexpr,
    BG: tl.constexpr,
):
    """Of every filter f, the sum of `values` over filters f + FIRST ... f + FIRST + SIZE - 1, clipped, in ascending order."""
    BM: tl.constexpr = values.shape[0]
    BF: tl.constexpr = values.shape[1]
    lane = tl.arange(0, BF)
    filters: tl.constexpr = BF // BG * FG
    filter = lane // BG * FG + lane % BG
    total = tl.zeros([BM, BF], tl.float32)
    for step in tl.static_range(SIZE):
        other = filter + (FIRST + step)
        inside = (other >= 0) & (other < filters)
        source = tl.where(inside, other // FG * BG + other % FG, 0)
        taken = tl.gather(values, tl.broadcast_to(source[None, :], [BM, BF]), 1)
        total += tl.where(inside[None, :], taken, 0.0)
    return total


@triton.jit
def power(d, exponent):
    """d**exponent of a positive d: two approximate instructions, each within 2 units in the last place."""
    return tl.exp2(exponent * tl.log2(d))


@triton.jit
def operand(values, DOT: tl.constexpr, PRECISION: tl.constexpr):
    """`values`, of any shape, as `tl.dot` is to multiply them: rounded to nearest even.

    The matrix units take float32 for tf32 and drop the low bits, which would make every product too small.
    """
    values = values.to(DOT)
    if PRECISION == "tf32":
        bits = values.to(tl.int32, bitcast=True)
        rounded = (bits + 0xFFF + ((bits >> 13) & 1)) & -0x2000
        number = (bits & 0x7FFFFFFF) <= 0x7F800000  # the sum would make another of what is none
        values = tl.where(number, rounded.to(tl.float32, bitcast=True), values)
    return values


@triton.jit
def shifted(values, down, right, ROWS: tl.constexpr, COLS: tl.constexpr):  # [ROWS * COLS, F]
    """values[i + down, j + right] of a tile in row-major order, 0 outside it."""
    BM: tl.constexpr = values.shape[0]
    BF: tl.constexpr = values.shape[1]
    lane = tl.arange(0, BM)
    row, col = lane // COLS + down, lane % COLS + right
    inside = (row >= 0) & (row < ROWS) & (col >= 0) & (col < COLS)
    source = tl.where(inside, row * COLS + col, 0)
    taken = tl.gather(values, tl.broadcast_to(source[:, None], [BM, BF]), 0)
    return tl.where(inside[:, None], taken, 0.0)
