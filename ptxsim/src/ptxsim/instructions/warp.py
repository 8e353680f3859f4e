"""Instructions of whole warps: shfl, vote, redux, activemask, match."""

from __future__ import annotations

import numpy as np

from .. import native
from ..context import Context
from ..decoding import decoder
from ..errors import UnsupportedInstruction
from ..parser import Statement
from ..program import Run
from ..state import State
from ..values import BOOL, DTYPES, U32, Array, bits

_LANE = np.arange(32, dtype=np.int64)


def by_warp(x: Array, threads: int) -> Array:
    """(…, threads or 1) as (…, warps, 32)."""
    return np.broadcast_to(x, (x.shape[0], threads)).reshape(x.shape[0], -1, 32)


def check_members(m: State, member: Array) -> None:
    """Report live threads that a mask names and that do not run here."""
    if m.lanes.active is None:
        return
    named = (by_warp(member, m.lanes.threads) >> _LANE.astype(np.uint32)) & np.uint32(1)
    missing = (
        named.astype(bool)
        & by_warp(m.live, m.lanes.threads)
        & ~by_warp(m.lanes.active, m.lanes.threads)
        & by_warp(m.lanes.active, m.lanes.threads).any(axis=-1, keepdims=True)
    )
    if missing.any():
        lane = int(m.lanes.whole(missing.reshape(missing.shape[0], -1)).argmax())
        m.report("partial warp", "the member mask names a thread that does not take part", lane)


@decoder("shfl")
def shfl(s: Statement, ctx: Context) -> Run:
    mode = s.parts[2]
    names = s.operands[0].split("|")
    targets = [ctx.target(n) for n in names]
    a, b, c, member = (ctx.source(v, "b32") for v in s.operands[1:])
    constant = b in ctx.constants and c in ctx.constants

    def source_lanes(by: Array, clamp: Array) -> tuple[Array, Array]:
        """For each thread, the lane it reads and whether that is in range."""
        by, limit, segment = by.astype(np.int64) & 31, clamp.astype(np.int64) & 31, (clamp.astype(np.int64) >> 8) & 31
        top = (_LANE & segment) | (limit & ~segment)
        if mode == "up":
            lane = _LANE - by
            valid = lane >= top
        elif mode == "down":
            lane = _LANE + by
            valid = lane <= top
        elif mode == "bfly":
            lane = _LANE ^ by
            valid = lane <= top
        else:
            lane = (_LANE & segment) | (by & ~segment)
            valid = lane <= top
        return np.where(valid, lane, _LANE), valid

    fixed = None
    if constant:
        lanes, valid = source_lanes(ctx.constants[b], ctx.constants[c])
        fixed = (lanes[0], valid)

    def run(m: State) -> None:
        check_members(m, bits(m.registers[member], U32))
        if native.fast is not None:
            words, by, clamp = (bits(m.registers[slot], U32) for slot in (a, b, c))
            quick = native.fast.shfl(mode, words, by, clamp, m.lanes.active, m.lanes.threads)
            if quick is not None:
                for target, value in zip(targets, quick, strict=False):
                    m.write(target, value)
                return
        x = by_warp(m.registers[a], m.lanes.threads)
        if fixed is not None:
            lane, valid = fixed
            out = x.take(lane, axis=2)
            valid = np.broadcast_to(valid, (1, m.lanes.warps, 32)).reshape(1, -1)
        else:
            lane, valid = source_lanes(
                by_warp(bits(m.registers[b], U32), m.lanes.threads), by_warp(bits(m.registers[c], U32), m.lanes.threads)
            )
            out = _along(x, lane)
            valid = valid.reshape(valid.shape[0], -1)
        if m.lanes.active is not None:
            _check_sources(m, lane)
        m.write(targets[0], out.reshape(out.shape[0], -1))
        if len(targets) > 1:
            m.write(targets[1], valid)

    return run


def _along(x: Array, lane: Array) -> Array:
    """The value in each thread's source lane of its warp."""
    values, places = np.broadcast_arrays(x, lane)
    return np.take_along_axis(values, places, axis=2)


