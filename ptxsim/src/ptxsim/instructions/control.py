"""Branches, ends and barriers."""

from __future__ import annotations

import numpy as np

from ..context import Context
from ..decoding import decoder
from ..errors import UnsupportedInstruction
from ..parser import Statement, parse_integer
from ..program import Run
from ..state import State
from ..values import BOOL, U32, Array, bits
from .common import apply

_OF_CLUSTER = -1  # number of the cluster's barrier, distinct from the block's


def _split(m: State, slot: int | None, negated: bool) -> tuple[Array | None, Array | None]:
    """The running threads whose predicate holds, and the others; None for an empty set."""
    group = m.group
    if slot is None:
        return group, None
    p = m.registers[slot]
    if negated:
        p = ~p
    yes, no = (p, ~p) if m.lanes.active is None else (group & p, group & ~p)
    # Returns the group itself where nobody leaves it: the interpreter recognises the object.
    if not yes.any():
        return None, group
    return (yes, no) if no.any() else (group, None)


def _predicate(s: Statement, ctx: Context) -> int | None:
    return None if s.predicate is None else ctx.register(s.predicate)


@decoder("bra")
def bra(s: Statement, ctx: Context) -> Run:
    goal, after, slot, negated = ctx.label(s.operands[0]), ctx.next_block, _predicate(s, ctx), s.negated

    def run(m: State) -> None:
        yes, no = _split(m, slot, negated)
        if yes is not None:
            m.go(goal, yes)
        if no is not None:
            m.go(after, no)

    return run


@decoder("brx")
def brx(s: Statement, ctx: Context) -> Run:
    index, table = ctx.source(s.operands[0], "u32"), [ctx.label(t) for t in ctx.kernel.tables[s.operands[1]]]
    after, slot, negated = ctx.next_block, _predicate(s, ctx), s.negated

    def run(m: State) -> None:
        yes, no = _split(m, slot, negated)
        if no is not None:
            m.go(after, no)
        if yes is not None:
            choice = bits(m.registers[index], U32)
            beyond = yes & (choice >= len(table))
            if beyond.any():
                m.report("branch beyond its table", f"the table has {len(table)} targets", int(m.lanes.whole(beyond).argmax()))
                m.stop(beyond)
            for i, goal in enumerate(table):
                mask = yes & (choice == i)
                if mask.any():
                    m.go(goal, mask)

    return run


@decoder("ret", "exit")
def stop(s: Statement, ctx: Context) -> Run:
    after, slot, negated = ctx.next_block, _predicate(s, ctx), s.negated

    def run(m: State) -> None:
        yes, no = _split(m, slot, negated)
        if no is not None:
            m.go(after, no)
        if yes is not None:
            m.stop(yes)

    return run


@decoder("trap")
def trap(s: Statement, ctx: Context) -> Run:
    after, slot, negated = ctx.next_block, _predicate(s, ctx), s.negated

    def run(m: State) -> None:
        yes, no = _split(m, slot, negated)
        if yes is not None:
            m.report("trap", "the kernel traps", int(m.lanes.whole(yes).argmax()))
            m.stop(yes)
        if no is not None:
            m.go(after, no)

    return run


@decoder("bar", "barrier")
def barrier(s: Statement, ctx: Context) -> Run:
    parts = [p for p in s.parts[1:] if p not in {"cta", "aligned"}]
    if parts[0] == "warp":
        return lambda m: None
    if parts[0] == "cluster" or "cluster" in parts:
        return _cluster_barrier(s, ctx)
    if s.predicate is not None:
        raise UnsupportedInstruction("a barrier under a predicate")
    after = ctx.next_block
    if parts[0] == "sync":
        number = parse_integer(s.operands[0])
        count = parse_integer(s.operands[1]) if len(s.operands) > 1 else None
        return lambda m: m.barrier(number, count, after)
    if parts[0] == "red" and len(s.operands) == 3:
        return _reducing_barrier(s, ctx, parts[1], after)
    raise UnsupportedInstruction("this form of barrier")


def _cluster_barrier(s: Statement, ctx: Context) -> Run:
    """In a cluster of one thread block, threads arrive at the wait instead."""
    if s.predicate is not None or s.parts[1] != "cluster":
        raise UnsupportedInstruction("this form of barrier")
    after = ctx.next_block
    if s.parts[2] == "arrive":
        return lambda m: m.go(after, m.group)
    return lambda m: m.barrier(_OF_CLUSTER, None, after)


def _reducing_barrier(s: Statement, ctx: Context, operator: str, after: int) -> Run:
    target, number, source = ctx.target(s.operands[0]), parse_integer(s.operands[1]), s.operands[2]
    negated = source.startswith("!")
    slot = ctx.source(source.lstrip("!"), "pred")

    def run(m: State) -> None:
        if m.lanes.mask is not None:
            raise UnsupportedInstruction(f"{s.opcode} by a part of the threads (PTX line {s.line})")
        p = m.lanes.whole(bits(m.registers[slot], BOOL) != negated) & m.lanes.whole(m.group)
        live = m.lanes.whole(m.live)
        value: Array
        if operator == "or":
            value = np.any(p, axis=1, keepdims=True)
        elif operator == "and":
            value = np.all(p | ~live, axis=1, keepdims=True)
        else:
            value = p.sum(axis=1, keepdims=True, dtype=np.uint32)
        m.write(target, value)
        m.barrier(number, None, after)

    return run


@decoder("membar", "nanosleep", "prefetch", "prefetchu", "discard", "griddepcontrol", "pmevent", "applypriority")
def nothing(s: Statement, ctx: Context) -> Run:
    """Ordering or hints that change no result here: all memory is coherent."""
    return lambda m: None


@decoder("createpolicy")
def createpolicy(s: Statement, ctx: Context) -> Run:
    zero = ctx.constant(0, 8)
    return apply(ctx.target(s.operands[0]), lambda x: x, (zero, ctx.constants[zero].dtype))
