"""cvt: between integers and floats of every width."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .. import native
from ..context import Context
from ..decoding import decoder
from ..errors import UnsupportedInstruction
from ..parser import Statement
from ..program import Run
from ..values import (
    DTYPES,
    U32,
    UNSIGNED,
    Array,
    bf16_to_single,
    double_to_bf16,
    double_to_half,
    flush,
    half_to_single,
    single_to_bf16,
    single_to_half,
)
from .common import apply
from .functions import directed

_FLOATS = {"f16", "bf16", "f32", "f64"}
_TO_INTEGRAL = {"rni": np.rint, "rzi": np.trunc, "rmi": np.floor, "rpi": np.ceil}


def _number(kind: str, ftz: bool) -> Callable[[Array], Array]:
    """Bits of a float type as fp32 or fp64."""
    if kind == "f16":
        return half_to_single
    if kind == "bf16":
        return bf16_to_single
    return flush if ftz and kind == "f32" else (lambda x: x)


def _rounded(kind: str, mode: str) -> Callable[[Array], Array]:
    """fp32 or fp64 to the bits of a float type."""
    if kind == "f64":
        return lambda x: x.astype(np.float64)
    if kind == "f32":
        return lambda x: x if x.dtype == np.float32 else directed(x, mode)
    if mode == "rz":
        if kind == "bf16":
            return lambda x: _narrow_to_zero(x.astype(np.float32))
        return lambda x: _half_to_zero(x.astype(np.float32))
    if mode != "rn":
        raise UnsupportedInstruction(f"rounding {mode} to {kind}")
    single, double = (single_to_half, double_to_half) if kind == "f16" else (single_to_bf16, double_to_bf16)
    return lambda x: single(x) if x.dtype == np.float32 else double(x.astype(np.float64))


def _narrow_to_zero(x: Array) -> Array:
    return np.where(np.isnan(x), np.uint16(0x7FFF), (x.view(np.uint32) >> 16).astype(np.uint16))


def _half_to_zero(x: Array) -> Array:
    nearest = single_to_half(x)
    return np.where(np.abs(half_to_single(nearest)) > np.abs(x), nearest - np.uint16(1), nearest)


def _to_integer(x: Array, kind: str, mode: str) -> Array:
    """Floats to integers: rounded, then clamped to the range; NaN gives 0."""
    info = np.iinfo(DTYPES[kind])
    y = _TO_INTEGRAL[mode](x.astype(np.float64))
    inside = (y >= float(info.min)) & (y < float(info.max) + 1)
    limit = np.where(y < 0, info.min, np.where(np.isnan(y), 0, info.max)).astype(DTYPES[kind])
    whole = np.where(inside, y, 0)
    return np.where(inside, whole.astype(DTYPES[kind]), limit)


@decoder("cvt")
def cvt(s: Statement, ctx: Context) -> Run:
    to, kind = s.parts[-2:]
    if to in {"f16x2", "bf16x2"}:
        return _pair(s, ctx, to, kind)
    if to == "tf32":
        return _tf32(s, ctx)
    if "pack" in s.parts or to not in DTYPES or kind not in DTYPES:
        raise UnsupportedInstruction("a conversion between these types")
    mode = next((p for p in s.parts if p in {"rn", "rz", "rm", "rp", *_TO_INTEGRAL}), "rn")
    if to not in _FLOATS:
        function = _into_integer(s, to, kind, mode, ctx.width(s.operands[0]))
    elif kind not in _FLOATS:
        function = _out_of_integer(to, mode)
    else:
        function = _between_floats(s, to, kind, mode)
    return apply(ctx.target(s.operands[0]), function, (ctx.source(s.operands[1], kind), DTYPES[kind]))


def _into_integer(s: Statement, to: str, kind: str, mode: str, width: int) -> Callable[[Array], Array]:
    """Extend a type narrower than its register, with its sign if it has one."""
    wide, out = np.dtype(f"{'i' if to[0] == 's' else 'u'}{width}"), DTYPES[to]
    if kind in _FLOATS:
        number = _number(kind, "ftz" in s.parts)
        return lambda x: _to_integer(number(x), to, mode).astype(wide)
    if "sat" in s.parts:
        low, high = np.iinfo(out).min, np.iinfo(out).max
        return lambda x: _clamped(x, low, high).astype(wide)
    return lambda x: x.astype(out).astype(wide)


def _out_of_integer(to: str, mode: str) -> Callable[[Array], Array]:
    if to == "f32" and mode == "rn":
        return lambda x: x.astype(np.float32)
    narrow = _rounded(to, mode)
    return lambda x: narrow(x.astype(np.float64))


def _between_floats(s: Statement, to: str, kind: str, mode: str) -> Callable[[Array], Array]:
    saturate, ftz, relu = "sat" in s.parts, "ftz" in s.parts, "relu" in s.parts
    number, integral = _number(kind, ftz), _TO_INTEGRAL.get(mode)
    narrow = _rounded(to, "rn" if integral else mode)

    def function(x: Array) -> Array:
        y = number(x)
        if integral is not None:
            y = integral(y)
        if saturate:
            y = np.where(np.isnan(y), y.dtype.type(0), np.clip(y, 0, 1).astype(y.dtype))
        if relu:
            y = np.where(y < 0, y.dtype.type(0), y)
        y = narrow(y)
        return flush(y) if ftz and to == "f32" else y

    return function


def _clamped(x: Array, low: int, high: int) -> Array:
    info = np.iinfo(x.dtype)
    return np.clip(x, x.dtype.type(max(low, info.min)), x.dtype.type(min(high, info.max)))


def _pair(s: Statement, ctx: Context, to: str, kind: str) -> Run:
    if kind != "f32":
        raise UnsupportedInstruction("a pair of halves from another type than fp32")
    mode = "rz" if "rz" in s.parts else "rn"
    narrow = _rounded(to[:-2], mode)
    relu = "relu" in s.parts

    def one(x: Array) -> Array:
        return narrow(np.where(x < 0, np.float32(0), x) if relu else x).astype(np.uint32)

    def pair(above: Array, below: Array) -> Array:
        if native.fast is not None and mode == "rn" and not relu:
            return native.fast.pair(above, below, to == "f16x2")
        return (one(above) << np.uint32(16)) | one(below)

    target, high, low = s.operands
    sources = [(ctx.source(x, "f32"), DTYPES["f32"]) for x in (high, low)]
    return apply(ctx.target(target), pair, *sources)


def _tf32(s: Statement, ctx: Context) -> Run:
    """Round to 10 bits of mantissa, ties away from zero (`rna`) or to even (`rn`); `rz` truncates."""
    mode = s.parts[1]

    def run(b: Array) -> Array:
        special = (b & np.uint32(0x7F800000)) == np.uint32(0x7F800000)
        if mode == "rna":
            rounded = b + np.uint32(0x1000)
        elif mode == "rn":
            rounded = b + np.uint32(0xFFF) + ((b >> np.uint32(13)) & np.uint32(1))
        else:
            rounded = b
        return np.where(special, b, rounded & np.uint32(0xFFFFE000))

    return apply(ctx.target(s.operands[0]), run, (ctx.source(s.operands[1], "f32"), U32))


def extend(x: Array, kind: str, width: int) -> Array:
    """A loaded value of type `kind` in a register of `width` bytes."""
    dtype = DTYPES[kind]
    if dtype.itemsize >= width:
        return x
    signed = kind[0] == "s"
    return x.view(dtype).astype(f"{'i' if signed else 'u'}{width}").view(UNSIGNED[width])
