"""Integer and bit instructions. `add`, `mul`, … of floats are passed to their families."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .. import native
from ..context import Context
from ..decoding import decoder
from ..errors import UnsupportedInstruction
from ..parser import Statement, parse_integer
from ..program import Run
from ..state import State
from ..values import DTYPES, S16, S32, S64, U16, U32, U64, Array, bits
from . import floating, half
from .common import apply, halves, joined, operation

_WIDER = {"u16": ("u32", 16), "s16": ("s32", 16), "u32": ("u64", 32), "s32": ("s64", 32)}


def _kind(s: Statement) -> str:
    return s.parts[-1]


def _by_type(s: Statement, ctx: Context, integer: Callable[[Statement, Context], Run]) -> Run:
    kind = _kind(s)
    if kind in {"f32", "f64", "f32x2"}:
        return floating.arithmetic(s, ctx)
    if "f16" in kind:
        return half.arithmetic(s, ctx)
    if kind in {"s16x2", "u16x2"}:
        return _pairs(s, ctx)
    return integer(s, ctx)


def _pairs(s: Statement, ctx: Context) -> Run:
    """`add`, `min` and `max` of two 16-bit integers in a register (sm_90 and later)."""
    function = {"add": np.add, "min": np.minimum, "max": np.maximum}[s.parts[0]]
    if {"relu", "sat"} & set(s.parts):
        raise UnsupportedInstruction("relu or saturation of pairs")
    small = S16 if _kind(s) == "s16x2" else U16

    def paired(*values: Array) -> Array:
        return joined(function(*[halves(v).view(small) for v in values]).view(U16))

    return operation(s, ctx, "b32", paired)


def _add_sub(s: Statement, ctx: Context) -> Run:
    subtract = s.parts[0] == "sub"
    if "cc" in s.parts or s.parts[0] in {"addc", "subc"}:
        return _carry(s, ctx)
    if "sat" in s.parts:
        return operation(s, ctx, "s32", lambda a, b: _saturated(a, b, subtract))
    return operation(s, ctx, _kind(s), np.subtract if subtract else np.add)


def _saturated(a: Array, b: Array, subtract: bool) -> Array:
    wide = a.astype(np.int64) - b if subtract else a.astype(np.int64) + b
    return np.clip(wide, -(2**31), 2**31 - 1).astype(np.int32)


@decoder("add", "sub")
def add(s: Statement, ctx: Context) -> Run:
    return _by_type(s, ctx, _add_sub)


@decoder("addc", "subc")
def _carry(s: Statement, ctx: Context) -> Run:
    """Add or subtract with the carry flag as input (`addc`), output (`.cc`) or both."""
    if not _kind(s).endswith("32"):
        raise UnsupportedInstruction("a carry of 64 bits")
    target, a, b = s.operands
    return _with_carry(s, ctx, target, [a, b], lambda x, y: x + y, lambda x, y: x - y)


def _with_carry(
    s: Statement, ctx: Context, target: str, sources: list[str], plus: Callable[..., Array], minus: Callable[..., Array]
) -> Run:
    takes, gives, subtract = s.parts[0] in {"addc", "subc", "madc"}, "cc" in s.parts, s.parts[0].startswith("sub")
    slots, to = [ctx.source(x, "u32") for x in sources], ctx.target(target)

    def run(m: State) -> None:
        values = [bits(m.registers[slot], U32).astype(np.int64) for slot in slots]
        carry = m.carry.astype(np.int64) if takes else 0
        wide: Array = minus(*values) - carry if subtract else plus(*values) + carry
        m.write(to, (wide & 0xFFFFFFFF).astype(np.uint32))
        if gives:
            out = ((wide >> 32) & 1).astype(np.uint32)
            m.carry = out if m.lanes.mask is None else np.where(m.lanes.mask, out, m.carry)

    return run


def _mul_int(s: Statement, ctx: Context) -> Run:
    kind = _kind(s)
    if "lo" in s.parts:
        return operation(s, ctx, kind, np.multiply)
    if "wide" in s.parts:
        wide = DTYPES[_WIDER[kind][0]]
        return operation(s, ctx, kind, lambda a, b: a.astype(wide) * b.astype(wide))
    return operation(s, ctx, kind, high_product(kind))


def high_product(kind: str) -> Callable[[Array, Array], Array]:
    """The upper half of a product."""
    if kind in _WIDER:
        wide, shift = DTYPES[_WIDER[kind][0]], _WIDER[kind][1]
        return lambda a, b: ((a.astype(wide) * b.astype(wide)) >> wide.type(shift)).astype(DTYPES[kind])
    return _high_64 if kind == "u64" else _high_s64


def _high_64(a: Array, b: Array) -> Array:
    low, shift = np.uint64(0xFFFFFFFF), np.uint64(32)
    a0, a1, b0, b1 = a & low, a >> shift, b & low, b >> shift
    middle = a1 * b0 + ((a0 * b0) >> shift)
    other = a0 * b1 + (middle & low)
    return a1 * b1 + (middle >> shift) + (other >> shift)


def _high_s64(a: Array, b: Array) -> Array:
    high = _high_64(a.view(U64), b.view(U64)).view(S64)
    return high - np.where(a < 0, b, 0) - np.where(b < 0, a, 0)


@decoder("mul")
def mul(s: Statement, ctx: Context) -> Run:
    return _by_type(s, ctx, _mul_int)


@decoder("mul24")
def mul24(s: Statement, ctx: Context) -> Run:
    if _kind(s) != "u32" or "lo" not in s.parts:
        raise UnsupportedInstruction("this form of mul24")
    return operation(s, ctx, "u32", lambda a, b: (a & np.uint32(0xFFFFFF)) * (b & np.uint32(0xFFFFFF)))


def _mad_int(s: Statement, ctx: Context) -> Run:
    kind = _kind(s)
    target, a, b, c = s.operands
    if "cc" in s.parts or s.parts[0] == "madc":
        if kind != "u32":
            raise UnsupportedInstruction("mad with a carry of another type than u32")
        part = (lambda x, y: (x * y) & 0xFFFFFFFF) if "lo" in s.parts else (_unsigned_high)
        return _with_carry(s, ctx, target, [a, b, c], lambda x, y, z: part(x, y) + z, lambda x, y, z: part(x, y) - z)
    dtype = DTYPES[kind]
    sources = [(ctx.source(a, kind), dtype), (ctx.source(b, kind), dtype)]
    if "wide" in s.parts:
        wide_kind = _WIDER[kind][0]
        wide = DTYPES[wide_kind]
        return apply(ctx.target(target), lambda x, y, z: x.astype(wide) * y.astype(wide) + z, *sources,
                     (ctx.source(c, wide_kind), wide))  # fmt: skip
    sources.append((ctx.source(c, kind), dtype))
    if "hi" in s.parts:
        high = high_product(kind)
        return apply(ctx.target(target), lambda x, y, z: high(x, y) + z, *sources)
    return apply(ctx.target(target), lambda x, y, z: x * y + z, *sources)


def _unsigned_high(x: Array, y: Array) -> Array:
    return ((x.astype(np.uint64) * y.astype(np.uint64)) >> np.uint64(32)).astype(np.int64)


@decoder("mad", "madc", "fma")
def mad(s: Statement, ctx: Context) -> Run:
    return _by_type(s, ctx, _mad_int)


def _divide(a: Array, b: Array) -> Array:
    """Divide, rounding towards zero."""
    return a // b if a.dtype.kind == "u" else (a - np.fmod(a, b)) // b


@decoder("div")
def div(s: Statement, ctx: Context) -> Run:
    return _by_type(s, ctx, lambda s, ctx: operation(s, ctx, _kind(s), _divide))


@decoder("rem")
def rem(s: Statement, ctx: Context) -> Run:
    return operation(s, ctx, _kind(s), np.fmod)


@decoder("min", "max")
def extremum(s: Statement, ctx: Context) -> Run:
    function = np.minimum if s.parts[0] == "min" else np.maximum
    return _by_type(s, ctx, lambda s, ctx: operation(s, ctx, _kind(s), function))


@decoder("neg", "abs")
def sign(s: Statement, ctx: Context) -> Run:
    function = np.negative if s.parts[0] == "neg" else np.abs
    return _by_type(s, ctx, lambda s, ctx: operation(s, ctx, _kind(s), function))


@decoder("sad")
def sad(s: Statement, ctx: Context) -> Run:
    return operation(s, ctx, _kind(s), lambda a, b, c: c + np.where(a > b, a - b, b - a))


LOGIC = {"and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor}


@decoder("and", "or", "xor", "not")
def logic(s: Statement, ctx: Context) -> Run:
    return operation(s, ctx, _kind(s), LOGIC.get(s.parts[0], np.invert))


@decoder("cnot")
def cnot(s: Statement, ctx: Context) -> Run:
    dtype = DTYPES[_kind(s)]
    return operation(s, ctx, _kind(s), lambda a: (a == 0).astype(dtype))


@decoder("shl", "shr")
def shift(s: Statement, ctx: Context) -> Run:
    kind = _kind(s)
    dtype = DTYPES[kind]
    target, a, b = s.operands
    # numpy's shifts by the width or more give 0 or the sign, as PTX requires.
    function = np.left_shift if s.parts[0] == "shl" else np.right_shift

    def run(x: Array, n: Array) -> Array:
        return function(x, np.minimum(n, np.uint32(127)).astype(dtype))

    return apply(ctx.target(target), run, (ctx.source(a, kind), dtype), (ctx.source(b, "u32"), U32))


@decoder("shf")
def funnel(s: Statement, ctx: Context) -> Run:
    left, wrap = "l" in s.parts, "wrap" in s.parts

    def run(low: Array, high: Array, n: Array) -> Array:
        n = ((n & np.uint32(31)) if wrap else np.minimum(n, np.uint32(32))).astype(np.uint64)
        wide = (high.astype(np.uint64) << np.uint64(32)) | low
        return ((wide << n) >> np.uint64(32) if left else wide >> n).astype(np.uint32)

    return operation(s, ctx, "b32", run)


def _low_mask(length: Array) -> Array:
    """`length` (up to 63) ones."""
    return (np.uint64(1) << length) - np.uint64(1)


@decoder("bfe")
def bfe(s: Statement, ctx: Context) -> Run:
    kind = _kind(s)
    width = int(kind[1:])
    dtype = DTYPES[kind]
    target, a, b, c = s.operands

    def unsigned(x: Array, position: Array, length: Array) -> Array:
        position, length = (position & np.uint32(255)).astype(np.uint64), (length & np.uint32(255)).astype(np.uint64)
        mask = np.where(length >= 64, np.uint64(2**64 - 1), _low_mask(np.minimum(length, np.uint64(63))))
        return ((x.astype(np.uint64) >> position) & mask).astype(dtype)

    def signed(x: Array, position: Array, length: Array) -> Array:
        position, length = (position & np.uint32(255)).astype(np.int64), (length & np.uint32(255)).astype(np.int64)
        top = np.minimum(position + length - 1, width - 1)
        count = np.clip(top - position + 1, 0, 64)
        up = 63 - np.clip(top, 0, 63)
        field = (x.astype(np.int64) << up) >> np.clip(64 - count, 0, 63)
        beyond = np.where(x < 0, -1, 0)
        return np.where(length == 0, 0, np.where(position >= width, beyond, field)).astype(dtype)

    return apply(ctx.target(target), signed if kind[0] == "s" else unsigned, (ctx.source(a, kind), dtype),
                 (ctx.source(b, "u32"), U32), (ctx.source(c, "u32"), U32))  # fmt: skip


@decoder("bfi")
def bfi(s: Statement, ctx: Context) -> Run:
    kind = _kind(s)
    dtype = DTYPES[kind]
    target, a, b, c, d = s.operands

    def run(x: Array, y: Array, position: Array, length: Array) -> Array:
        position, length = (position & np.uint32(255)).astype(np.uint64), (length & np.uint32(255)).astype(np.uint64)
        mask = np.where(length >= 64, np.uint64(2**64 - 1), _low_mask(np.minimum(length, np.uint64(63)))) << position
        return ((y.astype(np.uint64) & ~mask) | ((x.astype(np.uint64) << position) & mask)).astype(dtype)

    return apply(ctx.target(target), run, (ctx.source(a, kind), dtype), (ctx.source(b, kind), dtype),
                 (ctx.source(c, "u32"), U32), (ctx.source(d, "u32"), U32))  # fmt: skip


@decoder("prmt")
def prmt(s: Statement, ctx: Context) -> Run:
    if len(s.parts) > 2:
        raise UnsupportedInstruction("a mode of prmt")

    def run(a: Array, b: Array, selector: Array) -> Array:
        if native.fast is not None:
            return native.fast.prmt(a, b, selector)
        wide = a.astype(np.uint64) | (b.astype(np.uint64) << np.uint64(32))
        out: Array = np.zeros((1, 1), dtype=np.uint32)
        for i in range(4):
            nibble = (selector >> np.uint32(4 * i)) & np.uint32(15)
            byte = ((wide >> ((nibble & np.uint32(7)).astype(np.uint64) * np.uint64(8))) & np.uint64(255)).astype(np.uint32)
            if (nibble & np.uint32(8)).any():
                byte = np.where(nibble & np.uint32(8), (byte >> np.uint32(7)) * np.uint32(255), byte)
            out = out | (byte << np.uint32(8 * i))
        return out

    return operation(s, ctx, "b32", run)


@decoder("lop3")
def lop3(s: Statement, ctx: Context) -> Run:
    target, a, b, c, table = s.operands
    lut = parse_integer(table)

    def run(x: Array, y: Array, z: Array) -> Array:
        out = np.zeros((1, 1), dtype=np.uint32)
        for i in range(8):
            if lut >> i & 1:
                out = out | ((x if i & 4 else ~x) & (y if i & 2 else ~y) & (z if i & 1 else ~z))
        return out

    return apply(ctx.target(target), run, *[(ctx.source(v, "b32"), U32) for v in (a, b, c)])


def _bit_count(x: Array) -> Array:
    return np.bitwise_count(x).astype(np.uint32)


def _leading_zeros(x: Array) -> Array:
    """Leading zeros of unsigned numbers of up to 64 bits."""
    width = x.dtype.itemsize * 8
    y = x.astype(np.uint64)
    for n in (1, 2, 4, 8, 16, 32):
        y = y | (y >> np.uint64(n))
    return np.uint32(width) - np.bitwise_count(y).astype(np.uint32)


def _reverse(x: Array) -> Array:
    shape, size = x.shape, x.dtype.itemsize
    raw = np.ascontiguousarray(x)[..., None].view(np.uint8)
    flipped = np.packbits(np.unpackbits(raw, axis=-1)[..., ::-1], axis=-1)
    return np.ascontiguousarray(flipped).reshape(*shape, size).view(x.dtype)[..., 0]


@decoder("popc", "clz", "brev")
def count_bits(s: Statement, ctx: Context) -> Run:
    return operation(s, ctx, _kind(s), {"popc": _bit_count, "clz": _leading_zeros, "brev": _reverse}[s.parts[0]])


@decoder("bfind")
def bfind(s: Statement, ctx: Context) -> Run:
    kind = _kind(s)
    width, amount = int(kind[1:]), "shiftamt" in s.parts

    def run(x: Array) -> Array:
        if x.dtype.kind == "i":
            x = np.where(x < 0, ~x, x).view(f"u{width // 8}")
        zeros = _leading_zeros(x)
        return np.where(x == 0, np.uint32(0xFFFFFFFF), zeros if amount else np.uint32(width - 1) - zeros)

    return operation(s, ctx, kind, run)


@decoder("dp4a")
def dp4a(s: Statement, ctx: Context) -> Run:
    types = [np.dtype(np.int8 if k == "s32" else np.uint8) for k in s.parts[1:]]

    signed = [k == "s32" for k in s.parts[1:]]

    def run(a: Array, b: Array, c: Array) -> Array:
        if native.fast is not None:
            return native.fast.dp4a(a, b, c, *signed).view(np.int32)
        x, y = (np.ascontiguousarray(v)[..., None].view(t).astype(np.int64) for v, t in zip((a, b), types, strict=True))
        return ((x * y).sum(axis=-1) + c.astype(np.int64)).astype(np.int32)

    return apply(ctx.target(s.operands[0]), run, *[(ctx.source(v, "b32"), U32) for v in s.operands[1:3]],
                 (ctx.source(s.operands[3], "s32"), S32))  # fmt: skip
