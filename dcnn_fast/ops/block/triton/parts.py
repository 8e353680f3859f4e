"""What the block's Triton kernels share: the names of their constants, operands, shifts within a tile, a norm's sums and power.

Constants, the same in forward and backward (csrc/cuda/block has those of the problem, too):

BM, BN, BK                   a program's tile: BM by BN results, BK products of each at a time
ROWS, COLS                   a forward tile in the plane, in outputs of the convolution: BM = ROWS * COLS
JOINED                       groups that a forward program computes side by side: [BM, JOINED * BN]
PARTS                        tiles of BN side by side, STEPS of BK one after another
M, F                         of a tensor that a function is given: positions, filters
CHANNELS, FILTERS, GROUPS    of the block; GROUP_CHANNELS, GROUP_FILTERS: of a group
SIZE, STRIDE, PADDING        of the convolution
TERMS                        products of an output: SIZE * SIZE taps, each of GROUP_CHANNELS, in this order; COUNT: some of them
GATHER                       whether a step's terms are any, each fetched by itself; otherwise they are channels of one tap
OPERAND, PRECISION           what `tl.dot` multiplies: its dtype and, of float32, how
SOURCE_TYPE, OUT_TYPE        dtypes behind addresses; ALIGN: elements, OUT_ALIGN: bytes, that these are multiples of
SUBTRACT, BIASED             whether a mean is taken off and a scale applied; whether a bias is added
POOL, POOL_STRIDE            of the pool, 1 and 1 without one; COVERING: pool windows along an axis that an output can be in
AVERAGE                      whether the pool takes averages, otherwise maxima
RELU_LAST                    whether the ReLU comes behind pool and norm
TIES_FIRST                   whether the first of equal maxima gets the gradient, otherwise all do
NORM, NORM_SIZE, NORM_FIRST  its kind (norms.py), the norm window, whether it comes before the pool
MAPS_BEFORE, MAPS_AFTER      maps of a norm window before and after its own
FIRST, APART                 of a norm window: where it begins, seen from its own place; places from one to the next
BANDED, EXACT                whether the norm's sums are products with a matrix; whether these are of all bits of float32
BEFORE, AFTER                rows and columns by which a forward tile overlaps its neighbours; FLAT: a tile in row-major order
KEEP_VALUES, KEEP_HITS       whether the norm's input and the pool's hits are written beside the result; so KEEP_TERMS
MASKED                       whether a gradient passes only where the ReLU was positive; MODE: see `conv_gradient`
AXIS, SQUARED                0 down, 1 to the right; whether squares are summed
BLOCK                        values of a program that goes through memory in order
"""

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
def row_offsets(image, y, x, rows, cols, CHANNELS: tl.constexpr):  # [M] each
    """Where the channels of a pixel start: int64 [M]."""
    return (image.to(tl.int64) * (rows * cols) + (y * cols + x)) * CHANNELS


@triton.jit
def place(index, rows, cols):  # [M]
    """The image, row and column of a position counted over the batch: [M] each."""
    area = rows * cols
    image = index // area
    rest = index - image * area
    y = rest // cols
    return image, y, rest - y * cols


