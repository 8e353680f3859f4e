"""Shared by decoders: closures that read registers, apply a function of arrays and write the result."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..context import Context
from ..parser import Statement
from ..program import Run
from ..state import State
from ..values import DTYPES, S64, U32, Array, bits

DType = np.dtype[np.generic]


def apply(target: int | None, function: Callable[..., Array], *sources: tuple[int, DType]) -> Run:
    """`target = function(*sources)` for the running threads; a source is a slot and the type of its bits."""
    slots = [s for s, _ in sources]
    types = [t for _, t in sources]
    if len(sources) == 1:
        (a,), (ta,) = slots, types

        def unary(m: State) -> None:
            r = m.registers
            x = r[a]
            v = function(x if x.dtype is ta else bits(x, ta))
            if m.lanes.mask is None and target is not None:
                r[target] = v
            else:
                m.write(target, v)

        return unary
    if len(sources) == 2:
        (a, b), (ta, tb) = slots, types

        def binary(m: State) -> None:
            r = m.registers
            x, y = r[a], r[b]
            v = function(x if x.dtype is ta else bits(x, ta), y if y.dtype is tb else bits(y, tb))
            if m.lanes.mask is None and target is not None:
                r[target] = v
            else:
                m.write(target, v)

        return binary

    if len(sources) == 3:
        (a, b, c), (ta, tb, tc) = slots, types

        def ternary(m: State) -> None:
            r = m.registers
            x, y, z = r[a], r[b], r[c]
            v = function(
                x if x.dtype is ta else bits(x, ta), y if y.dtype is tb else bits(y, tb), z if z.dtype is tc else bits(z, tc)
            )
            if m.lanes.mask is None and target is not None:
                r[target] = v
            else:
                m.write(target, v)

        return ternary

    def general(m: State) -> None:
        r = m.registers
        m.write(target, function(*[bits(r[s], t) for s, t in zip(slots, types, strict=True)]))

    return general


def operation(statement: Statement, ctx: Context, kind: str, function: Callable[..., Array]) -> Run:
    """An instruction whose operands all have the type `kind`: the target, then the sources."""
    target, *sources = statement.operands
    dtype = DTYPES[kind]
    return apply(ctx.target(target), function, *[(ctx.source(s, kind), dtype) for s in sources])


def address_reader(ctx: Context, text: str) -> Callable[[State], Array]:
    """A function that reads the signed 64-bit addresses of `[…]`."""
    address = ctx.address(text)
    slot, offset = address.slot, address.offset
    if slot is None:
        fixed = np.full((1, 1), offset, dtype=np.int64)
        return lambda m: fixed

    def read(m: State) -> Array:
        x = m.registers[slot]
        if x.dtype.itemsize == 8:
            x = bits(x, S64)
            return x + offset if offset else x
        # The sum wraps at the register's width: compilers combine a negative register with a large offset.
        x = bits(x, U32).astype(np.int64)
        return (x + offset) & 0xFFFFFFFF if offset else x

    return read


def halves(x: Array) -> Array:
    """A 32-bit register as its two 16-bit halves, in a last axis; a 64-bit one as its two 32-bit halves."""
    small = np.dtype(f"u{x.dtype.itemsize // 2}")
    return np.ascontiguousarray(x)[..., None].view(small)


def joined(x: Array) -> Array:
    """The inverse of `halves`."""
    wide = np.dtype(f"u{x.dtype.itemsize * 2}")
    return np.ascontiguousarray(x).view(wide)[..., 0]
