"""fence, elect, mapa, getctarank, setmaxnreg: ordering, election and placement, for clusters of one block."""

from __future__ import annotations

import numpy as np

from ..context import Context
from ..decoding import decoder
from ..errors import UnsupportedInstruction
from ..parser import Statement, parse_integer
from ..program import Run
from ..state import State
from ..values import U32, U64, bits
from .common import apply
from .warp import by_warp, check_members

_LANE = np.arange(32, dtype=np.uint32)
_WIDTHS = {"u32": U32, "u64": U64}


@decoder("fence")
def fence(s: Statement, ctx: Context) -> Run:
    """Fences change no result, as all memory is coherent here, but the checks need those between proxies."""
    if s.parts[1] == "mbarrier_init":
        return lambda m: m.mbarriers.fence_init()
    if s.parts[1] != "proxy" or s.parts[2] == "alias":
        return lambda m: None
    if s.parts[2] != "async" or s.parts[3:] not in {(), ("global",), ("shared_cta",), ("shared_cluster",)}:
        raise UnsupportedInstruction("a proxy fence of this kind")
    if s.parts[3:] == ("global",):  # threads' accesses to global memory are not checked for order
        return lambda m: None
    return lambda m: m.proxies.fence()


@decoder("elect")
def elect(s: Statement, ctx: Context) -> Run:
    """Elect the lowest thread in the mask."""
    lane, chosen = s.operands[0].split("|")
    target = None if lane == "_" else ctx.target(lane)
    predicate, member = ctx.target(chosen), ctx.source(s.operands[1], "b32")

    def run(m: State) -> None:
        mask = bits(m.registers[member], U32)
        check_members(m, mask)
        named = (by_warp(mask, m.lanes.threads) >> _LANE & np.uint32(1)).astype(bool)
        leader = named.argmax(axis=-1, keepdims=True)
        shape = (len(named), m.lanes.threads)
        m.write(target, np.broadcast_to(leader, named.shape).reshape(shape).astype(np.uint32))
        m.write(predicate, (named & (leader == _LANE)).reshape(shape))

    return run


@decoder("mapa")
def mapa(s: Statement, ctx: Context) -> Run:
    """An address in the shared memory of the cluster's single block."""
    kind = s.parts[-1]
    source, rank = ctx.source(s.operands[1], kind), ctx.source(s.operands[2], "u32")
    target = ctx.target(s.operands[0])

    def run(m: State) -> None:
        wrong = bits(m.registers[rank], U32) != 0
        if m.lanes.active is not None:
            wrong = wrong & m.lanes.active
        if wrong.any():
            m.report("no such block in the cluster", "the cluster has one block", int(m.lanes.whole(wrong).argmax()))
        m.write(target, bits(m.registers[source], _WIDTHS[kind]))

    return run


@decoder("getctarank")
def getctarank(s: Statement, ctx: Context) -> Run:
    zero = ctx.constant(0, 4)
    return apply(ctx.target(s.operands[0]), lambda x: x, (zero, ctx.constants[zero].dtype))


@decoder("setmaxnreg")
def setmaxnreg(s: Statement, ctx: Context) -> Run:
    """No effect here, as the number of registers is not limited; the requested number must be valid."""
    if s.parts[1:] not in {("inc", "sync", "aligned", "u32"), ("dec", "sync", "aligned", "u32")}:
        raise UnsupportedInstruction("this form of setmaxnreg")
    count = parse_integer(s.operands[0])
    if not 24 <= count <= 256 or count % 8:
        raise UnsupportedInstruction(f"{count} registers: a multiple of 8 from 24 to 256 can be asked for")
    return lambda m: None
