"""The block's forward in Triton, a tile of convolution outputs at a time: the simplest kernel that is right for every block.

A program computes a tile of one region's convolution outputs in registers and everything that follows on the tile, by shifts
through shared memory; the tile overlaps its neighbours by what pool and norm need beyond it. Tables: csrc/core/tables.h.

Tile: 8 x 16 outputs of 64 filters at 16 bits on 8 warps, 16 x 16 where the cost model prefers it, fewer in fp32 or with more
filters (config.py). Memory: 48 KB of shared memory for block 1's 8 x 16, 80 KB for 16 x 16, up to 255 registers
(devtools/kernel_report.csv). Limit, by the model: address arithmetic in block 1, shared memory or tensor cores in block 2
(docs/gpu-notes.md).
"""

from __future__ import annotations

import triton
import triton.language as tl

from dcnn_fast.ops.block.triton.conv import filters_of, output_of_conv
from dcnn_fast.ops.block.triton.parts import (
    CROSS_MAP,
    SAME_MAP,
    average,
    cross_map_normed,
    field,
    poolable,
    pooled_with,
    power,
    relu,
    same_map_sum,
    shifted,
)

from dcnn_fast.ops.block.triton.records import (  # isort: skip
    OUTPUT, OUTPUT_ADDRESS, OUTPUT_COLS, OUTPUT_ROWS, PIECE, PIECE_COLS, PIECE_COUNT, PIECE_FIRST, PIECE_LEFT, PIECE_ROWS,
    PIECE_TOP, REGION, REGION_COLS, REGION_COUNT, REGION_FIRST, REGION_ROWS, STORE, STORE_HEIGHT, STORE_IMAGE, STORE_OUT_LEFT,
    STORE_OUT_TOP, STORE_OUTPUT, STORE_SKIP_LEFT, STORE_SKIP_TOP, STORE_WIDTH, TILE, TILE_COL, TILE_REGION, TILE_ROW,
)  # fmt: skip