def _check_sources(m: State, lane: Array) -> None:
    assert m.lanes.active is not None
    active = by_warp(m.lanes.active, m.lanes.threads)
    there = _along(active, lane)
    missing = active & ~there
    if missing.any():
        m.report("partial warp", "shfl reads from a thread that does not take part",
                 int(m.lanes.whole(missing.reshape(missing.shape[0], -1)).argmax()))  # fmt: skip


def _ballot(m: State, p: Array) -> Array:
    """Bits of the active threads of each warp with `p` set: (blocks or 1, warps, 1)."""
    if m.lanes.active is not None:
        p = p & m.lanes.active
    return (by_warp(p, m.lanes.threads).astype(np.uint32) << _LANE.astype(np.uint32)).sum(
        axis=-1, dtype=np.uint32, keepdims=True
    )


def _spread(m: State, x: Array) -> Array:
    """Broadcast (…, warps, 1) to all threads of each warp."""
    return np.repeat(x, 32, axis=-1).reshape(x.shape[0], -1)


@decoder("vote")
def vote(s: Statement, ctx: Context) -> Run:
    mode = s.parts[2]
    target, negated = ctx.target(s.operands[0]), s.operands[1].startswith("!")
    source, member = ctx.source(s.operands[1].lstrip("!"), "pred"), ctx.source(s.operands[2], "b32")

    def run(m: State) -> None:
        check_members(m, bits(m.registers[member], U32))
        votes = _ballot(m, bits(m.registers[source], BOOL) != negated)
        everyone = _ballot(m, np.ones((1, 1), dtype=bool))
        if mode == "ballot":
            result = votes
        elif mode == "any":
            result = votes != 0
        elif mode == "all":
            result = votes == everyone
        else:
            result = (votes == 0) | (votes == everyone)
        m.write(target, _spread(m, result))

    return run


@decoder("activemask")
def activemask(s: Statement, ctx: Context) -> Run:
    target = ctx.target(s.operands[0])
    return lambda m: m.write(target, _spread(m, _ballot(m, np.ones((1, 1), dtype=bool))))


_REDUCE = {
    "add": np.add,
    "min": np.minimum,
    "max": np.maximum,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
}


@decoder("redux")
def redux(s: Statement, ctx: Context) -> Run:
    name, kind = s.parts[2], s.parts[-1]
    if kind not in {"u32", "s32", "b32"}:
        raise UnsupportedInstruction("redux of floats")
    dtype = DTYPES[kind]
    limits = np.iinfo(dtype)
    neutral = dtype.type({"min": limits.max, "max": limits.min, "and": -1 if kind == "s32" else limits.max}.get(name, 0))
    target, source, member = ctx.target(s.operands[0]), ctx.source(s.operands[1], kind), ctx.source(s.operands[2], "b32")

    def run(m: State) -> None:
        check_members(m, bits(m.registers[member], U32))
        x = bits(m.registers[source], dtype)
        if m.lanes.active is not None:
            x = np.where(m.lanes.active, x, neutral)
        m.write(target, _spread(m, _REDUCE[name].reduce(by_warp(x, m.lanes.threads), axis=-1, keepdims=True, dtype=dtype)))

    return run


@decoder("match")
def match(s: Statement, ctx: Context) -> Run:
    if s.parts[1] != "any":
        raise UnsupportedInstruction("match.all")
    kind = s.parts[-1]
    target, source, member = ctx.target(s.operands[0]), ctx.source(s.operands[1], kind), ctx.source(s.operands[2], "b32")

    def run(m: State) -> None:
        check_members(m, bits(m.registers[member], U32))
        x = by_warp(bits(m.registers[source], DTYPES[kind]), m.lanes.threads)
        same = x[..., :, None] == x[..., None, :]
        if m.lanes.active is not None:
            same = same & by_warp(m.lanes.active, m.lanes.threads)[..., None, :]
        found = (same.astype(np.uint32) << _LANE.astype(np.uint32)).sum(axis=-1, dtype=np.uint32)
        m.write(target, found.reshape(found.shape[0], -1))

    return run
