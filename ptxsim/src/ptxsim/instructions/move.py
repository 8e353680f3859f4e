"""mov, selp, cvta: moving and selecting values."""

from __future__ import annotations

import numpy as np

from ..context import LOCAL_WINDOW, SHARED_WINDOW, Context
from ..decoding import decoder
from ..errors import UnsupportedInstruction
from ..parser import TYPE_BYTES, Statement
from ..program import Run
from ..state import State
from ..values import BOOL, DTYPES, F32, S32, U64, UNSIGNED, Array, bits
from .common import apply


@decoder("mov")
def mov(s: Statement, ctx: Context) -> Run:
    kind = s.parts[-1]
    target, source = s.operands
    if target.startswith("{"):
        return _unpack(target, source, ctx, kind)
    if source.startswith("{"):
        return _pack(target, source, ctx, kind)
    return apply(ctx.target(target), lambda x: x, (ctx.source(source, kind), DTYPES[kind]))


def _unpack(target: str, source: str, ctx: Context, kind: str) -> Run:
    targets = [ctx.target(t) for t in ctx.vector(target)]
    small, wide = UNSIGNED[TYPE_BYTES[kind] // len(targets)], DTYPES[kind]
    slot = ctx.source(source, kind)

    def run(m: State) -> None:
        x = np.ascontiguousarray(bits(m.registers[slot], wide))
        parts = x.view(small).reshape(*x.shape, len(targets))
        for i, t in enumerate(targets):
            m.write(t, parts[..., i])

    return run


def _pack(target: str, source: str, ctx: Context, kind: str) -> Run:
    names = ctx.vector(source)
    size = TYPE_BYTES[kind] // len(names)
    slots = [ctx.source(n, f"b{8 * size}") for n in names]
    small, wide, to = UNSIGNED[size], DTYPES[kind], ctx.target(target)

    def run(m: State) -> None:
        m.write(to, pack([bits(m.registers[s], small) for s in slots], wide))

    return run


def pack(parts: list[np.ndarray], wide: np.dtype) -> np.ndarray:
    """Contiguous elements as one wide value, the first one lowest."""
    shape = np.broadcast_shapes(*[p.shape for p in parts])
    out = np.empty((*shape, len(parts)), dtype=parts[0].dtype)
    for i, p in enumerate(parts):
        out[..., i] = p
    return out.view(wide)[..., 0]


@decoder("selp")
def selp(s: Statement, ctx: Context) -> Run:
    kind = s.parts[-1]
    target, a, b, p = s.operands
    dtype = DTYPES[kind]

    def choose(x: np.ndarray, y: np.ndarray, q: np.ndarray) -> np.ndarray:
        if q.size == 1:
            return x if q[0, 0] else y
        return np.where(q, x, y)

    return apply(ctx.target(target), choose, (ctx.source(a, kind), dtype), (ctx.source(b, kind), dtype),
                 (ctx.source(p, "pred"), BOOL))  # fmt: skip


@decoder("slct")
def slct(s: Statement, ctx: Context) -> Run:
    kind, chooser = s.parts[-2], s.parts[-1]
    target, a, b, c = s.operands
    dtype, by = DTYPES[kind], F32 if chooser == "f32" else S32

    def chosen(x: Array, y: Array, z: Array) -> Array:
        return np.where(z >= 0, x, y)

    return apply(ctx.target(target), chosen, (ctx.source(a, kind), dtype),
                 (ctx.source(b, kind), dtype), (ctx.source(c, chooser), by))  # fmt: skip


@decoder("cvta")
def cvta(s: Statement, ctx: Context) -> Run:
    to = "to" in s.parts
    space = next(p for p in s.parts if p.split("_")[0] in {"global", "shared", "local", "const", "param"}).split("_")[0]
    window = {"shared": SHARED_WINDOW, "local": LOCAL_WINDOW}.get(space, 0)
    shift = np.uint64((-window if to else window) % (1 << 64))
    if s.parts[-1] not in {"u64", "b64"}:
        raise UnsupportedInstruction("addresses of 32 bits")
    source = (ctx.source(s.operands[1], "b64"), U64)
    return apply(ctx.target(s.operands[0]), (lambda x: x + shift) if window else (lambda x: x), source)


@decoder("isspacep")
def isspacep(s: Statement, ctx: Context) -> Run:
    space = s.parts[1].split("_")[0]
    low = {"shared": SHARED_WINDOW, "local": LOCAL_WINDOW, "global": 0}[space]
    high = {"shared": LOCAL_WINDOW, "local": 1 << 63, "global": SHARED_WINDOW}[space]
    return apply(ctx.target(s.operands[0]), lambda x: (x >= np.uint64(low)) & (x < np.uint64(high)),
                 (ctx.source(s.operands[1], "b64"), U64))  # fmt: skip
