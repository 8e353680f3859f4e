"""Triton kernels of the block's backward; backward_launch.py launches them.

Every tensor is dense in channels_last memory. A position is one output of the convolution, a pixel one input; both are counted
over the batch, so that a tile may span images. Offsets of a tile's rows are 64-bit, those within a row 32-bit.

Tiles: 64 pixels by up to 64 channels (input), up to 64 filters by 64 taps and channels (weights), 16 or 32 products at a time
(backward_launch.py). Memory: registers and shared memory as tools/kernel_report.csv says, beside a workspace of partial sums.
Limit: building the gradient from hits, which every program does anew for its taps and channels; nobody has timed it.
"""

from __future__ import annotations

import triton
import triton.language as tl

from dcnn_fast.ops.block.triton.parts import cross_map_sum, operand, power

WRITTEN_OUT = tl.constexpr(16)  # maps of a norm's window up to which its sum is no loop


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
    relu,  # [N, conv_rows, conv_cols, FILTERS]
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
    OPERAND: tl.constexpr,
    PRECISION: tl.constexpr,
    BM: tl.constexpr,
    BN: tl.constexpr,
    BK: tl.constexpr,
    GATHER: tl.constexpr,
):
    """BM positions by BN filters of the convolution's output after the ReLU. Grid [tiles, tiles of filters, groups]."""
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
    target = relu + row_offsets(image, at_y, at_x, conv_rows, conv_cols, FILTERS)
    tl.store(target[:, None] + filter[None, :], tl.maximum(total, 0.0), mask=inside[:, None] & known[None, :])


@triton.jit
def block_bwd_pool_again_kernel(
    values,  # [N, rows, cols, FILTERS]
    top,  # [N, top_rows, top_cols, FILTERS]: each window's maximum
    index,  # [N, top_rows, top_cols, FILTERS]: where it is first, row * POOL + column
    positions,  # of top, in all
    rows,
    cols,
    top_rows,
    top_cols,
    FILTERS: tl.constexpr,
    POOL: tl.constexpr,
    POOL_STRIDE: tl.constexpr,
    TIES_FIRST: tl.constexpr,
    BM: tl.constexpr,
    BN: tl.constexpr,
):
    """Maxima of windows clipped to the plane and, for TIES_FIRST, the place of each. Grid [tiles of positions, of filters]."""
    filter = tl.program_id(1) * BN + tl.arange(0, BN)
    position = tl.program_id(0) * BM + tl.arange(0, BM)
    there = (position < positions)[:, None] & (filter < FILTERS)[None, :]
    image, at_y, at_x = place(position, top_rows, top_cols)
    best = tl.full([BM, BN], float("-inf"), tl.float32)
    where = tl.zeros([BM, BN], tl.int32)
    for tap in range(POOL * POOL):
        y, x = at_y * POOL_STRIDE + tap // POOL, at_x * POOL_STRIDE + tap % POOL
        mask = there & ((y < rows) & (x < cols))[:, None]
        start = row_offsets(image, y, x, rows, cols, FILTERS)
        value = tl.load((values + start)[:, None] + filter[None, :], mask=mask, other=float("-inf"))
        where = tl.where(value > best, tap, where)
        best = tl.maximum(best, value)
    start = row_offsets(image, at_y, at_x, top_rows, top_cols, FILTERS)
    tl.store((top + start)[:, None] + filter[None, :], best, mask=there)
    if TIES_FIRST:
        tl.store((index + start)[:, None] + filter[None, :], where, mask=there)


