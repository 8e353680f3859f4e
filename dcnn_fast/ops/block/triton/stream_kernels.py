"""The block's forward in Triton, streamed: a program goes down a strip of convolution outputs a row at a time.

The rows above stay in registers until their pool window is complete, so that no row is computed twice inside a strip and only
the shifts along a row pass through other lanes. Against block_fwd_tile_kernel: fewer products and shifts, longer programs.
Results have the same bits.

Strip: 32 outputs of up to 64 filters on 4 warps, down 16 rows. Memory: 32 KB of shared memory for block 1 in tf32, and three
rows of the strip in registers, which is what keeps it narrow. Limit, by the model: the weights, read again for every row of 32
outputs.
"""

from __future__ import annotations

import triton
import triton.language as tl

from dcnn_fast.ops.block.triton.conv import filters_of, output_of_conv
from dcnn_fast.ops.block.triton.parts import CROSS_MAP, average, cross_map_normed, field, poolable, pooled_with, relu, shifted

from dcnn_fast.ops.block.triton.records import (  # isort: skip
    OUTPUT, OUTPUT_ADDRESS, OUTPUT_COLS, OUTPUT_ROWS, PIECE, PIECE_COLS, PIECE_COUNT, PIECE_FIRST, PIECE_LEFT, PIECE_ROWS,
    PIECE_TOP, REGION, REGION_COLS, REGION_COUNT, REGION_FIRST, REGION_ROWS, STORE, STORE_HEIGHT, STORE_IMAGE, STORE_OUT_LEFT,
    STORE_OUT_TOP, STORE_OUTPUT, STORE_SKIP_LEFT, STORE_SKIP_TOP, STORE_WIDTH, TILE, TILE_COL, TILE_REGION, TILE_ROW,
)  # fmt: skip


