"""Functions of fp32 and fp64 numbers by their names in PTX, with PTX's modifiers.

Rounded as IEEE requires. `fma` of fp32 goes through fp64 and can round twice (one case in 2^29). The approximations
(`ex2.approx`, `lg2.approx`, `rcp.approx`, …) are numpy's, within an ulp or so: more accurate than the hardware's.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .. import native
from ..errors import UnsupportedInstruction
from ..parser import Statement
from ..values import F32, Array, flush

Function = Callable[..., Array]


def directed(x: Array, mode: str) -> Array:
    """fp64 to fp32 with rounding `rn`, `rz`, `rm` or `rp`."""
    single = x.astype(np.float32)
    if mode == "rn":
        return single
    back = single.astype(np.float64)
    if mode == "rz":
        return np.where(np.abs(back) > np.abs(x), np.nextafter(single, np.float32(0)), single)
    if mode == "rm":
        return np.where(back > x, np.nextafter(single, np.float32(-np.inf)), single)
    return np.where(back < x, np.nextafter(single, np.float32(np.inf)), single)


def _fma32(a: Array, b: Array, c: Array) -> Array:
    if native.fast is not None and a.ndim == 2:  # pairs of numbers have a third axis
        return native.fast.fma(a, b, c, False)
    return (a.astype(np.float64) * b + c).astype(np.float32)


def _flushed_fma(slow: Function) -> Function:
    def function(a: Array, b: Array, c: Array) -> Array:
        return slow(a, b, c) if native.fast is None or a.ndim != 2 else native.fast.fma(a, b, c, True)

    return function


def _fma64(a: Array, b: Array, c: Array) -> Array:
    return (a.astype(np.longdouble) * b + c).astype(np.float64)


def _minimum(a: Array, b: Array) -> Array:
    return np.where((a == 0) & (b == 0), np.where(np.signbit(a), a, b), np.fmin(a, b))


def _maximum(a: Array, b: Array) -> Array:
    return np.where((a == 0) & (b == 0), np.where(np.signbit(a), b, a), np.fmax(a, b))


def extremum(name: str, propagate: bool) -> Function:
    """min or max: the other operand if one is NaN, unless NaN is to propagate; -0 is below +0."""
    plain = _minimum if name == "min" else _maximum

    def function(a: Array, b: Array) -> Array:
        if native.fast is not None and a.dtype is F32 and a.ndim == 2:
            return native.fast.extremum(a, b, name == "max", propagate)
        return np.where(np.isnan(a) | np.isnan(b), a.dtype.type(np.nan), plain(a, b)) if propagate else plain(a, b)

    # Newer PTX compares three numbers in one instruction.
    return lambda a, b, *c: function(function(a, b), *c) if c else function(a, b)


def _with_product_sign(function: Function) -> Function:
    """`.xorsign.abs`: applied to magnitudes, with the sign of the operands' product."""
    return lambda a, b: np.copysign(
        function(np.abs(a), np.abs(b)), np.where(np.signbit(a) ^ np.signbit(b), -1, 1).astype(a.dtype)
    )


def _reciprocal(x: Array) -> Array:
    return x.dtype.type(1) / x


def _rsqrt(x: Array) -> Array:
    return (1 / np.sqrt(x.astype(np.float64))).astype(x.dtype)


UNARY: dict[str, Function] = {
    "neg": np.negative, "abs": np.abs, "sqrt": np.sqrt, "rcp": _reciprocal, "rsqrt": _rsqrt,
    "ex2": np.exp2, "lg2": np.log2, "sin": np.sin, "cos": np.cos, "tanh": np.tanh,
}  # fmt: skip
_BINARY: dict[str, Function] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "copysign": lambda a, b: np.copysign(b, a),
}


def function_of(s: Statement, kind: str) -> Function:
    name, parts = s.parts[0], s.parts
    mode = next((p for p in parts if p in {"rz", "rm", "rp"}), "rn")
    if name in {"min", "max"}:
        function = extremum(name, "NaN" in parts)
        if "xorsign" in parts:
            function = _with_product_sign(function)
    elif name in {"fma", "mad"}:
        function = _fma32 if kind == "f32" else _fma64
    elif name in UNARY:
        function = UNARY[name]
    else:
        function = _BINARY[name]
    if mode != "rn":
        if kind != "f32":
            raise UnsupportedInstruction("directed rounding of fp64")
        exact = _BINARY.get(name, UNARY.get(name)) if name not in {"fma", "mad"} else (lambda a, b, c: a * b + c)
        assert exact is not None

        def function(*values: Array) -> Array:
            return directed(exact(*[v.astype(np.float64) for v in values]), mode)

    return function


def modified(function: Function, parts: tuple[str, ...]) -> Function:
    """`function` with `.ftz` and `.sat`."""
    if "ftz" in parts:
        inner = function
        function = lambda *values: flush(inner(*[flush(v) for v in values]))  # noqa: E731
        if inner is _fma32:
            function = _flushed_fma(function)
    if "sat" in parts:
        unclamped = function

        def function(*values: Array) -> Array:
            x = unclamped(*values)
            return np.where(np.isnan(x), x.dtype.type(0), np.clip(x, 0, 1).astype(x.dtype))

    return function