@triton.jit
def cross_map_sum(
    values,  # [M, JOINED * BN] float32: JOINED groups of GROUP_FILTERS filters, each padded to BN with zeros
    FIRST: tl.constexpr,
    NORM_SIZE: tl.constexpr,
    GROUP_FILTERS: tl.constexpr,
    BN: tl.constexpr,
):
    """Of every filter f, the sum of `values` over f + FIRST ... f + FIRST + NORM_SIZE - 1, clipped, in ascending order."""
    M: tl.constexpr = values.shape[0]
    F: tl.constexpr = values.shape[1]
    lane = filter_of(tl.arange(0, F), GROUP_FILTERS, BN)
    filters: tl.constexpr = F // BN * GROUP_FILTERS
    total = tl.zeros([M, F], tl.float32)
    for step in tl.static_range(NORM_SIZE):
        other = lane + (FIRST + step)
        inside = (other >= 0) & (other < filters)
        source = tl.where(inside, other // GROUP_FILTERS * BN + other % GROUP_FILTERS, 0)
        taken = tl.gather(values, tl.broadcast_to(source[None, :], [M, F]), 1)
        total += tl.where(inside[None, :], taken, 0.0)
    return total


@triton.jit
def filter_of(lane, GROUP_FILTERS: tl.constexpr, BN: tl.constexpr):
    """The filter at place `lane` of groups padded from GROUP_FILTERS to BN."""
    return lane // BN * GROUP_FILTERS + lane % BN


@triton.jit
def power(d, exponent):
    """d**exponent of a positive d: two approximate instructions, each within 2 units in the last place."""
    return tl.exp2(exponent * tl.log2(d))


@triton.jit
def operand(values, OPERAND: tl.constexpr, PRECISION: tl.constexpr):
    """`values`, of any shape, as `tl.dot` is to multiply them: rounded to nearest even.

    The matrix units take float32 for tf32 and drop the low bits, which would make every product too small.
    """
    values = values.to(OPERAND)
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
def poolable(v, computed, NORM_FIRST: tl.constexpr, AVERAGE: tl.constexpr, RELU_LAST: tl.constexpr):  # [M, F], [M]
    """v [M, F] with outputs that are not `computed` as a pool's windows are to meet them.

    A zero adds nothing to a sum and is no larger than what has passed the ReLU; without one, minus infinity is no larger.
    """
    if AVERAGE:
        if NORM_FIRST:  # of an infinity beside them zeros become NaN
            v = tl.where(computed[:, None], v, 0.0)
    elif RELU_LAST:
        v = tl.where(computed[:, None], v, float("-inf"))
    return v


@triton.jit
def pooled_with(a, b, AVERAGE: tl.constexpr):
    """Two parts of a window as one: their sum or the larger, where a NaN stays one."""
    if AVERAGE:
        return a + b
    return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def average(sums, i, j, rows, cols, POOL: tl.constexpr):  # [M, F], [M] or one for all, [M]
    """sums over how many outputs the windows from row i and column j on have, clipped to rows and cols."""
    count = tl.minimum(rows - i, POOL) * tl.minimum(cols - j, POOL)
    return tl.div_rn(sums, tl.broadcast_to(count.to(tl.float32)[:, None], sums.shape))


@triton.jit
def relu(v):
    """v where it is positive, else 0; a NaN stays one."""
    return tl.maximum(v, 0.0, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def same_map_sum(values, APART: tl.constexpr, NORM_SIZE: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr):
    """Of a tile's every position, the sum of `values` [ROWS * COLS, F] over NORM_SIZE x NORM_SIZE positions that lie APART."""
    FIRST: tl.constexpr = -(NORM_SIZE // 2) * APART
    columns = tl.zeros_like(values)
    for step in tl.static_range(NORM_SIZE):
        columns += shifted(values, FIRST + step * APART, 0, ROWS, COLS)
    total = tl.zeros_like(values)
    for step in tl.static_range(NORM_SIZE):
        total += shifted(columns, FIRST + step * APART, 1, ROWS, COLS)
    return total


@triton.jit
def cross_map_normed(
    v,  # [M, JOINED * BN] float32
    band,  # float32 as square: 1 where row f counts in the sum of column g, else 0; or anything where BANDED is not set
    norm_scale, norm_power, norm_k,
    NORM_SIZE: tl.constexpr, GROUP_FILTERS: tl.constexpr, BN: tl.constexpr, BANDED: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """v under the norm across maps."""
    if BANDED:
        lane = tl.arange(0, v.shape[1])
        # Loaded rather than computed: it would stay in registers.
        ones = tl.load(band + lane[:, None] * v.shape[1] + lane[None, :])
        squares = product_with_ones(v * v, ones, EXACT)
    else:
        squares = cross_map_sum(v * v, -(NORM_SIZE // 2), NORM_SIZE, GROUP_FILTERS, BN)
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