@triton.jit
def block_fwd_stream_kernel(
    tiles,  # one a program
    regions, pieces, stores, sources, outputs,  # tables of csrc/core/tables.h, int64
    weight,  # [filters, SIZE, SIZE, GROUP_CHANNELS]
    bias,  # [filters], or anything where BIASED is not set
    mean,  # [channels] float32, or anything where SUBTRACT is not set
    band,  # [JOINED * BN, JOINED * BN] float32, or anything where BANDED is not set: cross_map_normed
    scale, norm_scale, norm_power, norm_k,
    ROWS: tl.constexpr, COLS: tl.constexpr, BK: tl.constexpr, BN: tl.constexpr,
    JOINED: tl.constexpr, GROUPS: tl.constexpr, GROUP_CHANNELS: tl.constexpr, GROUP_FILTERS: tl.constexpr,
    SIZE: tl.constexpr, STRIDE: tl.constexpr, POOL: tl.constexpr, POOL_STRIDE: tl.constexpr, AVERAGE: tl.constexpr,
    RELU_LAST: tl.constexpr, NORM: tl.constexpr, NORM_SIZE: tl.constexpr, NORM_FIRST: tl.constexpr,
    GATHER: tl.constexpr, SUBTRACT: tl.constexpr, BIASED: tl.constexpr, BANDED: tl.constexpr,
    EXACT: tl.constexpr, ALIGN: tl.constexpr,
    SOURCE_TYPE: tl.constexpr, OPERAND: tl.constexpr, OUT_TYPE: tl.constexpr, OUT_ALIGN: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """A strip that owns the pool windows starting in ROWS rows and the first COLS - POOL + 1 columns; POOL is 2 or 3."""
    tl.static_assert((POOL > 1) & (POOL < 4))
    PARTS: tl.constexpr = (GROUP_FILTERS + BN - 1) // BN  # tiles of a group's filters

    tile = tiles + tl.program_id(0).to(tl.int64) * TILE
    region = regions + tl.load(tile + TILE_REGION) * REGION
    first_row, first_col = field(tile, TILE_ROW), field(tile, TILE_COL)
    rows, cols = field(region, REGION_ROWS), field(region, REGION_COLS)
    group = tl.program_id(1) // PARTS * JOINED
    first = tl.program_id(1) % PARTS * BN
    filter = filters_of(group, first, BN, GROUP_FILTERS, JOINED)
    exists = first + tl.arange(0, JOINED * BN) % BN < GROUP_FILTERS
    lane = tl.arange(0, COLS)
    j = first_col + lane
    above = tl.zeros(
        [COLS, JOINED * BN], tl.float32
    )  # the horizontal maxima or sums of the row above, and of the one above that
    before = tl.zeros([COLS, JOINED * BN], tl.float32)
    for row in range(first_row, tl.minimum(first_row + ROWS, rows) + POOL - 1):
        i = row + lane * 0
        v = output_of_conv(
            region, i, j, row, first_col, (j < cols) & (row < rows), sources, weight, bias, mean, scale, group, first,
            COLS, BK, BN, JOINED, GROUP_CHANNELS, GROUP_FILTERS, SIZE, STRIDE, GATHER, SUBTRACT, BIASED, RELU_LAST,
            ALIGN, SOURCE_TYPE, OPERAND, PRECISION,
        )  # fmt: skip
        if NORM_FIRST:
            v = cross_map_normed(v, band, norm_scale, norm_power, norm_k, NORM_SIZE, GROUP_FILTERS, BN, BANDED, EXACT)
        v = poolable(v, (j < cols) & (row < rows), NORM_FIRST, AVERAGE, RELU_LAST)
        across = v
        for step in tl.static_range(1, POOL):
            across = pooled_with(across, shifted(v, step, 1, 1, COLS), AVERAGE)
        if AVERAGE:  # from the top, as the other kernel adds
            pooled = (before + above if POOL == 3 else above) + across
            pooled = average(pooled, row - (POOL - 1) + lane * 0, j, rows, cols, POOL)
        else:
            pooled = pooled_with(across, above, AVERAGE)
            if POOL == 3:
                pooled = pooled_with(pooled, before, AVERAGE)
        before = above
        above = across

        start = row - (POOL - 1)  # where the windows that are complete now start
        piece = pieces + tl.load(region + REGION_FIRST) * PIECE
        for _ in range(field(region, REGION_COUNT)):
            down = start - field(piece, PIECE_TOP)
            at = down // POOL_STRIDE
            if (start >= first_row) & (down >= 0) & (down % POOL_STRIDE == 0) & (at < field(piece, PIECE_ROWS)):
                result = pooled
                if NORM == CROSS_MAP and not NORM_FIRST:
                    result = cross_map_normed(
                        pooled, band, norm_scale, norm_power, norm_k, NORM_SIZE, GROUP_FILTERS, BN, BANDED, EXACT
                    )
                if RELU_LAST:
                    result = relu(result)
                right = j - field(piece, PIECE_LEFT)
                col = right // POOL_STRIDE
                inside = (right >= 0) & (right % POOL_STRIDE == 0) & (col < field(piece, PIECE_COLS))
                inside &= (j < cols) & (lane < COLS - POOL + 1)
                store = stores + tl.load(piece + PIECE_FIRST) * STORE
                for _ in range(field(piece, PIECE_COUNT)):
                    at_row, at_col = at - field(store, STORE_SKIP_TOP), col - field(store, STORE_SKIP_LEFT)
                    if (at_row >= 0) & (at_row < field(store, STORE_HEIGHT)):
                        taken = inside & (at_col >= 0) & (at_col < field(store, STORE_WIDTH))
                        output = outputs + tl.load(store + STORE_OUTPUT) * OUTPUT
                        out_rows, out_cols = tl.load(output + OUTPUT_ROWS), tl.load(output + OUTPUT_COLS)
                        top = tl.load(store + STORE_IMAGE) * out_rows + field(store, STORE_OUT_TOP) + at_row
                        corner = top * out_cols + field(store, STORE_OUT_LEFT)
                        place = (corner + at_col) * (GROUPS * GROUP_FILTERS)  # [COLS] int64
                        address = tl.multiple_of(tl.load(output + OUTPUT_ADDRESS).to(tl.pointer_type(OUT_TYPE)), OUT_ALIGN)
                        mask = taken[:, None] & exists[None, :]
                        tl.store((address + place)[:, None] + filter[None, :], result.to(OUT_TYPE), mask=mask)
                    store += STORE
            piece += PIECE
