"""The block's forward in Triton, a tile of convolution outputs at a time: the simplest kernel that is right for every block.

A program computes a tile of one region's convolution outputs in registers and everything that follows on the tile, by shifts
through shared memory; the tile overlaps its neighbours by what pool and norm need beyond it. Tables: dcnn_fast/ops/region.py.
"""

from __future__ import annotations

import triton
import triton.language as tl

from dcnn_fast.ops.block.triton_parts import cross_map_sum, filter_of, power, shifted

REGION = tl.constexpr(14)
PIECE = tl.constexpr(6)
STORE = tl.constexpr(8)
SOURCE = tl.constexpr(5)
OUTPUT = tl.constexpr(3)
CROSS_MAP = tl.constexpr(1)
SAME_MAP = tl.constexpr(2)


@triton.jit
def field(row, index):
    """An int64 of a table's row as int32: `require_regions` keeps them below 2**31."""
    return tl.load(row + index).to(tl.int32)


@triton.jit
def conv_tile(
    base,  # the source's pixel (0, 0) of the tile, channel 0 of the group
    origin,  # [BM] int32: each output's offset from `base`
    y, x,  # [BM] int32: its receptive field's corner in the window
    computed,  # [BM]: whether it is wanted
    height, width,  # of the window
    row_stride, col_stride, channel_stride,
    weight,  # [filters of the group, SIZE * SIZE * CG] from filter `first` on
    first, mean, scale,
    BM: tl.constexpr, BK: tl.constexpr, BG: tl.constexpr, CG: tl.constexpr, FG: tl.constexpr, SIZE: tl.constexpr,
    GATHER: tl.constexpr, SUBTRACT: tl.constexpr, OPERAND: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Sums of products of one group: [BM, BG] float32, the taps in row-major order, a tap's channels in ascending order."""
    k = tl.arange(0, BK)
    filter = first + tl.arange(0, BG)
    filters = weight + filter[None, :] * (SIZE * SIZE * CG)  # [1, BG]
    exists = (filter < FG)[None, :]
    acc = tl.zeros([BM, BG], tl.float32)
    if GATHER:
        for step in range(tl.cdiv(SIZE * SIZE * CG, BK)):
            term = step * BK + k
            tap = term // CG
            channel = term % CG
            row, col = tap // SIZE, tap % SIZE
            inside = (term < SIZE * SIZE * CG)[None, :] & computed[:, None]
            inside &= (y[:, None] + row[None, :] >= 0) & (y[:, None] + row[None, :] < height)
            inside &= (x[:, None] + col[None, :] >= 0) & (x[:, None] + col[None, :] < width)
            offset = row * row_stride + col * col_stride + channel * channel_stride
            a = tl.load(base + (origin[:, None] + offset[None, :]), mask=inside, other=0)  # [BM, BK]
            if SUBTRACT:
                a = (a.to(tl.float32) - tl.load(mean + channel)[None, :]) * scale
                a = tl.where(inside, a, 0.0)
            b = tl.load(filters + term[:, None], mask=exists & (term < SIZE * SIZE * CG)[:, None], other=0)  # [BK, BG]
            acc = tl.dot(a.to(OPERAND), b.to(OPERAND), acc, input_precision=PRECISION)
    else:
        for step in range(SIZE * SIZE * (CG // BK)):
            tap = step // (CG // BK)
            channel = step % (CG // BK) * BK + k
            row, col = tap // SIZE, tap % SIZE
            inside = computed & (y + row >= 0) & (y + row < height) & (x + col >= 0) & (x + col < width)
            offset = origin + (row * row_stride + col * col_stride)
            a = tl.load(base + (offset[:, None] + channel[None, :]), mask=inside[:, None], other=0)  # [BM, BK]
            if SUBTRACT:
                a = (a.to(tl.float32) - tl.load(mean + channel)[None, :]) * scale
                a = tl.where(inside[:, None], a, 0.0)
            b = tl.load(filters + (tap * CG + channel)[:, None], mask=exists, other=0)  # [BK, BG]
            acc = tl.dot(a.to(OPERAND), b.to(OPERAND), acc, input_precision=PRECISION)
    return acc


@triton.jit
def side_by_side(a, b):  # [BM, BG] each
    """[a, b]: [BM, 2 * BG]."""
    BM: tl.constexpr = a.shape[0]
    BG: tl.constexpr = a.shape[1]
    return tl.reshape(tl.permute(tl.join(a, b), (0, 2, 1)), [BM, 2 * BG])


@triton.jit
def same_map_sum(values, APART: tl.constexpr, SIZE: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr):
    """Of a tile's every position, the sum of `values` [ROWS * COLS, F] over SIZE x SIZE positions that lie APART."""
    FIRST: tl.constexpr = -(SIZE // 2) * APART
    columns = tl.zeros_like(values)
    for step in tl.static_range(SIZE):
        columns += shifted(values, FIRST + step * APART, 0, ROWS, COLS)
    total = tl.zeros_like(values)
    for step in tl.static_range(SIZE):
        total += shifted(columns, 0, FIRST + step * APART, ROWS, COLS)
    return total


@triton.jit
def block_tile_kernel(
    tiles,  # [T, 3] int64: region, first row, first column; of a flat tile the first position, and 0
    regions, pieces, stores,  # the tables of a RegionList
    sources,  # [n, 5] int64: address, strides of image, row, column and channel in elements
    outputs,  # [n, 3] int64: address, rows, columns; [images, rows, columns, filters] in memory
    weight,  # [filters, SIZE, SIZE, CG]
    bias,  # [filters], or anything where BIAS is not set
    mean,  # [channels] float32, or anything where SUBTRACT is not set
    scale, norm_scale, norm_power, norm_k,
    values,  # the norm's input in float32, shaped like the result of whole images, where KEEP_VALUES is set
    hits,  # int16 of the same shape, where KEEP_HITS is set
    ROWS: tl.constexpr, COLS: tl.constexpr, BK: tl.constexpr, BG: tl.constexpr,
    JOINED: tl.constexpr, GROUPS: tl.constexpr, CG: tl.constexpr, FG: tl.constexpr,
    SIZE: tl.constexpr, STRIDE: tl.constexpr, POOL: tl.constexpr, POOL_STRIDE: tl.constexpr,
    NORM: tl.constexpr, NORM_SIZE: tl.constexpr, NORM_FIRST: tl.constexpr, BEFORE: tl.constexpr, AFTER: tl.constexpr,
    FLAT: tl.constexpr, GATHER: tl.constexpr, SUBTRACT: tl.constexpr, BIAS: tl.constexpr,
    KEEP_VALUES: tl.constexpr, KEEP_HITS: tl.constexpr, ALIGN: tl.constexpr,
    SOURCE_TYPE: tl.constexpr, OPERAND: tl.constexpr, OUT_TYPE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """One tile of ROWS x COLS convolution outputs (flat: of so many in row-major order), JOINED groups of filters side by side.

    The tile owns the pool windows that start at least BEFORE behind its first and AFTER before its last row and column.
    """
    BM: tl.constexpr = ROWS * COLS
    BF: tl.constexpr = JOINED * BG
    PARTS: tl.constexpr = (FG + BG - 1) // BG  # tiles of a group's filters
    TAPS: tl.constexpr = SIZE * SIZE * CG

    tile = tiles + tl.program_id(0).to(tl.int64) * 3
    region = regions + tl.load(tile) * REGION
    tile_row, tile_col = field(tile, 1), field(tile, 2)
    window_top, window_left, height, width = field(region, 2), field(region, 3), field(region, 4), field(region, 5)
    top, left, rows, cols = field(region, 6), field(region, 7), field(region, 8), field(region, 9)

    lane = tl.arange(0, BM)
    if FLAT:
        first_row, first_col = tile_row // cols, 0
        i = (tile_row + lane) // cols
        j = tile_row + lane - i * cols
        owned = lane >= 0
    else:
        first_row, first_col = tile_row - BEFORE, tile_col - BEFORE
        i, j = first_row + lane // COLS, first_col + lane % COLS
        owned = (lane // COLS >= BEFORE) & (lane // COLS < ROWS - AFTER)
        owned &= (lane % COLS >= BEFORE) & (lane % COLS < COLS - AFTER)
    computed = (i >= 0) & (i < rows) & (j >= 0) & (j < cols)

    source = sources + tl.load(region) * SOURCE
    row_stride = tl.multiple_of(tl.load(source + 2).to(tl.int32), ALIGN)
    col_stride = tl.multiple_of(tl.load(source + 3).to(tl.int32), ALIGN)
    channel_stride = field(source, 4)
    corner = tl.load(region + 1) * tl.load(source + 1)
    corner += (top + first_row * STRIDE).to(tl.int64) * row_stride + (left + first_col * STRIDE).to(tl.int64) * col_stride
    base = tl.load(source).to(tl.pointer_type(SOURCE_TYPE)) + tl.multiple_of(corner, ALIGN)
    base = tl.multiple_of(base, ALIGN * (SOURCE_TYPE.primitive_bitwidth // 8))
    origin = (i - first_row) * STRIDE * row_stride + (j - first_col) * STRIDE * col_stride
    y, x = top - window_top + i * STRIDE, left - window_left + j * STRIDE

    group = tl.program_id(1) // PARTS * JOINED
    first = tl.program_id(1) % PARTS * BG
    if GATHER:
        base += (group * CG).to(tl.int64) * channel_stride
    else:
        base += group * CG
        channel_stride = 1
    grown = weight + (group * FG).to(tl.int64) * TAPS
    v = conv_tile(
        base, origin, y, x, computed, height, width, row_stride, col_stride, channel_stride, grown, first,
        mean + group * CG, scale, BM, BK, BG, CG, FG, SIZE, GATHER, SUBTRACT, OPERAND, PRECISION,
    )  # fmt: skip
    if JOINED >= 2:
        second = conv_tile(
            base + CG * channel_stride, origin, y, x, computed, height, width, row_stride, col_stride, channel_stride,
            grown + FG * TAPS, first, mean + CG, scale, BM, BK, BG, CG, FG, SIZE, GATHER, SUBTRACT, OPERAND, PRECISION,
        )  # fmt: skip
        v = side_by_side(v, second)

    part = tl.arange(0, BF)
    if JOINED == 1:
        filter = group * FG + first + part
    else:
        filter = filter_of(part, FG, BG)
    exists = first + part % BG < FG
    if BIAS:
        v += tl.load(bias + filter, mask=exists, other=0).to(tl.float32)[None, :]
    v = tl.maximum(v, 0.0, propagate_nan=tl.PropagateNan.ALL)
    v = tl.where(computed[:, None] & exists[None, :], v, 0.0)

    if NORM_FIRST:
        if NORM == CROSS_MAP:
            v *= power(norm_k + norm_scale * cross_map_sum(v * v, -(NORM_SIZE // 2), NORM_SIZE, FG, BG), -norm_power)
        else:
            v *= power(norm_k + norm_scale * same_map_sum(v * v, 1, NORM_SIZE, ROWS, COLS), -norm_power)
    if POOL > 1:
        pooled = v
        for step in tl.static_range(1, POOL):
            pooled = tl.maximum(pooled, shifted(v, 0, step, ROWS, COLS), propagate_nan=tl.PropagateNan.ALL)
        across = pooled
        for step in tl.static_range(1, POOL):
            pooled = tl.maximum(pooled, shifted(across, step, 0, ROWS, COLS), propagate_nan=tl.PropagateNan.ALL)
        if KEEP_HITS:
            bits = tl.zeros([BM, BF], tl.int32)
            for bit in tl.static_range(POOL * POOL):
                equal = (shifted(v, bit // POOL, bit % POOL, ROWS, COLS) == pooled) & (pooled > 0)
                bits |= equal.to(tl.int32) << bit
        v = pooled
    kept = v
    if NORM == CROSS_MAP and not NORM_FIRST:
        v *= power(norm_k + norm_scale * cross_map_sum(v * v, -(NORM_SIZE // 2), NORM_SIZE, FG, BG), -norm_power)

    piece = pieces + tl.load(region + 12) * PIECE
    for _ in range(field(region, 13)):
        down, right = i - field(piece, 0), j - field(piece, 1)
        inside = (down >= 0) & (right >= 0) & computed
        inside &= (down % POOL_STRIDE == 0) & (right % POOL_STRIDE == 0)
        row, col = down // POOL_STRIDE, right // POOL_STRIDE
        inside &= (row < field(piece, 2)) & (col < field(piece, 3))
        result = v
        if NORM == SAME_MAP and not NORM_FIRST:
            squares = tl.where(inside[:, None], v * v, 0.0)
            result *= power(norm_k + norm_scale * same_map_sum(squares, POOL_STRIDE, NORM_SIZE, ROWS, COLS), -norm_power)
        inside &= owned
        store = stores + tl.load(piece + 4) * STORE
        for _ in range(field(piece, 5)):
            at_row, at_col = row - field(store, 0), col - field(store, 1)
            taken = inside & (at_row >= 0) & (at_row < field(store, 2)) & (at_col >= 0) & (at_col < field(store, 3))
            output = outputs + tl.load(store + 4) * OUTPUT
            out_rows, out_cols = tl.load(output + 1), tl.load(output + 2)
            start = (tl.load(store + 5) * out_rows + field(store, 6)) * out_cols + field(store, 7)  # of the store's rectangle
            place = (start + at_row.to(tl.int64) * out_cols + at_col) * (GROUPS * FG)  # [BM]
            mask = taken[:, None] & exists[None, :]
            address = tl.multiple_of(tl.load(output).to(tl.pointer_type(OUT_TYPE)), 16)
            tl.store((address + place)[:, None] + filter[None, :], result.to(OUT_TYPE), mask=mask)
            if KEEP_VALUES:
                tl.store((values + place)[:, None] + filter[None, :], kept, mask=mask)
            if KEEP_HITS:
                tl.store((hits + place)[:, None] + filter[None, :], bits.to(tl.int16), mask=mask)
            store += STORE
        piece += PIECE