@triton.jit
def block_fwd_tile_kernel(
    tiles,  # one a program
    regions, pieces, stores, sources, outputs,  # tables of csrc/core/tables.h, int64
    weight,  # [filters, SIZE, SIZE, GROUP_CHANNELS]
    bias,  # [filters], or anything where BIASED is not set
    mean,  # [channels] float32, or anything where SUBTRACT is not set
    band,  # [JOINED * BN, JOINED * BN] float32, or anything where BANDED is not set: cross_map_normed
    scale, norm_scale, norm_power, norm_k,
    values,  # the norm's input, shaped like the result of whole images, where KEEP_VALUES is set
    hits,  # int16 of the same shape, where KEEP_HITS is set
    ROWS: tl.constexpr, COLS: tl.constexpr, BK: tl.constexpr, BN: tl.constexpr,
    JOINED: tl.constexpr, GROUPS: tl.constexpr, GROUP_CHANNELS: tl.constexpr, GROUP_FILTERS: tl.constexpr,
    SIZE: tl.constexpr, STRIDE: tl.constexpr, POOL: tl.constexpr, POOL_STRIDE: tl.constexpr, AVERAGE: tl.constexpr,
    RELU_LAST: tl.constexpr, NORM: tl.constexpr, NORM_SIZE: tl.constexpr, NORM_FIRST: tl.constexpr, BEFORE: tl.constexpr,
    AFTER: tl.constexpr, FLAT: tl.constexpr, GATHER: tl.constexpr, SUBTRACT: tl.constexpr, BIASED: tl.constexpr,
    BANDED: tl.constexpr, EXACT: tl.constexpr,
    KEEP_VALUES: tl.constexpr, KEEP_HITS: tl.constexpr, ALIGN: tl.constexpr,
    SOURCE_TYPE: tl.constexpr, OPERAND: tl.constexpr, OUT_TYPE: tl.constexpr, OUT_ALIGN: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """One tile of ROWS x COLS convolution outputs (flat: of so many in row-major order), JOINED groups of filters side by side.

    The tile owns the pool windows that start at least BEFORE behind its first and AFTER before its last row and column.
    """
    BM: tl.constexpr = ROWS * COLS
    PARTS: tl.constexpr = (GROUP_FILTERS + BN - 1) // BN  # tiles of a group's filters

    tile = tiles + tl.program_id(0).to(tl.int64) * TILE
    region = regions + tl.load(tile + TILE_REGION) * REGION
    tile_row, tile_col = field(tile, TILE_ROW), field(tile, TILE_COL)
    rows, cols = field(region, REGION_ROWS), field(region, REGION_COLS)

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

    group = tl.program_id(1) // PARTS * JOINED
    first = tl.program_id(1) % PARTS * BN
    v = output_of_conv(
        region, i, j, first_row, first_col, computed, sources, weight, bias, mean, scale, group, first,
        BM, BK, BN, JOINED, GROUP_CHANNELS, GROUP_FILTERS, SIZE, STRIDE, GATHER, SUBTRACT, BIASED, RELU_LAST,
        ALIGN, SOURCE_TYPE, OPERAND, PRECISION,
    )  # fmt: skip
    filter = filters_of(group, first, BN, GROUP_FILTERS, JOINED)
    exists = first + tl.arange(0, JOINED * BN) % BN < GROUP_FILTERS

    if NORM_FIRST:
        if NORM == CROSS_MAP:
            v = cross_map_normed(v, band, norm_scale, norm_power, norm_k, NORM_SIZE, GROUP_FILTERS, BN, BANDED, EXACT)
        else:
            v *= power(norm_k + norm_scale * same_map_sum(v * v, 1, NORM_SIZE, ROWS, COLS), -norm_power)
    if POOL > 1:
        v = poolable(v, computed, NORM_FIRST, AVERAGE, RELU_LAST)
        pooled = v
        for step in tl.static_range(1, POOL):
            pooled = pooled_with(pooled, shifted(v, step, 1, ROWS, COLS), AVERAGE)
        across = pooled
        for step in tl.static_range(1, POOL):
            pooled = pooled_with(pooled, shifted(across, step, 0, ROWS, COLS), AVERAGE)
        if AVERAGE:
            pooled = average(pooled, i, j, rows, cols, POOL)
        if KEEP_HITS:
            bits = tl.zeros([BM, JOINED * BN], tl.int32)
            for bit in range(POOL * POOL):  # not unrolled: shifts are long
                neighbour = shifted(shifted(v, bit // POOL, 0, ROWS, COLS), bit % POOL, 1, ROWS, COLS)
                bits |= ((neighbour == pooled) & (pooled > 0)).to(tl.int32) << bit
        v = pooled
    kept = v
    if NORM == CROSS_MAP and not NORM_FIRST:
        v = cross_map_normed(v, band, norm_scale, norm_power, norm_k, NORM_SIZE, GROUP_FILTERS, BN, BANDED, EXACT)

    piece = pieces + tl.load(region + REGION_FIRST) * PIECE
    for _ in range(field(region, REGION_COUNT)):
        down, right = i - field(piece, PIECE_TOP), j - field(piece, PIECE_LEFT)
        inside = (down >= 0) & (right >= 0) & computed
        inside &= (down % POOL_STRIDE == 0) & (right % POOL_STRIDE == 0)
        row, col = down // POOL_STRIDE, right // POOL_STRIDE
        inside &= (row < field(piece, PIECE_ROWS)) & (col < field(piece, PIECE_COLS))
        result = v
        if NORM == SAME_MAP and not NORM_FIRST:
            squares = tl.where(inside[:, None], v * v, 0.0)
            result *= power(norm_k + norm_scale * same_map_sum(squares, POOL_STRIDE, NORM_SIZE, ROWS, COLS), -norm_power)
        if RELU_LAST:
            result = relu(result)
        inside &= owned
        store = stores + tl.load(piece + PIECE_FIRST) * STORE
        for _ in range(field(piece, PIECE_COUNT)):
            at_row, at_col = row - field(store, STORE_SKIP_TOP), col - field(store, STORE_SKIP_LEFT)
            taken = inside & (at_row >= 0) & (at_row < field(store, STORE_HEIGHT))
            taken = taken & (at_col >= 0) & (at_col < field(store, STORE_WIDTH))
            output = outputs + tl.load(store + STORE_OUTPUT) * OUTPUT
            out_rows, out_cols = tl.load(output + OUTPUT_ROWS), tl.load(output + OUTPUT_COLS)
            top = tl.load(store + STORE_IMAGE) * out_rows + field(store, STORE_OUT_TOP)
            start = top * out_cols + field(store, STORE_OUT_LEFT)  # of the store's rectangle
            place = (start + at_row.to(tl.int64) * out_cols + at_col) * (GROUPS * GROUP_FILTERS)  # [BM]
            mask = taken[:, None] & exists[None, :]
            address = tl.multiple_of(tl.load(output + OUTPUT_ADDRESS).to(tl.pointer_type(OUT_TYPE)), OUT_ALIGN)
            tl.store((address + place)[:, None] + filter[None, :], result.to(OUT_TYPE), mask=mask)
            if KEEP_VALUES:
                tl.store((values + place)[:, None] + filter[None, :], kept.to(OUT_TYPE), mask=mask)
            if KEEP_HITS:
                tl.store((hits + place)[:, None] + filter[None, :], bits.to(tl.int16), mask=mask)
            store += STORE
        piece += PIECE
