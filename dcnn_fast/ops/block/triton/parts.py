"""What the block's Triton kernels share: operands, shifts within a tile, a norm's sums and power."""

from __future__ import annotations

import triton
import triton.language as tl

from dcnn_fast.ops.block import norms

CROSS_MAP = tl.constexpr(norms.CROSS_MAP)
SAME_MAP = tl.constexpr(norms.SAME_MAP)


@triton.jit
def field(row, column):
    """An int64 of a table's row as int32: `require_regions` keeps them below 2**31."""
    return tl.load(row + column).to(tl.int32)


@triton.jit
def cross_map_sum(
    values,  # [M, J * BG] float32: J groups of FG filters, each padded to BG with zeros
    FIRST: tl.constexpr,
    SIZE: tl.constexpr,
    FG: tl.constexpr,
    BG: tl.constexpr,
):
    """Of every filter f, the sum of `values` over filters f + FIRST ... f + FIRST + SIZE - 1, clipped, in ascending order."""
    BM: tl.constexpr = values.shape[0]
    BF: tl.constexpr = values.shape[1]
    lane = filter_of(tl.arange(0, BF), FG, BG)
    filters: tl.constexpr = BF // BG * FG
    total = tl.zeros([BM, BF], tl.float32)
    for step in tl.static_range(SIZE):
        other = lane + (FIRST + step)
        inside = (other >= 0) & (other < filters)
        source = tl.where(inside, other // FG * BG + other % FG, 0)
        taken = tl.gather(values, tl.broadcast_to(source[None, :], [BM, BF]), 1)
        total += tl.where(inside[None, :], taken, 0.0)
    return total


@triton.jit
def filter_of(lane, FG: tl.constexpr, BG: tl.constexpr):
    """The filter at place `lane` of groups padded from FG to BG."""
    return lane // BG * FG + lane % BG


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
def shifted(values, by, AXIS: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr):  # [ROWS * COLS, F]
    """values[i + by, j] (axis 0) or values[i, j + by] (axis 1) of a tile in row-major order, 0 outside it.

    Along one short axis, which lies in one warp, a gather is a shuffle a value; along all rows of the tile it would be many.
    """
    F: tl.constexpr = values.shape[1]
    cube = tl.reshape(values, [ROWS, COLS, F])
    if AXIS == 0:
        at = tl.arange(0, ROWS) + by
        inside = ((at >= 0) & (at < ROWS))[:, None, None]
        source = tl.where((at >= 0) & (at < ROWS), at, 0)[:, None, None]
    else:
        at = tl.arange(0, COLS) + by
        inside = ((at >= 0) & (at < COLS))[None, :, None]
        source = tl.where((at >= 0) & (at < COLS), at, 0)[None, :, None]
    taken = tl.gather(cube, tl.broadcast_to(source, [ROWS, COLS, F]), AXIS)
    return tl.reshape(tl.where(inside, taken, 0.0), [ROWS * COLS, F])


@triton.jit
def same_map_sum(values, APART: tl.constexpr, SIZE: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr):
    """Of a tile's every position, the sum of `values` [ROWS * COLS, F] over SIZE x SIZE positions that lie APART."""
    FIRST: tl.constexpr = -(SIZE // 2) * APART
    columns = tl.zeros_like(values)
    for step in tl.static_range(SIZE):
        columns += shifted(values, FIRST + step * APART, 0, ROWS, COLS)
    total = tl.zeros_like(values)
    for step in tl.static_range(SIZE):
        total += shifted(columns, FIRST + step * APART, 1, ROWS, COLS)
    return total


@triton.jit
def cross_map_normed(
    v,  # [M, J * BG] float32
    band,  # [J * BG, J * BG] float32: 1 where row f counts in the sum of column g, else 0; or anything where BANDED is not set
    norm_scale, norm_power, norm_k,
    SIZE: tl.constexpr, FG: tl.constexpr, BG: tl.constexpr, BANDED: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """v under the norm across maps."""
    if BANDED:
        lane = tl.arange(0, v.shape[1])
        # Loaded rather than computed: it would stay in registers.
        ones = tl.load(band + lane[:, None] * v.shape[1] + lane[None, :])
        squares = product_with_ones(v * v, ones, EXACT)
    else:
        squares = cross_map_sum(v * v, -(SIZE // 2), SIZE, FG, BG)
    return v * power(norm_k + norm_scale * squares, -norm_power)


@triton.jit
def product_with_ones(values, ones, EXACT: tl.constexpr):  # [M, F] float32, [F, F] float32 of zeros and ones
    """values @ ones on tensor cores, whose tf32 is exact for ones.

    EXACT: for `values` cut into their upper 11 bits and 11 of the rest, so that a sum errs by 2**-22 of its terms at most.
    Otherwise `values` are rounded to tf32, an error of at most 2**-12 of each, as results of 16 bits have.
    """
    if not EXACT:
        return tl.dot(operand(values, tl.float32, "tf32"), ones, input_precision="tf32")
    upper = (values.to(tl.int32, bitcast=True) & -8192).to(tl.float32, bitcast=True)
    return tl.dot(values - upper, ones, tl.dot(upper, ones, input_precision="tf32"), input_precision="tf32")
