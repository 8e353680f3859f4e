"""fp16 and bf16 arithmetic, single and in pairs: computed in fp32 (`fma` in fp64), rounded once to the half type."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..context import Context
from ..errors import UnsupportedInstruction
from ..parser import Statement
from ..program import Run
from ..values import (
    F32,
    U16,
    Array,
    bf16_to_double,
    bf16_to_single,
    double_to_bf16,
    double_to_half,
    half_to_double,
    half_to_single,
    single_to_bf16,
    single_to_half,
)
from .common import apply, halves, joined, operation
from .functions import UNARY, extremum, function_of, modified


def _bitwise(name: str) -> Callable[[Array], Array]:
    if name == "neg":
        return lambda x: x ^ np.uint16(0x8000)
    return lambda x: x & np.uint16(0x7FFF)


def _single_function(name: str, parts: tuple[str, ...]) -> Callable[..., Array]:
    if name in {"min", "max"}:
        return extremum(name, "NaN" in parts)
    if name in UNARY:
        return UNARY[name]
    return {"add": np.add, "sub": np.subtract, "mul": np.multiply}[name]


def element_function(s: Statement, kind: str) -> Callable[..., Array]:
    """The instruction on arrays of 16-bit patterns."""
    name, parts = s.parts[0], s.parts
    if "xorsign" in parts:
        raise UnsupportedInstruction("xorsign of halves")
    if name in {"neg", "abs"}:
        return _bitwise(name)
    half = kind.startswith("f16")
    if name == "fma":
        widen, narrow = (half_to_double, double_to_half) if half else (bf16_to_double, double_to_bf16)

        def function(*values: Array) -> Array:
            a, b, c = (widen(v) for v in values)
            return narrow(a * b + c)

    else:
        up, down = (half_to_single, single_to_half) if half else (bf16_to_single, single_to_bf16)
        inner = _single_function(name, parts)

        def function(*values: Array) -> Array:
            return down(inner(*[up(v) for v in values]))

    zero_below, saturate = "relu" in parts, "sat" in parts
    if not zero_below and not saturate:
        return function
    one = np.uint16(0x3C00 if half else 0x3F80)

    def clamped(*values: Array) -> Array:
        x = function(*values)
        nan = (x & np.uint16(0x7FFF)) > np.uint16(0x7C00 if half else 0x7F80)
        x = np.where(~nan & (x >= np.uint16(0x8000)), np.uint16(0), x)
        return x if zero_below else np.where(nan, np.uint16(0), np.minimum(x, one))

    return clamped


def _mixed(s: Statement, ctx: Context) -> Run:
    """`add`, `sub` and `fma` of fp32 whose factors, or first operand, have a half type (PTX 8.6)."""
    widen = half_to_single if s.parts[-1] == "f16" else bf16_to_single
    inner = modified(function_of(s, "f32"), s.parts)

    def function(*values: Array) -> Array:
        return inner(*[widen(v) for v in values[:-1]], values[-1])

    target, *narrow, last = s.operands
    sources = [(ctx.source(name, s.parts[-1]), U16) for name in narrow]
    return apply(ctx.target(target), function, *sources, (ctx.source(last, "f32"), F32))


def arithmetic(s: Statement, ctx: Context) -> Run:
    if s.parts[-2] == "f32":
        return _mixed(s, ctx)
    kind = s.parts[-1]
    function = element_function(s, kind)
    if not kind.endswith("x2"):
        return operation(s, ctx, kind, function)
    return operation(s, ctx, kind, lambda *values: joined(function(*[halves(v) for v in values])))
