"""The head in two launches: the last layer of every column, then label layer, softmax, mean and deviation of each image.

A program finds its column in a table (triton.py says what is in it). Every output sums its products in ascending order of the
inputs, in tiles whose sizes depend on the network alone, so that a row's bits are its own.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def head_layer_kernel(
    table,
    hidden,  # one column after the other, each [rows, outputs] float32
    FEATURE: tl.constexpr,  # dtypes of features and weights
    WEIGHT: tl.constexpr,
    ALIGNED: tl.constexpr,  # every row of features and weights begins at a multiple of 16 bytes
    BM: tl.constexpr,
    BN: tl.constexpr,
    BK: tl.constexpr,
):
    """hidden = ReLU(features @ weight.T + bias): a program for BM rows and BN outputs of a column."""
    column = table + tl.program_id(2) * 8
    rows = tl.load(column + 4)
    outputs = tl.load(column + 6)
    top = tl.program_id(0).to(tl.int64) * BM
    left = tl.program_id(1).to(tl.int64) * BN
    if (top < rows) & (left < outputs):
        inputs = tl.load(column + 5)
        features = tl.load(column).to(tl.pointer_type(FEATURE))
        weight = tl.load(column + 1).to(tl.pointer_type(WEIGHT))
        bias = tl.load(column + 2).to(tl.pointer_type(tl.float32))
        if ALIGNED:
            inputs = tl.multiple_of(inputs, 16 // (WEIGHT.primitive_bitwidth // 8))
            features = tl.multiple_of(features, 16)
            weight = tl.multiple_of(weight, 16)
        m = top + tl.arange(0, BM)
        n = left + tl.arange(0, BN)
        k = tl.arange(0, BK)
        x_at = features + m[:, None] * inputs + k[None, :]
        w_at = weight + n[None, :] * inputs + k[:, None]
        total = tl.zeros([BM, BN], tl.float32)
        for first in range(0, inputs, BK):
            there = first + k < inputs
            x = tl.load(x_at + first, (m < rows)[:, None] & there[None, :], 0.0)
            w = tl.load(w_at + first, (n < outputs)[None, :] & there[:, None], 0.0)
            total = tl.dot(x.to(WEIGHT), w, total, input_precision="ieee")
        total += tl.load(bias + n, n < outputs, 0.0)[None, :]
        total = tl.where(total < 0.0, 0.0, total)  # a maximum would turn NaN into 0
        at = hidden + tl.load(column + 7) + m[:, None] * outputs + n[None, :]
        tl.store(at, total, (m < rows)[:, None] & (n < outputs)[None, :])


@triton.jit
def head_label_kernel(
    table,
    columns,
    first,  # [images + 1] int64: each image's first sample
    hidden,
    label_weight,  # [labels, joined]
    label_bias,
    probs,  # [samples, labels]
    mean,  # [images, labels]
    std,
    labels,
    joined,
    BV: tl.constexpr,
    BL: tl.constexpr,  # at least `labels`
    BK: tl.constexpr,
):
    """A program for an image: BV samples at a time, whose mean and squared deviations are merged into those so far."""
    image = tl.program_id(0).to(tl.int64)
    begin = tl.load(first + image)
    end = tl.load(first + image + 1)
    n = tl.arange(0, BL)
    known = n < labels
    bias = tl.load(label_bias + n, known, 0.0)
    k = tl.arange(0, BK)
    seen = 0.0
    average = tl.zeros([BL], tl.float32)
    squares = tl.zeros([BL], tl.float32)
    for start in range(begin, end, BV):
        sample = start + tl.arange(0, BV)
        present = sample < end
        logits = tl.zeros([BV, BL], tl.float32)
        place = 0
        for c in range(columns):
            column = table + c * 8
            index = tl.load(column + 3)
            rows = tl.load(column + 4)
            outputs = tl.load(column + 6).to(tl.int32)
            row = sample
            if index != 0:
                row = tl.load(index.to(tl.pointer_type(tl.int64)) + sample, present, 0)
            inside = present & (row >= 0) & (row < rows)
            x_at = hidden + tl.load(column + 7) + row[:, None] * outputs + k[None, :]
            w_at = label_weight + place + n[None, :] * joined + k[:, None]
            for low in range(0, outputs, BK):
                there = low + k < outputs
                x = tl.load(x_at + low, inside[:, None] & there[None, :], 0.0)
                w = tl.load(w_at + low, known[None, :] & there[:, None], 0.0)
                logits = tl.dot(x, w, logits, input_precision="ieee")
            # A sample whose row does not exist must not pass for one.
            logits = tl.where((inside | ~present)[:, None], logits, float("nan"))
            place += outputs
        logits = tl.where(known[None, :], logits + bias[None, :], float("-inf"))
        powers = tl.exp(logits - tl.max(logits, 1)[:, None])
        p = tl.div_rn(powers, tl.sum(powers, 1)[:, None])
        tl.store(probs + sample[:, None] * labels + n[None, :], p, present[:, None] & known[None, :])
        here = tl.minimum(end - start, BV).to(tl.float32)
        middle = tl.div_rn(tl.sum(tl.where(present[:, None], p, 0.0), 0), here)
        off = tl.where(present[:, None], p - middle[None, :], 0.0)
        total = seen + here
        gap = middle - average
        average += gap * tl.div_rn(here, total)
        squares += tl.sum(off * off, 0) + gap * gap * tl.div_rn(seen * here, total)
        seen = total
    tl.store(mean + image * labels + n, average, known)
    tl.store(std + image * labels + n, tl.sqrt_rn(tl.div_rn(squares, seen)), known)
