"""The update of all parameters in one launch: a program finds its parameter in a table of addresses."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def update_kernel(
    table,  # [parameters, 8] int64: see triton.py
    parameters,
    halvings,  # so many halvings of the table leave one parameter
    VALUE: tl.constexpr,  # dtype of parameters and gradients
    STEP: tl.constexpr,  # dtype of increments and of all arithmetic
    ALIGNED: tl.constexpr,  # every address is a multiple of 16
    BLOCK: tl.constexpr,
):
    """increment <- momentum * increment - rate * gradient - decay * rate * parameter; parameter <- parameter + increment."""
    program = tl.program_id(0)
    low = 0
    high = parameters
    for _ in range(halvings):  # table[low].first <= program < table[high].first
        middle = (low + high) // 2
        below = tl.load(table + middle * 8 + 4) <= program
        low = tl.where(below, middle, low)
        high = tl.where(below, high, middle)
    row = table + low * 8
    weight = tl.load(row).to(tl.pointer_type(VALUE))
    gradient = tl.load(row + 1).to(tl.pointer_type(VALUE))
    increment = tl.load(row + 2).to(tl.pointer_type(STEP))
    if ALIGNED:
        weight = tl.multiple_of(weight, 16)
        gradient = tl.multiple_of(gradient, 16)
        increment = tl.multiple_of(increment, 16)
    count = tl.load(row + 3)
    rate = tl.load(row + 5).to(tl.float64, bitcast=True).to(STEP)
    momentum = tl.load(row + 6).to(tl.float64, bitcast=True).to(STEP)
    pull = tl.load(row + 7).to(tl.float64, bitcast=True).to(STEP)  # decay * rate
    # The tail's mask would hide from the compiler that four values in a row are there: whole blocks go without one.
    at = (program - tl.load(row + 4)) * BLOCK + tl.arange(0, BLOCK)
    if (program - tl.load(row + 4) + 1) * BLOCK <= count:
        w = tl.load(weight + at)
        g = tl.load(gradient + at).to(STEP)
        step = momentum * tl.load(increment + at) - rate * g - pull * w.to(STEP)
        tl.store(increment + at, step)
        tl.store(weight + at, (w.to(STEP) + step).to(VALUE))
    else:
        inside = at < count
        w = tl.load(weight + at, inside, 0.0)
        g = tl.load(gradient + at, inside, 0.0).to(STEP)
        step = momentum * tl.load(increment + at, inside, 0.0) - rate * g - pull * w.to(STEP)
        tl.store(increment + at, step, inside)
        tl.store(weight + at, (w.to(STEP) + step).to(VALUE), inside)
