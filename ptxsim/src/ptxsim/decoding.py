"""Decodes statements into closures: the decoders by opcode, and the checks common to all."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from .context import Context
from .errors import UnsupportedInstruction
from .fragments import named
from .parser import TYPE_BYTES, Statement
from .program import Run
from .state import State
from .values import DTYPES

Decoder = Callable[[Statement, Context], Run]
DECODERS: dict[str, Decoder] = {}

_ENDS_BLOCK = {"bra", "ret", "exit", "bar", "barrier", "brx", "trap"}
_WAITS = ("wgmma.fence", "mbarrier.try_wait", "mbarrier.test_wait")


def decoder(*names: str) -> Callable[[Decoder], Decoder]:
    """Register a decoder for the opcodes whose first part is one of `names`."""

    def enter(function: Decoder) -> Decoder:
        for name in names:
            DECODERS[name] = function
        return function

    return enter


def ends_block(statement: Statement) -> bool:
    """Whether a statement can change where threads continue."""
    if statement.opcode.startswith(_WAITS):
        return True
    return statement.parts[0] in _ENDS_BLOCK and not statement.opcode.startswith("bar.warp")


# Modifiers that the decoders support: any other could change the meaning of an instruction.
_MODIFIER_NAMES = """
rn rz rm rp rna rni rzi rmi rpi ftz sat relu NaN xorsign abs approx full noftz lo hi wide cc l r wrap clamp shiftamt eq ne
lt le gt ge ls hs equ neu ltu leu gtu geu num nan and or xor finite infinite number notanumber normal subnormal to global
shared shared_cta shared_cluster local const param v2 v4 v8 nc ca cg cs cv wb wt volatile weak relaxed acquire release
acq_rel sys gpu cta cluster async commit_group wait_group wait_all sync aligned row col m8n8 x1 x2 x4 trans m16n8k4 m16n8k8
m16n8k16 arrive wait up down bfly idx ballot any all uni add min max exch cas inc dec red popc warp fractional range
"""
_MODIFIERS = {*DTYPES, *TYPE_BYTES, "s16x2", "u16x2", *_MODIFIER_NAMES.split()}
_CHECKED = {"wgmma", "mbarrier", "elect", "setmaxnreg", "mapa", "getctarank"}  # their decoders check every modifier
_HINT = re.compile(r"L[12]_\w+")
_ORDER_ONLY = {"membar", "fence", "nanosleep", "prefetch", "prefetchu", "discard", "griddepcontrol", "pmevent", "applypriority"}


@lru_cache(maxsize=4096)
def _known(parts: tuple[str, ...]) -> bool:
    """Whether the decoders support every modifier of an opcode."""
    return parts[0] in _ORDER_ONLY | _CHECKED or all(p in _MODIFIERS or _HINT.fullmatch(p) for p in parts[1:])


def decoded(statement: Statement, ctx: Context) -> Run:
    """The closure of a statement. Raises UnsupportedInstruction naming it and its line."""
    decode = DECODERS.get(statement.parts[0])
    if decode is None or not (_known(statement.parts) or statement.opcode.startswith("cp.async.bulk")):
        raise UnsupportedInstruction(f"{statement.opcode} (PTX line {statement.line}: {statement.text})")
    try:
        run = decode(statement, ctx)
    except (UnsupportedInstruction, KeyError, ValueError) as error:
        raise UnsupportedInstruction(f"{statement.opcode} (PTX line {statement.line}: {statement.text}): {error}") from error
    if ctx.fragments and statement.parts[0] != "wgmma":
        run = _watched(run, statement, ctx)
    if statement.predicate is not None and not ends_block(statement):
        run = _predicated(run, ctx.register(statement.predicate), statement.negated)
    return run


def _watched(run: Run, s: Statement, ctx: Context) -> Run:
    """`run`, with a check for registers of a `wgmma` that it touches or moves."""
    names = named(s) & ctx.fragments
    if not names:
        return run
    if s.parts[0] != "mov":
        slots = [ctx.register(name) for name in sorted(names)]

        def touching(m: State) -> None:
            m.in_flight.touch(slots)
            run(m)

        return touching
    targets, sources = ([ctx.register(name) for name in ctx.vector(operand) if name in names] for operand in s.operands)

    def moving(m: State) -> None:
        m.in_flight.move(targets, sources)
        run(m)

    return moving


def _predicated(run: Run, slot: int, negated: bool) -> Run:
    """`run` restricted to the threads whose predicate holds."""

    def guarded(m: State) -> None:
        p = m.registers[slot]
        if negated:
            p = ~p
        if p.all():
            run(m)
            return
        mask, active = m.lanes.mask, m.lanes.active
        m.lanes.mask = p if mask is None else mask & p
        m.lanes.active = p if active is None else active & p
        if m.lanes.active.any():
            run(m)
        m.lanes.mask, m.lanes.active = mask, active

    return guarded
