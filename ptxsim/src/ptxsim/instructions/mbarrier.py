"""mbarrier: init, inval, arrive, expect_tx, complete_tx, test_wait and try_wait on barriers in the block's shared memory."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..context import SHARED_WINDOW, Context
from ..decoding import decoder
from ..errors import UnsupportedInstruction
from ..mbarriers import BYTES
from ..parser import Statement
from ..program import Run
from ..state import State
from ..values import S64, U32, U64, Array, bits
from .common import address_reader

_SCOPES = {"release", "acquire", "relaxed", "cta", "cluster", "shared", "shared_cta", "shared_cluster", "b64"}


def barrier_address(ctx: Context, text: str, *, generic: bool) -> Callable[[State], Array]:
    """A function that reads and checks the offsets of mbarriers in shared memory."""
    address = address_reader(ctx, text)

    def read(m: State) -> Array:
        where = address(m)
        where = where - SHARED_WINDOW if generic else where
        m.shared.access(where, BYTES, "mbarrier")
        return where

    return read


@decoder("mbarrier")
def mbarrier(s: Statement, ctx: Context) -> Run:
    verb, rest = s.parts[1], [p for p in s.parts[2:] if p not in _SCOPES]
    form = _FORMS.get((verb, *rest))
    if form is None or s.parts[-1] != "b64":
        raise UnsupportedInstruction("this form of mbarrier")
    return form(s, ctx)


def _generic(s: Statement) -> bool:
    return not any(p.startswith("shared") for p in s.parts)


def _init(s: Statement, ctx: Context) -> Run:
    address, count = barrier_address(ctx, s.operands[0], generic=_generic(s)), ctx.source(s.operands[1], "u32")
    return lambda m: m.mbarriers.init(address(m), bits(m.registers[count], U32))


def _inval(s: Statement, ctx: Context) -> Run:
    address = barrier_address(ctx, s.operands[0], generic=_generic(s))
    return lambda m: m.mbarriers.invalidate(address(m))


def _arrive(s: Statement, ctx: Context) -> Run:
    operands = list(s.operands)
    target = None if operands[0].startswith("[") else ctx.target(operands.pop(0))
    address = barrier_address(ctx, operands.pop(0), generic=_generic(s))
    number = ctx.source(operands[0] if operands else "1", "u32")
    expects = "expect_tx" in s.parts
    one = ctx.source("1", "u32")

    def run(m: State) -> None:
        value = bits(m.registers[number], U32)
        phase = m.mbarriers.arrive(address(m), bits(m.registers[one], U32) if expects else value, value if expects else None)
        m.write(target, phase)

    return run


def _expect(s: Statement, ctx: Context) -> Run:
    address, amount = barrier_address(ctx, s.operands[0], generic=_generic(s)), ctx.source(s.operands[1], "u32")
    return lambda m: m.mbarriers.expect(address(m), bits(m.registers[amount], U32))


def _complete(s: Statement, ctx: Context) -> Run:
    address, amount = barrier_address(ctx, s.operands[0], generic=_generic(s)), ctx.source(s.operands[1], "u32")
    return lambda m: m.mbarriers.complete(address(m), bits(m.registers[amount], U32))


def _wait(s: Statement, ctx: Context) -> Run:
    """Threads that find the phase incomplete get false, and continue when no others can run."""
    target, address = ctx.target(s.operands[0]), barrier_address(ctx, s.operands[1], generic=_generic(s))
    parity = "parity" in s.parts
    wanted = ctx.source(s.operands[2], "u32" if parity else "b64")
    after, slot, negated = ctx.next_block, None if s.predicate is None else ctx.register(s.predicate), s.negated

    def run(m: State) -> None:
        group, mask, active = m.group, m.lanes.mask, m.lanes.active
        if slot is not None:
            p = ~m.registers[slot] if negated else m.registers[slot]
            m.lanes.mask = p if mask is None else mask & p
            m.lanes.active = p if active is None else active & p
            if not m.lanes.active.any():
                m.lanes.mask, m.lanes.active = mask, active
                m.go(after, group)
                return
        where = address(m)
        done = m.mbarriers.waited(where, bits(m.registers[wanted], U32 if parity else U64).astype(S64), parity)
        looking = m.lanes.whole(group if m.lanes.active is None else group & m.lanes.active)
        m.write(target, done)
        m.lanes.mask, m.lanes.active = mask, active
        vain = looking & ~done
        if not vain.any():
            m.go(after, group)
            return
        on = m.lanes.whole(group) & ~vain
        if on.any():
            m.go(after, on)
        m.pause(after, vain, np.asarray(where))

    return run


_FORMS: dict[tuple[str, ...], Callable[[Statement, Context], Run]] = {
    ("init",): _init,
    ("inval",): _inval,
    ("arrive",): _arrive,
    ("arrive", "expect_tx"): _arrive,
    ("expect_tx",): _expect,
    ("complete_tx",): _complete,
    ("test_wait",): _wait,
    ("test_wait", "parity"): _wait,
    ("try_wait",): _wait,
    ("try_wait", "parity"): _wait,
}