@triton.jit
def block_bwd_pool_kernel(
    grad,  # [N, top_rows, top_cols, FILTERS], as are top and index
    top,
    index,
    values,  # [N, rows, cols, FILTERS]: what was pooled
    relu,  # [N, rows, cols, FILTERS]
    out,  # [N, rows, cols, FILTERS]
    positions,  # of values, in all
    rows,
    cols,
    top_rows,
    top_cols,
    FILTERS: tl.constexpr,
    POOL: tl.constexpr,
    POOL_STRIDE: tl.constexpr,
    TIES_FIRST: tl.constexpr,
    MASKED: tl.constexpr,
    BM: tl.constexpr,
    BN: tl.constexpr,
):
    """The gradient of what was pooled, where MASKED only where relu is positive. Grid [tiles of positions, of filters]."""
    filter = tl.program_id(1) * BN + tl.arange(0, BN)
    known = filter < FILTERS
    position = tl.program_id(0) * BM + tl.arange(0, BM)
    inside = position < positions
    there = inside[:, None] & known[None, :]
    image, y, x = place(position, rows, cols)
    start = row_offsets(image, y, x, rows, cols, FILTERS)
    value = tl.load((values + start)[:, None] + filter[None, :], mask=there, other=0.0)
    total = tl.zeros([BM, BN], tl.float32)
    COVERING: tl.constexpr = (POOL + POOL_STRIDE - 1) // POOL_STRIDE
    for step in range(COVERING * COVERING):
        window_y, window_x = y // POOL_STRIDE - step // COVERING, x // POOL_STRIDE - step % COVERING
        i, j = y - window_y * POOL_STRIDE, x - window_x * POOL_STRIDE
        covered = inside & (i < POOL) & (window_y >= 0) & (window_y < top_rows)
        covered = covered & (j < POOL) & (window_x >= 0) & (window_x < top_cols)
        mask = covered[:, None] & known[None, :]
        window = row_offsets(image, window_y, window_x, top_rows, top_cols, FILTERS)
        if TIES_FIRST:
            first = tl.load((index + window)[:, None] + filter[None, :], mask=mask, other=-1)
            hit = first == (i * POOL + j)[:, None]
        else:
            hit = value == tl.load((top + window)[:, None] + filter[None, :], mask=mask, other=float("nan"))
        taken = tl.load((grad + window)[:, None] + filter[None, :], mask=mask, other=0.0).to(tl.float32)
        total += tl.where(hit, taken, 0.0)
    if MASKED:
        positive = tl.load((relu + start)[:, None] + filter[None, :], mask=there, other=0.0) > 0
        total = tl.where(positive, total, 0.0)
    tl.store((out + start)[:, None] + filter[None, :], total.to(out.dtype.element_ty), mask=there)


@triton.jit
def block_bwd_cross_map_again_kernel(
    values,  # [positions, FILTERS]
    out,  # [positions, FILTERS]
    positions,
    norm_k,
    norm_scale,
    norm_power,
    FILTERS: tl.constexpr,
    MAPS_BEFORE: tl.constexpr,
    MAPS_AFTER: tl.constexpr,
    BM: tl.constexpr,
    BN: tl.constexpr,
):
    """The norm across maps of BM positions, whose filters BN hold. Grid [tiles of positions]."""
    filter = tl.arange(0, BN)
    position = tl.program_id(0) * BM + tl.arange(0, BM)
    mask = (position < positions)[:, None] & (filter < FILTERS)[None, :]
    offset = position.to(tl.int64) * FILTERS
    x = tl.load((values + offset)[:, None] + filter[None, :], mask=mask, other=0.0)
    d = norm_k + norm_scale * maps_sum(x * x, -MAPS_BEFORE, MAPS_BEFORE + 1 + MAPS_AFTER, FILTERS)
    tl.store((out + offset)[:, None] + filter[None, :], x * power(d, -norm_power), mask=mask)


@triton.jit
def block_bwd_cross_map_kernel(
    grad,  # [positions, FILTERS], as are values, the norm's input, and u
    values,
    u,
    positions,
    norm_k,
    norm_scale,
    norm_power,
    FILTERS: tl.constexpr,
    MAPS_BEFORE: tl.constexpr,
    MAPS_AFTER: tl.constexpr,
    MASKED: tl.constexpr,
    BM: tl.constexpr,
    BN: tl.constexpr,
):
    """u = the gradient of the norm's input, where MASKED only where that is positive. Grid [tiles of positions].

    MAPS_BEFORE, MAPS_AFTER: maps of a window before and after its own, clipped to what FILTERS maps can have.
    """
    filter = tl.arange(0, BN)
    position = tl.program_id(0) * BM + tl.arange(0, BM)
    mask = (position < positions)[:, None] & (filter < FILTERS)[None, :]
    offset = position.to(tl.int64) * FILTERS
    x = tl.load((values + offset)[:, None] + filter[None, :], mask=mask, other=0.0)
    g = tl.load((grad + offset)[:, None] + filter[None, :], mask=mask, other=0.0).to(tl.float32)
    d = norm_k + norm_scale * maps_sum(x * x, -MAPS_BEFORE, MAPS_BEFORE + 1 + MAPS_AFTER, FILTERS)
    scaled = g * power(d, -norm_power)
    spread = maps_sum(scaled * x / d, -MAPS_AFTER, MAPS_BEFORE + 1 + MAPS_AFTER, FILTERS)
    result = scaled - 2.0 * norm_scale * norm_power * x * spread
    if MASKED:
        result = tl.where(x > 0, result, 0.0)
    tl.store((u + offset)[:, None] + filter[None, :], result.to(u.dtype.element_ty), mask=mask)


