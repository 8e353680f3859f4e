"""Triton kernels of the block's backward behind the convolution: pool, norm and a ReLU that comes last, once more and back;
tail_launch.py launches them.

Every tensor is dense in channels_last memory, a position counted over the batch, as in backward_kernels.py. A program has some
positions of some filters, and of a norm across maps of all of them. Limit: memory, as a window's values are read anew for each
position; nobody has timed it.
"""

from __future__ import annotations

import triton
import triton.language as tl

from dcnn_fast.ops.block.triton.parts import average, cross_map_sum, place, power, row_offsets

WRITTEN_OUT = tl.constexpr(16)  # maps of a norm's window up to which its sum is no loop


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
def block_bwd_average_again_kernel(
    values,  # [N, rows, cols, FILTERS]
    out,  # [N, out_rows, out_cols, FILTERS]
    positions,  # of out, in all
    rows,
    cols,
    out_rows,
    out_cols,
    FILTERS: tl.constexpr,
    POOL: tl.constexpr,
    POOL_STRIDE: tl.constexpr,
    BM: tl.constexpr,
    BN: tl.constexpr,
):
    """Averages of windows clipped to the plane. Grid [tiles of positions, of filters]."""
    filter = tl.program_id(1) * BN + tl.arange(0, BN)
    position = tl.program_id(0) * BM + tl.arange(0, BM)
    there = (position < positions)[:, None] & (filter < FILTERS)[None, :]
    image, at_y, at_x = place(position, out_rows, out_cols)
    top, left = at_y * POOL_STRIDE, at_x * POOL_STRIDE
    total = tl.zeros([BM, BN], tl.float32)
    for tap in range(POOL * POOL):
        y, x = top + tap // POOL, left + tap % POOL
        mask = there & ((y < rows) & (x < cols))[:, None]
        start = row_offsets(image, y, x, rows, cols, FILTERS)
        total += tl.load((values + start)[:, None] + filter[None, :], mask=mask, other=0.0)
    start = row_offsets(image, at_y, at_x, out_rows, out_cols, FILTERS)
    tl.store((out + start)[:, None] + filter[None, :], average(total, top, left, rows, cols, POOL), mask=there)


@triton.jit
def block_bwd_average_kernel(
    grad,  # [N, grad_rows, grad_cols, FILTERS]: of the averages
    relu,  # [N, rows, cols, FILTERS]
    out,  # [N, rows, cols, FILTERS]
    positions,  # of out, in all
    rows,
    cols,
    grad_rows,
    grad_cols,
    FILTERS: tl.constexpr,
    POOL: tl.constexpr,
    POOL_STRIDE: tl.constexpr,
    MASKED: tl.constexpr,
    BM: tl.constexpr,
    BN: tl.constexpr,
):
    """The gradient of what was averaged, where MASKED only where relu is positive. Grid [tiles of positions, of filters]."""
    filter = tl.program_id(1) * BN + tl.arange(0, BN)
    known = filter < FILTERS
    position = tl.program_id(0) * BM + tl.arange(0, BM)
    inside = position < positions
    there = inside[:, None] & known[None, :]
    image, y, x = place(position, rows, cols)
    total = tl.zeros([BM, BN], tl.float32)
    COVERING: tl.constexpr = (POOL + POOL_STRIDE - 1) // POOL_STRIDE
    for step in range(COVERING * COVERING):
        window_y, window_x = y // POOL_STRIDE - step // COVERING, x // POOL_STRIDE - step % COVERING
        top, left = window_y * POOL_STRIDE, window_x * POOL_STRIDE
        covered = inside & (y - top < POOL) & (window_y >= 0) & (window_y < grad_rows)
        covered = covered & (x - left < POOL) & (window_x >= 0) & (window_x < grad_cols)
        window = row_offsets(image, window_y, window_x, grad_rows, grad_cols, FILTERS)
        mask = covered[:, None] & known[None, :]
        taken = tl.load((grad + window)[:, None] + filter[None, :], mask=mask, other=0.0).to(tl.float32)
        total += tl.where(mask, average(taken, top, left, rows, cols, POOL), 0.0)
    start = row_offsets(image, y, x, rows, cols, FILTERS)
    if MASKED:
        positive = tl.load((relu + start)[:, None] + filter[None, :], mask=there, other=0.0) > 0
        total = tl.where(positive, total, 0.0)
    tl.store((out + start)[:, None] + filter[None, :], total.to(out.dtype.element_ty), mask=there)


@triton.jit
def block_bwd_relu_kernel(
    grad,  # [count]
    values,  # [count] float32: the ReLU's input
    out,  # [count] float32
    count,
    BLOCK: tl.constexpr,
):
    """out = grad where values are positive, else 0. Grid [blocks]."""
    index = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = index < count
    positive = tl.load(values + index, mask=mask, other=0.0) > 0
    taken = tl.load(grad + index, mask=mask, other=0.0).to(tl.float32)
    tl.store(out + index, tl.where(positive, taken, 0.0), mask=mask)


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
