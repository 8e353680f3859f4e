"""Triton kernels of the block's backward: the gradients of the convolution's operands, and the convolution once more;
backward_launch.py launches them.

Every tensor is dense in channels_last memory. A position is one output of the convolution, a pixel one input; both are counted
over the batch, so that a tile may span images. Offsets of a tile's rows are 64-bit, those within a row 32-bit.

Tiles: 64 pixels by up to 64 channels (input), up to 64 filters by 64 taps and channels (weights), 16 or 32 products at a time
(backward_launch.py). Memory: registers and shared memory as devtools/kernel_report.csv says, and a workspace of partial sums.
Limit: building the gradient from hits, which every program does anew for its taps and channels; nobody has timed it.
"""

from __future__ import annotations

import triton
import triton.language as tl

from dcnn_fast.ops.block.triton.parts import operand, place, row_offsets


@triton.jit
def conv_gradient(
    u,
    passed,
    image,  # [M], like y and x: a position
    y,
    x,
    inside,  # [M]: whether there is such a position
    filter,  # [F]
    known,  # [F]: whether there is such a filter
    rows,  # of u
    cols,
    FILTERS: tl.constexpr,
    MODE: tl.constexpr,
    POOL: tl.constexpr,
    POOL_STRIDE: tl.constexpr,
    TIES_FIRST: tl.constexpr,
):
    """The gradient of the convolution's output at some positions: [M, F], float32.

    MODE says how it follows from u. "direct": it is u; "mask": it is u where `passed`, the result, is positive; "hits": it is
    the sum of u over the pool windows whose hits, in `passed`, name the output (TIES_FIRST: name it first). What did not win is
    selected away, not multiplied by zero: an infinity that no gradient reaches leaves no trace.
    """
    if MODE == "hits":
        total = tl.zeros([image.shape[0], filter.shape[0]], tl.float32)
        top, left = y // POOL_STRIDE, x // POOL_STRIDE
        for back in tl.static_range((POOL + POOL_STRIDE - 1) // POOL_STRIDE):
            window_y = top - back
            i = y - window_y * POOL_STRIDE
            row_inside = inside & (i < POOL) & (window_y >= 0) & (window_y < rows)
            for aside in tl.static_range((POOL + POOL_STRIDE - 1) // POOL_STRIDE):
                window_x = left - aside
                j = x - window_x * POOL_STRIDE
                covered = row_inside & (j < POOL) & (window_x >= 0) & (window_x < cols)
                start = row_offsets(image, window_y, window_x, rows, cols, FILTERS)
                mask = covered[:, None] & known[None, :]
                hits = tl.load((passed + start)[:, None] + filter[None, :], mask=mask, other=0).to(tl.int32)
                if TIES_FIRST:
                    hits = hits & -hits
                taken = tl.load((u + start)[:, None] + filter[None, :], mask=mask, other=0.0).to(tl.float32)
                bit = (i * POOL + j) & 15  # beyond the window, where there are no hits, too
                total += tl.where(((hits >> bit[:, None]) & 1) != 0, taken, 0.0)
    else:
        start = row_offsets(image, y, x, rows, cols, FILTERS)
        mask = inside[:, None] & known[None, :]
        total = tl.load((u + start)[:, None] + filter[None, :], mask=mask, other=0.0).to(tl.float32)
        if MODE == "mask":
            result = tl.load((passed + start)[:, None] + filter[None, :], mask=mask, other=0.0)
            total = tl.where(result > 0, total, 0.0)
    return total


@triton.jit
def tap_and_channel(term, SIZE: tl.constexpr, GROUP_CHANNELS: tl.constexpr):
    """A term's row and column in the filter and its channel within the group."""
    tap = term // GROUP_CHANNELS
    return tap // SIZE, tap % SIZE, term % GROUP_CHANNELS


@triton.jit
def source_tile(
    source,
    image,  # [M], like y and x: a position
    y,
    x,
    inside,  # [M]: whether there is such a position
    first,  # the tile's first term
    group,
    height,
    width,
    CHANNELS: tl.constexpr,
    GROUP_CHANNELS: tl.constexpr,
    SIZE: tl.constexpr,
    STRIDE: tl.constexpr,
    PADDING: tl.constexpr,
    COUNT: tl.constexpr,
    GATHER: tl.constexpr,
):
    """The pixels that positions meet in the terms first ... first + COUNT - 1: [M, COUNT], zero in the padding.

    Where GATHER is not set, these are channels of one tap, loaded as vectors.
    """
    term = first + tl.arange(0, COUNT)
    if GATHER:
        tap_y, tap_x, channel = tap_and_channel(term, SIZE, GROUP_CHANNELS)
        pixel_y, pixel_x = y * STRIDE - PADDING, x * STRIDE - PADDING
        start = row_offsets(image, pixel_y, pixel_x, height, width, CHANNELS)
        lane = (tap_y * width + tap_x) * CHANNELS + group * GROUP_CHANNELS + channel
        row, col = pixel_y[:, None] + tap_y[None, :], pixel_x[:, None] + tap_x[None, :]
        mask = inside[:, None] & (row >= 0) & (row < height) & (col >= 0) & (col < width)
        mask = mask & (term < SIZE * SIZE * GROUP_CHANNELS)[None, :]
    else:
        tap_y, tap_x, channel = tap_and_channel(first, SIZE, GROUP_CHANNELS)
        pixel_y, pixel_x = y * STRIDE - PADDING + tap_y, x * STRIDE - PADDING + tap_x
        inside = inside & (pixel_y >= 0) & (pixel_y < height) & (pixel_x >= 0) & (pixel_x < width)
        start = row_offsets(image, pixel_y, pixel_x, height, width, CHANNELS)
        lane = tl.multiple_of(group * GROUP_CHANNELS + channel, COUNT) + tl.arange(0, COUNT)
        mask = inside[:, None]
    return tl.load((source + start)[:, None] + lane[None, :], mask=mask, other=0)


@triton.jit
def block_bwd_weight_kernel(
    u,  # see `conv_gradient`
    passed,
    x,  # [N, height, width, CHANNELS]
    partial,  # [slices, FILTERS, SIZE, SIZE, GROUP_CHANNELS]
    positions,  # in all
    share,  # positions of a slice, a multiple of BK
    height,
    width,
    conv_rows,
    conv_cols,
    u_rows,
    u_cols,
    CHANNELS: tl.constexpr,
    FILTERS: tl.constexpr,
    GROUPS: tl.constexpr,
    SIZE: tl.constexpr,
    STRIDE: tl.constexpr,
    PADDING: tl.constexpr,
    MODE: tl.constexpr,
    POOL: tl.constexpr,
    POOL_STRIDE: tl.constexpr,
    TIES_FIRST: tl.constexpr,
    OPERAND: tl.constexpr,
    PRECISION: tl.constexpr,
    BM: tl.constexpr,
    BN: tl.constexpr,
    BK: tl.constexpr,
    GATHER: tl.constexpr,
):
    """A slice's share of the gradient of BM filters' BN weights. Grid [tiles, slices, groups]."""
    GROUP_FILTERS: tl.constexpr = FILTERS // GROUPS
    GROUP_CHANNELS: tl.constexpr = CHANNELS // GROUPS
    TERMS: tl.constexpr = SIZE * SIZE * GROUP_CHANNELS
    PARTS: tl.constexpr = (TERMS + BN - 1) // BN
    tile, slice, group = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    row = tile // PARTS * BM + tl.arange(0, BM)
    first = tile % PARTS * BN
    known = row < GROUP_FILTERS
    filter = group * GROUP_FILTERS + row
    total = tl.zeros([BM, BN], tl.float32)
    for start in range(slice * share, tl.minimum((slice + 1) * share, positions), BK):
        position = start + tl.arange(0, BK)
        inside = position < positions
        image, at_y, at_x = place(position, conv_rows, conv_cols)
        pixels = source_tile(
            x, image, at_y, at_x, inside, first, group, height, width, CHANNELS, GROUP_CHANNELS, SIZE, STRIDE, PADDING, BN,
            GATHER,
        )  # fmt: skip
        g = conv_gradient(
            u, passed, image, at_y, at_x, inside, filter, known, u_rows, u_cols, FILTERS, MODE, POOL, POOL_STRIDE, TIES_FIRST
        )
        g = tl.trans(operand(g, OPERAND, PRECISION))
        total = tl.dot(g, operand(pixels, OPERAND, PRECISION), total, input_precision=PRECISION)
    term = first + tl.arange(0, BN)
    target = partial + slice * (FILTERS * TERMS)
    mask = known[:, None] & (term < TERMS)[None, :]
    tl.store(target + (filter * TERMS)[:, None] + term[None, :], total, mask=mask)


@triton.jit
def block_bwd_bias_kernel(
    u,  # [positions, FILTERS]
    passed,
    partial,  # [slices, FILTERS]
    positions,  # of u, in all
    share,  # positions of a slice, a multiple of BK
    FILTERS: tl.constexpr,
    MODE: tl.constexpr,
    TIES_FIRST: tl.constexpr,
    BN: tl.constexpr,
    BK: tl.constexpr,
):
    """A slice's share of the gradient of BN filters' bias. Grid [tiles, slices].

    What a pool window sends to the outputs that it names is u times their number.
    """
    filter = tl.program_id(0) * BN + tl.arange(0, BN)
    known = filter < FILTERS
    slice = tl.program_id(1)
    total = tl.zeros([BK, BN], tl.float32)
    for start in range(slice * share, tl.minimum((slice + 1) * share, positions), BK):
        position = start + tl.arange(0, BK)
        offset = position.to(tl.int64) * FILTERS
        mask = (position < positions)[:, None] & known[None, :]
        taken = tl.load((u + offset)[:, None] + filter[None, :], mask=mask, other=0.0).to(tl.float32)
        if MODE == "mask":
            result = tl.load((passed + offset)[:, None] + filter[None, :], mask=mask, other=0.0)
            taken = tl.where(result > 0, taken, 0.0)
        if MODE == "hits":
            hits = tl.load((passed + offset)[:, None] + filter[None, :], mask=mask, other=0).to(tl.int32) & 0xFFFF
            if TIES_FIRST:
                taken = tl.where(hits != 0, taken, 0.0)
            else:
                taken = tl.where(hits != 0, taken * bits_set(hits).to(tl.float32), 0.0)
        total += taken
    tl.store(partial + slice * FILTERS + filter, tl.sum(total, 0), mask=known)


@triton.jit
def bits_set(word):
    """How many of the low 16 bits are set, of any shape."""
    word = word - ((word >> 1) & 0x5555)
    word = (word & 0x3333) + ((word >> 2) & 0x3333)
    word = (word + (word >> 4)) & 0x0F0F
    return (word + (word >> 8)) & 0x1F


@triton.jit
def block_bwd_add_slices_kernel(
    partial,  # [slices, count]
    out,  # [count]
    first,
    slices,
    count,
    BLOCK: tl.constexpr,
):
    """out = the sum of slices first ... slices - 1, in this order; it may be one of them. Grid [blocks]."""
    index = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = index < count
    total = tl.zeros([BLOCK], tl.float32)
    for slice in range(first, slices):
        total += tl.load(partial + slice * count + index, mask=mask, other=0.0)
    tl.store(out + index, total.to(out.dtype.element_ty), mask=mask)


@triton.jit
def block_bwd_input_kernel(
    u,  # see `conv_gradient`
    passed,
    weight,  # [FILTERS, SIZE, SIZE, GROUP_CHANNELS]
    grad_x,  # [N, height, width, CHANNELS]
    pixels,  # in all of one phase: images * phase_rows * phase_cols
    height,
    width,
    conv_rows,
    conv_cols,
    u_rows,
    u_cols,
    phase_rows,
    phase_cols,
    CHANNELS: tl.constexpr,
    FILTERS: tl.constexpr,
    GROUPS: tl.constexpr,
    SIZE: tl.constexpr,
    STRIDE: tl.constexpr,
    PADDING: tl.constexpr,
    MODE: tl.constexpr,
    POOL: tl.constexpr,
    POOL_STRIDE: tl.constexpr,
    TIES_FIRST: tl.constexpr,
    OPERAND: tl.constexpr,
    PRECISION: tl.constexpr,
    BM: tl.constexpr,
    BN: tl.constexpr,
    BK: tl.constexpr,
):
    """The gradient of BM pixels' BN channels. Grid [tiles of pixels, tiles of channels * phases, groups].

    The pixels of a program share their phase, the remainder of row and column (padding included) by the stride, and so the taps
    that they meet: every STRIDE-th. The sum goes over these taps and the group's filters, BK at a time.
    """
    GROUP_FILTERS: tl.constexpr = FILTERS // GROUPS
    GROUP_CHANNELS: tl.constexpr = CHANNELS // GROUPS
    PARTS: tl.constexpr = (GROUP_CHANNELS + BN - 1) // BN
    STEPS: tl.constexpr = (GROUP_FILTERS + BK - 1) // BK
    group = tl.program_id(2)
    phase = tl.program_id(1) // PARTS
    phase_y, phase_x = phase // STRIDE, phase % STRIDE
    channel = tl.program_id(1) % PARTS * BN + tl.arange(0, BN)
    known_channel = channel < GROUP_CHANNELS
    index = tl.program_id(0) * BM + tl.arange(0, BM)
    image, first_y, first_x = place(index, phase_rows, phase_cols)
    first_y, first_x = first_y + PADDING // STRIDE, first_x + PADDING // STRIDE
    pixel_y, pixel_x = first_y * STRIDE + phase_y - PADDING, first_x * STRIDE + phase_x - PADDING
    there = (index < pixels) & (pixel_y >= 0) & (pixel_y < height) & (pixel_x >= 0) & (pixel_x < width)
    taps_y = (SIZE - phase_y + STRIDE - 1) // STRIDE
    taps_x = (SIZE - phase_x + STRIDE - 1) // STRIDE
    total = tl.zeros([BM, BN], tl.float32)
    for step in range(taps_y * taps_x * STEPS):
        tap = step // STEPS
        row = step % STEPS * BK + tl.arange(0, BK)
        known = row < GROUP_FILTERS
        filter = group * GROUP_FILTERS + row
        down, right = tap // taps_x, tap % taps_x
        at_y, at_x = first_y - down, first_x - right
        inside = there & (at_y >= 0) & (at_y < conv_rows) & (at_x >= 0) & (at_x < conv_cols)
        start = ((filter * SIZE + phase_y + down * STRIDE) * SIZE + phase_x + right * STRIDE) * GROUP_CHANNELS
        mask = known[:, None] & known_channel[None, :]
        kernel = tl.load(weight + start[:, None] + channel[None, :], mask=mask, other=0.0)
        g = conv_gradient(
            u, passed, image, at_y, at_x, inside, filter, known, u_rows, u_cols, FILTERS, MODE, POOL, POOL_STRIDE, TIES_FIRST
        )
        total = tl.dot(operand(g, OPERAND, PRECISION), operand(kernel, OPERAND, PRECISION), total, input_precision=PRECISION)
    target = grad_x + row_offsets(image, pixel_y, pixel_x, height, width, CHANNELS)
    lane = group * GROUP_CHANNELS + channel
    mask = there[:, None] & known_channel[None, :]
    tl.store(target[:, None] + lane[None, :], total.to(grad_x.dtype.element_ty), mask=mask)


@triton.jit
def block_bwd_conv_again_kernel(
    x,  # [N, height, width, CHANNELS]
    weight,  # [FILTERS, SIZE, SIZE, GROUP_CHANNELS]
    bias,  # [FILTERS]
    out,  # [N, conv_rows, conv_cols, FILTERS]
    positions,
    height,
    width,
    conv_rows,
    conv_cols,
    CHANNELS: tl.constexpr,
    FILTERS: tl.constexpr,
    GROUPS: tl.constexpr,
    SIZE: tl.constexpr,
    STRIDE: tl.constexpr,
    PADDING: tl.constexpr,
    BIASED: tl.constexpr,
    RELU_LAST: tl.constexpr,
    OPERAND: tl.constexpr,
    PRECISION: tl.constexpr,
    BM: tl.constexpr,
    BN: tl.constexpr,
    BK: tl.constexpr,
    GATHER: tl.constexpr,
):
    """BM positions by BN filters of the convolution's output, after the ReLU unless that comes last.

    Grid [tiles, tiles of filters, groups].
    """
    GROUP_FILTERS: tl.constexpr = FILTERS // GROUPS
    GROUP_CHANNELS: tl.constexpr = CHANNELS // GROUPS
    TERMS: tl.constexpr = SIZE * SIZE * GROUP_CHANNELS
    group = tl.program_id(2)
    column = tl.program_id(1) * BN + tl.arange(0, BN)
    known = column < GROUP_FILTERS
    filter = group * GROUP_FILTERS + column
    position = tl.program_id(0) * BM + tl.arange(0, BM)
    inside = position < positions
    image, at_y, at_x = place(position, conv_rows, conv_cols)
    total = tl.zeros([BM, BN], tl.float32)
    for first in range(0, TERMS, BK):
        pixels = source_tile(
            x, image, at_y, at_x, inside, first, group, height, width, CHANNELS, GROUP_CHANNELS, SIZE, STRIDE, PADDING, BK,
            GATHER,
        )  # fmt: skip
        term = first + tl.arange(0, BK)
        mask = (term < TERMS)[:, None] & known[None, :]
        kernel = tl.load(weight + term[:, None] + (filter * TERMS)[None, :], mask=mask, other=0.0)
        pixels, kernel = operand(pixels, OPERAND, PRECISION), operand(kernel, OPERAND, PRECISION)
        total = tl.dot(pixels, kernel, total, input_precision=PRECISION)
    if BIASED:
        total += tl.load(bias + filter, mask=known, other=0.0).to(tl.float32)[None, :]
    target = out + row_offsets(image, at_y, at_x, conv_rows, conv_cols, FILTERS)
    mask = inside[:, None] & known[None, :]
    tl.store(target[:, None] + filter[None, :], total if RELU_LAST else tl.maximum(total, 0.0), mask=mask)
