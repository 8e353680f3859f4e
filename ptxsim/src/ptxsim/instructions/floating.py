"""fp32 and fp64 arithmetic, and fp32 in pairs."""

from __future__ import annotations

import numpy as np

from ..context import Context
from ..decoding import decoder
from ..parser import Statement
from ..program import Run
from ..values import DTYPES, Array
from . import half
from .common import apply, halves, joined, operation
from .functions import Function, function_of, modified


def arithmetic(s: Statement, ctx: Context) -> Run:
    """An instruction on fp32, fp64 or pairs of fp32."""
    kind = s.parts[-1]
    if kind == "f32x2":
        single = modified(function_of(s, "f32"), s.parts)

        def paired(*values: Array) -> Array:
            return joined(single(*[halves(v).view(np.float32) for v in values]).view(np.uint32))

        return operation(s, ctx, "f32x2", paired)
    function = function_of(s, kind)
    # Changes of sign are not arithmetic: they keep NaN and, without .ftz, subnormals.
    if {"ftz", "sat"} & set(s.parts):
        function = modified(function, s.parts)
    return operation(s, ctx, kind, function)


@decoder("sqrt", "rcp", "rsqrt", "ex2", "lg2", "sin", "cos", "tanh", "copysign")
def special(s: Statement, ctx: Context) -> Run:
    return half.arithmetic(s, ctx) if "f16" in s.parts[-1] else arithmetic(s, ctx)


@decoder("testp")
def testp(s: Statement, ctx: Context) -> Run:
    kind = s.parts[-1]
    tiny = np.finfo(DTYPES[kind]).tiny
    tests: dict[str, Function] = {
        "finite": np.isfinite,
        "infinite": np.isinf,
        "number": lambda x: ~np.isnan(x),
        "notanumber": np.isnan,
        "normal": lambda x: np.isfinite(x) & (np.abs(x) >= tiny),
        "subnormal": lambda x: (x != 0) & (np.abs(x) < tiny),
    }
    return apply(ctx.target(s.operands[0]), tests[s.parts[1]], (ctx.source(s.operands[1], kind), DTYPES[kind]))