@triton.jit
def plane_sum(
    values,
    image,  # [M], like y and x: a position
    y,
    x,
    inside,  # [M]
    filter,  # [F]
    known,  # [F]
    rows,
    cols,
    above,  # rows of a window before its own, and so on
    below,
    left,
    right,
    FILTERS: tl.constexpr,
    SQUARED: tl.constexpr,
):
    """The sum of values, or of their squares, over a window of the plane: [M, F]."""
    total = tl.zeros([image.shape[0], filter.shape[0]], tl.float32)
    for i in range(-above, below + 1):
        for j in range(-left, right + 1):
            at_y, at_x = y + i, x + j
            held = inside & (at_y >= 0) & (at_y < rows) & (at_x >= 0) & (at_x < cols)
            start = row_offsets(image, at_y, at_x, rows, cols, FILTERS)
            value = tl.load((values + start)[:, None] + filter[None, :], mask=held[:, None] & known[None, :], other=0.0)
            total += value * value if SQUARED else value
    return total


@triton.jit
def block_bwd_same_map_terms_kernel(
    grad,  # [N, rows, cols, FILTERS], as are all the others
    values,
    scaled,
    terms,
    positions,
    rows,
    cols,
    above,
    below,
    left,
    right,
    norm_scale,
    norm_power,
    FILTERS: tl.constexpr,
    KEEP_TERMS: tl.constexpr,
    BM: tl.constexpr,
    BN: tl.constexpr,
):
    """scaled = grad * d**-norm_power, which is the norm itself for grad = values; terms = what a window's gradient sums.

    Grid [tiles of positions, of filters].
    """
    filter = tl.program_id(1) * BN + tl.arange(0, BN)
    known = filter < FILTERS
    position = tl.program_id(0) * BM + tl.arange(0, BM)
    inside = position < positions
    mask = inside[:, None] & known[None, :]
    image, y, x = place(position, rows, cols)
    squares = plane_sum(
        values, image, y, x, inside, filter, known, rows, cols, above, below, left, right, FILTERS, SQUARED=True
    )
    d = 1.0 + norm_scale * squares
    offset = position.to(tl.int64) * FILTERS
    g = tl.load((grad + offset)[:, None] + filter[None, :], mask=mask, other=0.0).to(tl.float32)
    result = g * power(d, -norm_power)
    tl.store((scaled + offset)[:, None] + filter[None, :], result, mask=mask)
    if KEEP_TERMS:
        value = tl.load((values + offset)[:, None] + filter[None, :], mask=mask, other=0.0)
        tl.store((terms + offset)[:, None] + filter[None, :], result * value / d, mask=mask)


@triton.jit
def block_bwd_same_map_kernel(
    scaled,  # [N, rows, cols, FILTERS], as are all the others
    terms,
    values,
    u,
    positions,
    rows,
    cols,
    above,
    below,
    left,
    right,
    norm_scale,
    norm_power,
    FILTERS: tl.constexpr,
    MASKED: tl.constexpr,
    BM: tl.constexpr,
    BN: tl.constexpr,
):
    """u = the gradient of the norm's input, where MASKED only where that is positive. Grid [tiles of positions, of filters].

    above ... right: those of the transposed window, which holds the windows that a position is in.
    """
    filter = tl.program_id(1) * BN + tl.arange(0, BN)
    known = filter < FILTERS
    position = tl.program_id(0) * BM + tl.arange(0, BM)
    inside = position < positions
    mask = inside[:, None] & known[None, :]
    image, y, x = place(position, rows, cols)
    spread = plane_sum(terms, image, y, x, inside, filter, known, rows, cols, above, below, left, right, FILTERS, SQUARED=False)
    offset = position.to(tl.int64) * FILTERS
    value = tl.load((values + offset)[:, None] + filter[None, :], mask=mask, other=0.0)
    own = tl.load((scaled + offset)[:, None] + filter[None, :], mask=mask, other=0.0)
    result = own - 2.0 * norm_scale * norm_power * value * spread
    if MASKED:
        result = tl.where(value > 0, result, 0.0)
    tl.store((u + offset)[:, None] + filter[None, :], result.to(u.dtype.element_ty), mask=mask)


@triton.jit
def maps_sum(
    values, FIRST: tl.constexpr, NORM_SIZE: tl.constexpr, FILTERS: tl.constexpr
):  # [M, F] float32, filters padded with zeros
    """`cross_map_sum` of one group; a long window is a loop, since written out it would take minutes to compile."""
    F: tl.constexpr = values.shape[1]
    if NORM_SIZE <= WRITTEN_OUT:
        total = cross_map_sum(values, FIRST, NORM_SIZE, FILTERS, F)
    else:
        lane = tl.arange(0, F)
        total = tl.zeros_like(values)
        for step in range(NORM_SIZE):
            source = lane + (FIRST + step)
            inside = (source >= 0) & (source < FILTERS)
            taken = tl.gather(values, tl.broadcast_to(tl.where(inside, source, 0)[None, :], values.shape), 1)
            total += tl.where(inside[None, :], taken, 0.0)
    return total
