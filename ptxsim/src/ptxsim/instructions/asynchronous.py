"""cp.async: copies from global to shared memory that arrive at a wait."""

from __future__ import annotations

import numpy as np

from ..context import Context
from ..decoding import decoder
from ..errors import UnsupportedInstruction
from ..parser import Statement, parse_integer
from ..program import Run
from ..state import State
from ..values import BOOL, U32, UNSIGNED, Array, bits
from .bulk import bulk
from .common import address_reader
from .memory import add_shared, count_shared


@decoder("cp")
def cp(s: Statement, ctx: Context) -> Run:
    if s.opcode.startswith("cp.async.bulk"):
        return bulk(s, ctx)
    if s.parts[1] != "async" or "bulk" in s.parts or "mbarrier" in s.parts:
        raise UnsupportedInstruction("this form of cp")
    if s.parts[2] == "commit_group":
        return lambda m: m.shared.commit()
    if s.parts[2] == "wait_group":
        allowed = parse_integer(s.operands[0])
        return lambda m: m.shared.wait(allowed)
    if s.parts[2] == "wait_all":
        return lambda m: m.shared.wait(None)
    return _copy(s, ctx)


def _copy(s: Statement, ctx: Context) -> Run:
    to, source = address_reader(ctx, s.operands[0]), address_reader(ctx, s.operands[1])
    size = parse_integer(s.operands[2])
    rest = list(s.operands[3:])
    if any("cache_hint" in p for p in s.parts):
        rest.pop()
    given, ignore = None, None
    if rest and ctx.is_register(rest[0]) and ctx.kernel.registers[rest[0]] == "pred":
        ignore = ctx.source(rest[0], "pred")
    elif rest:
        given = ctx.source(rest[0], "u32")
    dtype = UNSIGNED[size]

    def run(m: State) -> None:
        amount = None
        if given is not None:
            amount = bits(m.registers[given], U32)
        elif ignore is not None:
            amount = np.where(bits(m.registers[ignore], BOOL), np.uint32(0), np.uint32(size))
        target = to(m)
        values = _read(m, source(m), size, amount)
        counts = m.shared.quick_copy(target, values, size)
        if counts is not None:
            m.counters.add(m.lanes.at, copy_bytes=counts[1] * size)
            add_shared(m, counts, size, "store")
            return
        access = m.shared.access(target, size, "asynchronous copy")
        m.shared.start_copy(access, m.shared.pick(access, values), size)
        moved = access.offset.size * (m.lanes.blocks if access.common else 1)
        m.counters.add(m.lanes.at, copy_bytes=moved * size)
        count_shared(m, access, size, "store")

    def _read(m: State, address: Array, size: int, amount: Array | None) -> Array:
        """`amount` bytes of the source, then zeros."""
        if amount is None or (amount == size).all():
            return m.memory.load(address, size)
        active = m.lanes.active
        full = amount == size
        m.lanes.active = full if active is None else active & full
        values = m.memory.load(address, size) if m.lanes.active.any() else np.zeros((1, 1), dtype=dtype)
        partial = (amount > 0) & (amount < size)
        partial = partial if active is None else active & partial
        if partial.any():
            shape = np.broadcast_shapes(values.shape, partial.shape, address.shape)
            raw = np.array(np.broadcast_to(values, shape)).view(np.uint8).reshape(*shape, size)
            for i in range(size):
                m.lanes.active = partial & (amount > i)
                if m.lanes.active.any():
                    raw[..., i] |= np.broadcast_to(m.memory.load(address + i, 1), shape)
            values = raw.view(dtype)[..., 0]
        m.lanes.active = active
        return values

    return run
