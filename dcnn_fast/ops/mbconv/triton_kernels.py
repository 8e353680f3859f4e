"""The inverted residual block in one launch, whose wide maps stay in registers and shared memory.

A program has a rectangle of one image's pixels, ROWS x COLS of them, and goes through the wide maps BE at a time: expanded at
its pixels (`tl.dot`, BK channels a step), ReLU6, filtered, ReLU6, and multiplied into the sums of all its filters, which it
holds from the first map to the last. Every product of an output is summed in an order that follows from the numbers of channels
and maps alone: channels, taps and maps in ascending order.

Triton cannot index shared memory, so a tap's pixels are gathered along the rectangle's rows, then along its columns: a warp
holds the axis, which makes it a shuffle a value, SIZE of them for rows and SIZE * SIZE for columns. What a tap sees outside the
image is selected to be zero; so a rectangle ends where the image does, and one of 16 x 16 does for a map of 14 x 14.

Tile (triton.py chooses it): up to 256 pixels, 16 maps, 8 warps. Memory: sums in registers, at most 49 KiB shared. Limit:
rectangles overlap and have powers of two as sides, so that EfficientNet-Lite0's blocks at 224 x 224 take 1.54 times the
multiplications they need (1.36 in bf16), Lite1's at 240 x 240 1.44 (1.24), Lite2's, whose maps of 17 and 9 no rectangle fits,
2.7. In fp32 ("ieee") products are of scalars from shared memory. A map of 7 x 7 is one program: a few leave most of a GPU idle.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def mbconv_kernel(
    x,  # [images, height, width, CHANNELS]
    expand,  # [channels, maps] padded with zeros to multiples of BK and BE; or anything where EXPANDS is not set
    expand_bias,  # [maps], padded so, as are all below; or anything
    depthwise,  # [SIZE * SIZE, maps]
    depthwise_bias,  # [maps]
    project,  # [maps, PARTS * BF]
    project_bias,  # [PARTS * BF]
    out,  # [images, out_height, out_width, FILTERS]
    height, width, out_height, out_width,
    above, left,  # rows and columns of zeros before the maps
    own_rows, own_cols,  # outputs of a program
    across, programs,  # of an image: side by side, and in all
    CHANNELS: tl.constexpr, MAPS: tl.constexpr, FILTERS: tl.constexpr, SIZE: tl.constexpr, STRIDE: tl.constexpr,
    EXPANDS: tl.constexpr, RESIDUAL: tl.constexpr,
    ROWS: tl.constexpr, COLS: tl.constexpr, OUT_ROWS: tl.constexpr, OUT_COLS: tl.constexpr,
    BE: tl.constexpr, BK: tl.constexpr, BF: tl.constexpr, PARTS: tl.constexpr,
):  # fmt: skip
    """A program for own_rows x own_cols outputs of one image, at most OUT_ROWS x OUT_COLS. Grid [images * programs]."""
    PADDED: tl.constexpr = (MAPS + BE - 1) // BE * BE
    image = (tl.program_id(0) // programs).to(tl.int64)
    program = tl.program_id(0) % programs
    first_row, first_col = program // across * own_rows, program % across * own_cols
    row, col = first_row * STRIDE - above, first_col * STRIDE - left  # what the first tap of the first output sees
    top, side = tl.maximum(row, 0), tl.maximum(col, 0)
    pixel = tl.arange(0, ROWS * COLS)
    down, aside = pixel // COLS, pixel % COLS
    inside = (top + down < height) & (side + aside < width)
    corner = x + ((image * height + top) * width + side) * CHANNELS
    pixels = (down * width + aside) * CHANNELS

    sums = ()
    for _ in tl.static_range(PARTS):
        sums = sums + (tl.zeros([OUT_ROWS * OUT_COLS, BF], tl.float32),)
    for first in range(0, MAPS, BE):
        map = first + tl.arange(0, BE)
        if EXPANDS:
            wide = expanded(corner, pixels, inside, expand, map, CHANNELS, PADDED, ROWS * COLS, BE, BK)
            wide = relu6(wide + tl.load(expand_bias + map)[None, :])
        else:
            wide = tl.load(corner + (pixels[:, None] + map[None, :]), inside[:, None] & (map < CHANNELS)[None, :], 0.0)
        # The padding is of these maps. One that there is not has a NaN where a pixel is infinite.
        wide = tl.where(inside[:, None] & (map < MAPS)[None, :], wide, 0.0)
        cube = tl.reshape(wide, [ROWS, COLS, BE])
        narrow = tl.zeros([OUT_ROWS, OUT_COLS, BE], tl.float32)
        for i in tl.range(SIZE, num_stages=1):  # written out, the loops' indices and weights take more registers than there are
            rows = taken(cube, row - top + i, height - top, 0, OUT_ROWS, STRIDE)
            for j in tl.range(SIZE, num_stages=1):
                seen = taken(rows, col - side + j, width - side, 1, OUT_COLS, STRIDE)
                narrow += seen * tl.load(depthwise + (i * SIZE + j) * PADDED + map)[None, None, :]
        narrow = relu6(narrow + tl.load(depthwise_bias + map)[None, None, :])
        flat = tl.reshape(narrow, [OUT_ROWS * OUT_COLS, BE])
        sums = projected(flat, project, map, sums, BF, PARTS)

    output = tl.arange(0, OUT_ROWS * OUT_COLS)
    down, aside = output // OUT_COLS, output % OUT_COLS
    owned = (down < own_rows) & (aside < own_cols) & (first_row + down < out_height) & (first_col + aside < out_width)
    start = ((image * out_height + first_row) * out_width + first_col) * FILTERS
    place = (down * out_width + aside) * FILTERS
    for part in tl.static_range(PARTS):
        filter = part * BF + tl.arange(0, BF)
        mask = owned[:, None] & (filter < FILTERS)[None, :]
        result = sums[part] + tl.load(project_bias + filter)[None, :]
        if RESIDUAL:  # x has the result's shape
            result += tl.load(x + start + (place[:, None] + filter[None, :]), mask, 0.0)
        tl.store(out + start + (place[:, None] + filter[None, :]), result, mask)


@triton.jit
def expanded(
    corner,
    pixels,  # [M]: where they lie, seen from the corner
    inside,  # [M]
    weight, map, CHANNELS: tl.constexpr, PADDED: tl.constexpr, M: tl.constexpr, BE: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """The products of pixels with the weights of some maps: [M, BE]."""
    total = tl.zeros([M, BE], tl.float32)
    for first in range(0, CHANNELS, BK):
        channel = first + tl.arange(0, BK)
        a = tl.load(corner + (pixels[:, None] + channel[None, :]), inside[:, None] & (channel < CHANNELS)[None, :], 0.0)
        b = tl.load(weight + (channel[:, None] * PADDED + map[None, :]))
        total = tl.dot(a.to(b.dtype), b, total, input_precision="ieee")
    return total


@triton.jit
def projected(values, weight, map, sums, BF: tl.constexpr, PARTS: tl.constexpr):
    """`sums`, a part of the filters each, and the products of some maps' values with their weights."""
    made = ()
    for part in tl.static_range(PARTS):
        filter = part * BF + tl.arange(0, BF)
        b = tl.load(weight + (map[:, None] * (PARTS * BF) + filter[None, :]))
        made = made + (tl.dot(values.to(b.dtype), b, sums[part], input_precision="ieee"),)
    return made


@triton.jit
def relu6(values):
    """min(max(x, 0), 6), which lets NaN pass."""
    values = tl.maximum(values, 0.0, propagate_nan=tl.PropagateNan.ALL)
    return tl.minimum(values, 6.0, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def taken(
    values, start,
    extent,  # of the image from the first value on
    AXIS: tl.constexpr, COUNT: tl.constexpr, STRIDE: tl.constexpr,
):  # fmt: skip
    """COUNT of `values`, which has three axes, along one: start, start + STRIDE ..., and 0 outside the image and the values."""
    at = start + tl.arange(0, COUNT) * STRIDE
    inside = (at >= 0) & (at < tl.minimum(extent, values.shape[AXIS]))
    at = tl.where(inside, at, 0)
    if AXIS == 0:
        at, inside = at[:, None, None], inside[:, None, None]
        shape: tl.constexpr = [COUNT, values.shape[1], values.shape[2]]
    else:
        at, inside = at[None, :, None], inside[None, :, None]
        shape: tl.constexpr = [values.shape[0], COUNT, values.shape[2]]
    return tl.where(inside, tl.gather(values, tl.broadcast_to(at, shape), AXIS), 0.0)
