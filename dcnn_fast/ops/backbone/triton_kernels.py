"""A backbone's layers beside its blocks: the stem, and means of maps, directly or after the last layer.

Both sum in an order that follows from the layer alone, and a program has one image: an image's bits are its own. A program of
the stem has 64 outputs of up to 64 filters and gathers (tap, channel) pairs from the pixels, 16 a step. A program of the means
has 64 maps of an image and loops over their pixels, 64 at a time, so the last layer's maps stay in registers. Limits: the
stem's bounds test of every pair; for the means of few images, the 20 programs of an image's 1280 maps.
"""

from __future__ import annotations

import triton
import triton.language as tl

from dcnn_fast.ops.mbconv.triton_kernels import relu6


@triton.jit
def backbone_stem_kernel(
    x,  # [images, height, width, CHANNELS], bytes or float32
    mean,  # [CHANNELS] float32
    weight,  # [SIZE * SIZE * CHANNELS, filters] padded with zeros to multiples of BK and BF
    bias,  # [filters] float32, padded so
    out,  # [images, out_height, out_width, FILTERS]
    height, width, out_height, out_width,
    above, left,  # rows and columns of zeros before the pixels
    tiles,  # per image
    scale,
    CHANNELS: tl.constexpr, FILTERS: tl.constexpr, SIZE: tl.constexpr, STRIDE: tl.constexpr,
    BM: tl.constexpr, BK: tl.constexpr, BF: tl.constexpr,
):  # fmt: skip
    """A program for BM outputs of one image and BF filters. Grid [images * tiles, parts of the filters]."""
    TERMS: tl.constexpr = SIZE * SIZE * CHANNELS
    PADDED: tl.constexpr = (FILTERS + BF - 1) // BF * BF
    image = (tl.program_id(0) // tiles).to(tl.int64)
    output = tl.program_id(0) % tiles * BM + tl.arange(0, BM)
    filter = tl.program_id(1) * BF + tl.arange(0, BF)
    owned = output < out_height * out_width
    y, z = output // out_width * STRIDE - above, output % out_width * STRIDE - left
    pixels = x + image * height * width * CHANNELS
    total = tl.zeros([BM, BF], tl.float32)
    for first in range(0, TERMS, BK):
        term = first + tl.arange(0, BK)
        tap, channel = term // CHANNELS, term % CHANNELS
        row, col = y[:, None] + (tap // SIZE)[None, :], z[:, None] + (tap % SIZE)[None, :]
        inside = owned[:, None] & (term < TERMS)[None, :] & (row >= 0) & (row < height) & (col >= 0) & (col < width)
        a = tl.load(pixels + ((row * width + col) * CHANNELS + channel[None, :]), inside, 0).to(tl.float32)
        a = tl.where(inside, (a - tl.load(mean + channel)[None, :]) * scale, 0.0)
        b = tl.load(weight + (term[:, None] * PADDED + filter[None, :]))
        total = tl.dot(a.to(b.dtype), b, total, input_precision="ieee")
    total = relu6(total + tl.load(bias + filter)[None, :])
    start = image * out_height * out_width * FILTERS
    mask = owned[:, None] & (filter < FILTERS)[None, :]
    tl.store(out + start + (output[:, None] * FILTERS + filter[None, :]), total, mask)


@triton.jit
def backbone_means_kernel(
    maps,  # [images, pixels, CHANNELS]
    weight,  # [CHANNELS, OUTPUTS] padded with zeros to multiples of BK and BN; or anything where LAYER is not set
    bias,  # [OUTPUTS] float32, padded so; or anything
    out,  # [images, features]
    pixels, features,
    begin,  # the first of these means among an image's features
    CHANNELS: tl.constexpr, OUTPUTS: tl.constexpr, LAYER: tl.constexpr,
    BM: tl.constexpr, BK: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """The means of BN of an image's maps, or of a layer with ReLU6 at each of their pixels. Grid [images, parts of OUTPUTS]."""
    PADDED: tl.constexpr = (OUTPUTS + BN - 1) // BN * BN
    image = tl.program_id(0).to(tl.int64)
    output = tl.program_id(1) * BN + tl.arange(0, BN)
    corner = maps + image * pixels * CHANNELS
    sums = tl.zeros([BN], tl.float32)
    for first in range(0, pixels, BM):
        pixel = first + tl.arange(0, BM)
        there = (pixel < pixels)[:, None]
        if LAYER:
            values = tl.zeros([BM, BN], tl.float32)
            for start in range(0, CHANNELS, BK):
                channel = start + tl.arange(0, BK)
                mask = there & (channel < CHANNELS)[None, :]
                a = tl.load(corner + (pixel[:, None] * CHANNELS + channel[None, :]), mask, 0.0)
                b = tl.load(weight + (channel[:, None] * PADDED + output[None, :]))
                values = tl.dot(a.to(b.dtype), b, values, input_precision="ieee")
            values = tl.where(there, relu6(values + tl.load(bias + output)[None, :]), 0.0)
        else:
            mask = there & (output < CHANNELS)[None, :]
            values = tl.load(corner + (pixel[:, None] * CHANNELS + output[None, :]), mask, 0.0)
        sums += tl.sum(values, 0)
    mean = tl.div_rn(sums, tl.full([BN], 1.0, tl.float32) * pixels)
    tl.store(out + image * features + begin + output, mean, output < OUTPUTS)
