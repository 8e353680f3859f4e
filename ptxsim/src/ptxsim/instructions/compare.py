"""setp and set: comparisons of every type."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..context import Context
from ..decoding import decoder
from ..errors import UnsupportedInstruction
from ..parser import Statement
from ..program import Run
from ..state import State
from ..values import BOOL, DTYPES, Array, bf16_to_single, bits, flush, half_to_single
from .common import apply, halves
from .integer import LOGIC

_ORDERED: dict[str, Callable[[Array, Array], Array]] = {
    "eq": np.equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "lo": np.less,
    "ls": np.less_equal,
    "hi": np.greater,
    "hs": np.greater_equal,
}


# Comparisons that end in u hold if an operand is NaN; `ne` does not.
_FLOATS_ONLY: dict[str, Callable[[Array, Array], Array]] = {
    "num": lambda a, b: ~(np.isnan(a) | np.isnan(b)),
    "nan": lambda a, b: np.isnan(a) | np.isnan(b),
    "ne": lambda a, b: (a < b) | (a > b),
    "neu": np.not_equal,
    "equ": lambda a, b: ~((a < b) | (a > b)),
    "ltu": lambda a, b: ~(a >= b),
    "leu": lambda a, b: ~(a > b),
    "gtu": lambda a, b: ~(a <= b),
    "geu": lambda a, b: ~(a < b),
}


def comparison(name: str, floats: bool) -> Callable[[Array, Array], Array]:
    if not floats and name == "ne":
        return np.not_equal
    if floats and name in _FLOATS_ONLY:
        return _FLOATS_ONLY[name]
    return _ORDERED[name]


def _compare(s: Statement, kind: str) -> Callable[[Array, Array], Array]:
    floats = "f" in kind
    function = comparison(s.parts[1], floats)
    if kind in {"f16", "f16x2"}:
        return lambda a, b: function(half_to_single(a), half_to_single(b))
    if kind in {"bf16", "bf16x2"}:
        return lambda a, b: function(bf16_to_single(a), bf16_to_single(b))
    if kind == "f32" and "ftz" in s.parts:
        return lambda a, b: function(flush(a), flush(b))
    return function


@decoder("setp")
def setp(s: Statement, ctx: Context) -> Run:
    kind = s.parts[-1]
    targets = [ctx.target(t) for t in s.operands[0].split("|")]
    dtype = DTYPES[kind]
    compare = _compare(s, kind)
    a, b = ((ctx.source(v, kind), dtype) for v in s.operands[1:3])
    combine = next((LOGIC[p] for p in s.parts[2:] if p in LOGIC), None)
    if len(targets) == 1 and combine is None and not kind.endswith("x2"):
        return apply(targets[0], compare, a, b)
    third = None
    if combine is not None:
        negated = s.operands[3].startswith("!")
        third = ctx.source(s.operands[3].lstrip("!"), "pred")

    def run(m: State) -> None:
        x, y = bits(m.registers[a[0]], dtype), bits(m.registers[b[0]], dtype)
        if kind.endswith("x2"):
            both = compare(halves(x), halves(y))
            results = [both[..., 0], both[..., 1]]
        else:
            first = compare(x, y)
            results = [first, ~first]
        if combine is not None and third is not None:
            c = bits(m.registers[third], BOOL) != negated
            results = [combine(r, c) for r in results]
        for t, r in zip(targets, results, strict=False):
            m.write(t, r)

    return run


@decoder("set")
def set_(s: Statement, ctx: Context) -> Run:
    """A comparison whose result is a number: all ones for an integer, 1.0 for a float."""
    to, kind = s.parts[-2], s.parts[-1]
    if any(p in LOGIC for p in s.parts):
        raise UnsupportedInstruction("set combined with a predicate")
    compare, dtype = _compare(s, kind), DTYPES[kind]
    one = {"f32": 0x3F800000, "f16": 0x3C00, "f16x2": 0x3C00, "bf16": 0x3F80, "bf16x2": 0x3F80}.get(to, 0xFFFFFFFF)
    out = np.dtype(np.uint16 if to in {"f16", "bf16", "f16x2", "bf16x2"} else np.uint32)

    def run(x: Array, y: Array) -> Array:
        if kind.endswith("x2"):
            pair = np.where(compare(halves(x), halves(y)), out.type(one & 0xFFFF), out.type(0))
            return np.ascontiguousarray(pair).view(np.uint32)[..., 0]
        return np.where(compare(x, y), out.type(one), out.type(0))

    return apply(ctx.target(s.operands[0]), run, *[(ctx.source(v, kind), dtype) for v in s.operands[1:3]])
