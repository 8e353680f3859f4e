"""The convolution of the block's Triton kernels: where its pixels lie, its sums of products, bias and ReLU.

A step of the loop multiplies [outputs, depth] by [depth, filters], depth 16 to 64: of one tap and consecutive channels, 16
bytes a thread by asynchronous copies, or, where channels are few, of gathered (tap, channel) pairs, whose addresses and tests
of the window are then what takes the time.
"""

from __future__ import annotations

import triton
import triton.language as tl

from dcnn_fast.ops.block.triton.parts import field, filter_of, operand, relu

from dcnn_fast.ops.block.triton.records import (  # isort: skip
    REGION_IMAGE, REGION_LEFT, REGION_SOURCE, REGION_TOP, REGION_WINDOW_HEIGHT, REGION_WINDOW_LEFT, REGION_WINDOW_TOP,
    REGION_WINDOW_WIDTH, SOURCE, SOURCE_ADDRESS, SOURCE_CHANNEL, SOURCE_COL, SOURCE_IMAGE, SOURCE_ROW,
)  # fmt: skip


@triton.jit
def conv_tile(
    base,  # the source's pixel (0, 0) of the tile, channel 0 of the group
    origin,  # [BM] int32: each output's offset from `base`
    y, x,  # [BM] int32: its receptive field's corner in the window
    computed,  # [BM]: whether it is wanted
    height, width,  # of the window
    row_stride, col_stride, channel_stride,
    weight,  # [GROUP_FILTERS, TERMS] of the group, read from filter `first` on
    first, mean, scale,
    BM: tl.constexpr, BK: tl.constexpr, BN: tl.constexpr, GROUP_CHANNELS: tl.constexpr, GROUP_FILTERS: tl.constexpr,
    SIZE: tl.constexpr, GATHER: tl.constexpr, SUBTRACT: tl.constexpr, OPERAND: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Sums of products of one group: [BM, BN] float32, the taps in row-major order, a tap's channels in ascending order."""
    TERMS: tl.constexpr = SIZE * SIZE * GROUP_CHANNELS
    k = tl.arange(0, BK)
    filter = first + tl.arange(0, BN)
    filters = weight + filter[None, :] * TERMS  # [1, BN]
    exists = (filter < GROUP_FILTERS)[None, :]
    acc = tl.zeros([BM, BN], tl.float32)
    if GATHER:
        for step in range(tl.cdiv(TERMS, BK)):
            term = step * BK + k
            tap = term // GROUP_CHANNELS
            channel = term % GROUP_CHANNELS
            row, col = tap // SIZE, tap % SIZE
            inside = (term < TERMS)[None, :] & computed[:, None]
            inside &= within(y[:, None] + row[None, :], height) & within(x[:, None] + col[None, :], width)
            offset = row * row_stride + col * col_stride + channel * channel_stride
            a = tl.load(base + (origin[:, None] + offset[None, :]), mask=inside, other=0)  # [BM, BK]
            if SUBTRACT:
                a = (a.to(tl.float32) - tl.load(mean + channel)[None, :]) * scale
                a = tl.where(inside, a, 0.0)
            b = tl.load(filters + term[:, None], mask=exists & (term < TERMS)[:, None], other=0)  # [BK, BN]
            acc = tl.dot(operand(a, OPERAND, PRECISION), operand(b, OPERAND, PRECISION), acc, input_precision=PRECISION)
    else:
        for step in range(SIZE * SIZE * (GROUP_CHANNELS // BK)):
            tap = step // (GROUP_CHANNELS // BK)
            channel = step % (GROUP_CHANNELS // BK) * BK + k
            row, col = tap // SIZE, tap % SIZE
            inside = computed & within(y + row, height) & within(x + col, width)
            offset = origin + (row * row_stride + col * col_stride)
            a = tl.load(base + (offset[:, None] + channel[None, :]), mask=inside[:, None], other=0)  # [BM, BK]
            if SUBTRACT:
                a = (a.to(tl.float32) - tl.load(mean + channel)[None, :]) * scale
                a = tl.where(inside[:, None], a, 0.0)
            b = tl.load(filters + (tap * GROUP_CHANNELS + channel)[:, None], mask=exists, other=0)  # [BK, BN]
            acc = tl.dot(operand(a, OPERAND, PRECISION), operand(b, OPERAND, PRECISION), acc, input_precision=PRECISION)
    return acc


@triton.jit
def within(place, extent):
    """0 <= place < extent, in one comparison: a negative number is a large one without its sign."""
    return place.to(tl.uint32, bitcast=True) < extent.to(tl.uint32)


@triton.jit
def side_by_side(a, b):  # [M, F] each
    """[a, b]: [M, 2 * F]."""
    M: tl.constexpr = a.shape[0]
    F: tl.constexpr = a.shape[1]
    return tl.reshape(tl.permute(tl.join(a, b), (0, 2, 1)), [M, 2 * F])


@triton.jit
def output_of_conv(
    region,  # its row of the table
    i, j,  # [BM] int32: places of the outputs in the region
    first_row, first_col,  # the least of them, from where offsets are counted
    computed,  # [BM]: whether an output is wanted
    sources, weight, bias, mean, scale, group, first,
    BM: tl.constexpr, BK: tl.constexpr, BN: tl.constexpr, JOINED: tl.constexpr, GROUP_CHANNELS: tl.constexpr,
    GROUP_FILTERS: tl.constexpr, SIZE: tl.constexpr, STRIDE: tl.constexpr, GATHER: tl.constexpr, SUBTRACT: tl.constexpr,
    BIASED: tl.constexpr, RELU_LAST: tl.constexpr, ALIGN: tl.constexpr, SOURCE_TYPE: tl.constexpr, OPERAND: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """[BM, JOINED * BN] float32 of the filters from `first` of `group` on, 0 where an output or a filter is not wanted; behind
    the ReLU unless that comes last.

    The source's address is 64 bits wide, offsets from the region's first pixel here are 32.
    """
    window_top, window_left = field(region, REGION_WINDOW_TOP), field(region, REGION_WINDOW_LEFT)
    height, width = field(region, REGION_WINDOW_HEIGHT), field(region, REGION_WINDOW_WIDTH)
    top, left = field(region, REGION_TOP), field(region, REGION_LEFT)
    source = sources + tl.load(region + REGION_SOURCE) * SOURCE
    row_stride = tl.multiple_of(tl.load(source + SOURCE_ROW).to(tl.int32), ALIGN)
    col_stride = tl.multiple_of(tl.load(source + SOURCE_COL).to(tl.int32), ALIGN)
    channel_stride = field(source, SOURCE_CHANNEL)
    corner = tl.load(region + REGION_IMAGE) * tl.load(source + SOURCE_IMAGE)
    corner += (top + first_row * STRIDE).to(tl.int64) * row_stride + (left + first_col * STRIDE).to(tl.int64) * col_stride
    base = tl.load(source + SOURCE_ADDRESS).to(tl.pointer_type(SOURCE_TYPE)) + tl.multiple_of(corner, ALIGN)
    base = tl.multiple_of(base, ALIGN * (SOURCE_TYPE.primitive_bitwidth // 8))
    origin = (i - first_row) * STRIDE * row_stride + (j - first_col) * STRIDE * col_stride
    y, x = top - window_top + i * STRIDE, left - window_left + j * STRIDE

    TERMS: tl.constexpr = SIZE * SIZE * GROUP_CHANNELS
    if GATHER:
        base += (group * GROUP_CHANNELS).to(tl.int64) * channel_stride
    else:
        base += group * GROUP_CHANNELS
        channel_stride = 1
    grown = weight + (group * GROUP_FILTERS).to(tl.int64) * TERMS
    v = conv_tile(
        base, origin, y, x, computed, height, width, row_stride, col_stride, channel_stride, grown, first,
        mean + group * GROUP_CHANNELS, scale,
        BM, BK, BN, GROUP_CHANNELS, GROUP_FILTERS, SIZE, GATHER, SUBTRACT, OPERAND, PRECISION,
    )  # fmt: skip
    if JOINED == 2:
        second = conv_tile(
            base + GROUP_CHANNELS * channel_stride, origin, y, x, computed, height, width,
            row_stride, col_stride, channel_stride, grown + GROUP_FILTERS * TERMS, first, mean + GROUP_CHANNELS, scale,
            BM, BK, BN, GROUP_CHANNELS, GROUP_FILTERS, SIZE, GATHER, SUBTRACT, OPERAND, PRECISION,
        )  # fmt: skip
        v = side_by_side(v, second)
    part = tl.arange(0, JOINED * BN)
    exists = first + part % BN < GROUP_FILTERS
    if BIASED:
        filter = filters_of(group, first, BN, GROUP_FILTERS, JOINED)
        v += tl.load(bias + filter, mask=exists, other=0).to(tl.float32)[None, :]
    if not RELU_LAST:
        v = relu(v)
    return tl.where(computed[:, None] & exists[None, :], v, 0.0)


@triton.jit
def filters_of(group, first, BN: tl.constexpr, GROUP_FILTERS: tl.constexpr, JOINED: tl.constexpr):
    """[JOINED * BN] int32: the block's filter at each place of a tile."""
    if JOINED == 1:
        return group * GROUP_FILTERS + first + tl.arange(0, BN)
    return filter_of(tl.arange(0, JOINED * BN), GROUP_FILTERS, BN)
