"""cp.async: copies from global to shared memory that arrive when they are waited for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import UnsupportedInstruction
from ..module import Context, Run, decoder
from ..parser import Statement, parse_integer
from ..values import BOOL, U32, UNSIGNED, Array, bits
from .common import address_reader
from .memory import count_shared

if TYPE_CHECKING:
    from ..machine import Machine


@decoder("cp")
def cp(s: Statement, ctx: Context) -> Run:
    if s.parts[1] != "async" or "bulk" in s.parts or "mbarrier" in s.parts:
        raise UnsupportedInstruction("this form of cp")
    if s.parts[2] == "commit_group":
        return _commit
    if s.parts[2] == "wait_group":
        allowed = parse_integer(s.operands[0])
        return lambda m: m.shared.wait(m, allowed)
    if s.parts[2] == "wait_all":
        return lambda m: m.shared.wait(m, None)
    return _copy(s, ctx)


def _commit(m: Machine) -> None:
    group = m.copy_group + 1
    # A thread that has ended has no copies to wait for, so only threads that run elsewhere keep their count.
    m.copy_group = group if m.mask is None else np.where(m.mask, group, m.copy_group)


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

    def run(m: Machine) -> None:
        amount = None
        if given is not None:
            amount = bits(m.registers[given], U32)
        elif ignore is not None:
            amount = np.where(bits(m.registers[ignore], BOOL), np.uint32(0), np.uint32(size))
        target = to(m)
        access = m.shared.access(m, target, size, "asynchronous copy")
        values = _read(m, source(m), size, amount)
        m.shared.start_copy(m, access, m.shared.pick(access, values), size)
        moved = access.offset.size * (m.blocks if access.common else 1)
        m.counters.add(m.at, copy_bytes=moved * size)
        count_shared(m, access, size, "store")

    def _read(m: Machine, address: Array, size: int, amount: Array | None) -> Array:
        """`amount` bytes of the source, then zeros."""
        if amount is None or (amount == size).all():
            return m.memory.load(m, address, size)
        active = m.active
        full = amount == size
        m.active = full if active is None else active & full
        values = m.memory.load(m, address, size) if m.active.any() else np.zeros((1, 1), dtype=dtype)
        partial = (amount > 0) & (amount < size)
        partial = partial if active is None else active & partial
        if partial.any():
            shape = np.broadcast_shapes(values.shape, partial.shape, address.shape)
            raw = np.array(np.broadcast_to(values, shape)).view(np.uint8).reshape(*shape, size)
            for i in range(size):
                m.active = partial & (amount > i)
                if m.active.any():
                    raw[..., i] |= np.broadcast_to(m.memory.load(m, address + i, 1), shape)
            values = raw.view(dtype)[..., 0]
        m.active = active
        return values

    return run
