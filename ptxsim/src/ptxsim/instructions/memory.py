"""ld and st in every state space."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from ..banks import wavefronts
from ..context import LOCAL_WINDOW, SHARED_WINDOW, Context
from ..decoding import decoder
from ..errors import UnsupportedInstruction
from ..native import SharedCounts
from ..parser import TYPE_BYTES, Statement
from ..program import Run
from ..shared import Access
from ..state import State
from ..values import UNSIGNED, Array, bits
from .common import address_reader
from .convert import extend
from .move import pack

_SPACES = {"param", "global", "shared", "const", "local"}
_HALF = {"f16": "b16", "bf16": "b16", "f16x2": "b32", "bf16x2": "b32"}


_SHARED_COUNTS = {
    kind: (f"shared_{kind}_requests", f"shared_{kind}_bytes", "shared_wavefronts", "shared_ideal_wavefronts")
    for kind in ("load", "store")
}


def space_of(s: Statement) -> str:
    for p in s.parts[1:]:
        if p.split("_")[0] in _SPACES:  # a cluster has one thread block, so its shared memory is the block's
            return p.split("_")[0]
    return "generic"


def count_shared(m: State, access: Access, size: int, kind: str) -> None:
    """Requests, bytes and wavefronts of an access to shared memory."""
    if access.common:
        repeat = m.lanes.blocks
        if access.lanes is None:
            offset, active = access.offset, None
        else:
            offset, active = np.zeros(m.lanes.threads, dtype=np.int64), np.zeros(m.lanes.threads, dtype=bool)
            offset[access.lanes], active[access.lanes] = access.offset, True
    else:
        repeat = 1
        offset, active = (
            np.zeros(m.lanes.blocks * m.lanes.threads, dtype=np.int64),
            np.zeros(m.lanes.blocks * m.lanes.threads, dtype=bool),
        )
        lanes = slice(None) if access.lanes is None else access.lanes
        offset[lanes], active[lanes] = access.offset, True
    requests, waves, ideal = wavefronts(offset, size, active)
    add_shared(m, (requests * repeat, access.offset.size * repeat, waves * repeat, ideal * repeat), size, kind)


def add_shared(m: State, counts: SharedCounts, size: int, kind: str) -> None:
    """Add the cost of an access to shared memory."""
    requests, accesses, waves, ideal = counts
    m.counters.add_all(m.lanes.at, _SHARED_COUNTS[kind], (requests, accesses * size, waves, ideal))


def load_shared(m: State, address: Array, size: int) -> Array:
    quick = m.shared.quick_load(address, size)
    if quick is not None:
        add_shared(m, quick[1], size, "load")
        return quick[0]
    access = m.shared.access(address, size, "read")
    values = m.shared.load(access, size)
    count_shared(m, access, size, "load")
    return m.shared.place(access, values)


def store_shared(m: State, address: Array, values: Array, size: int) -> None:
    counts = m.shared.quick_store(address, values, size)
    if counts is not None:
        add_shared(m, counts, size, "store")
        return
    access = m.shared.access(address, size, "write")
    m.shared.store(access, m.shared.pick(access, values), size)
    count_shared(m, access, size, "store")


def load_generic(m: State, address: Array, size: int) -> Array:
    """Load from a generic address, whose upper bits select the memory."""
    if int(address.max()) < SHARED_WINDOW:
        return m.memory.load(address, size)
    out = np.zeros((m.lanes.blocks, m.lanes.threads), dtype=UNSIGNED[size])
    for load, where, base in _spaces(address):
        for inside in _narrowed(m, where):
            out[inside] = m.lanes.whole(load(m, address - base, size))[inside]
    return out


def store_generic(m: State, address: Array, values: Array, size: int) -> None:
    if int(address.max()) < SHARED_WINDOW:
        m.memory.store(address, values, size)
        return
    stores: list[Callable[..., None]] = [lambda m, *a: m.memory.store(*a), store_shared, lambda m, *a: m.local.store(*a)]
    for (_, where, base), store in zip(_spaces(address), stores, strict=True):
        for _inside in _narrowed(m, where):
            store(m, address - base, values, size)


def _spaces(address: Array) -> list[tuple[Callable[..., Array], Array, int]]:
    return [
        (lambda m, a, n: m.memory.load(a, n), address < SHARED_WINDOW, 0),
        (load_shared, (address >= SHARED_WINDOW) & (address < LOCAL_WINDOW), SHARED_WINDOW),
        (lambda m, a, n: m.local.load(a, n), address >= LOCAL_WINDOW, LOCAL_WINDOW),
    ]


def _narrowed(m: State, where: Array) -> Iterator[Array]:
    """Run the body with only the threads `where` active, if there are any."""
    active = m.lanes.active
    inside = m.lanes.whole(where if active is None else active & where)
    if inside.any():
        m.lanes.active = inside
        yield inside
        m.lanes.active = active


def _format(s: Statement) -> tuple[str, int, int]:
    kind = s.parts[-1]
    kind = _HALF.get(kind, kind)
    count = next((int(p[1:]) for p in s.parts if p in {"v2", "v4", "v8"}), 1)
    return kind, TYPE_BYTES[kind], count


@decoder("ld", "ldu")
def ld(s: Statement, ctx: Context) -> Run:
    kind, size, count = _format(s)
    names = ctx.vector(s.operands[0])
    if len(names) != count:
        raise UnsupportedInstruction("a vector of another length than its type says")
    targets = [ctx.target(n) for n in names]
    widths = [ctx.width(n) if n != "_" else size for n in names]
    address = address_reader(ctx, s.operands[1])
    total = size * count
    space = space_of(s)
    read: Callable[[State, Array, int], Array] = {
        "global": lambda m, a, n: m.memory.load(a, n),
        "const": lambda m, a, n: m.memory.load(a, n, count=False),
        "param": lambda m, a, n: m.memory.load(a, n, count=False),
        "shared": load_shared,
        "local": lambda m, a, n: m.local.load(a, n),
        "generic": load_generic,
    }[space]
    element = UNSIGNED[size]

    if count == 1:
        target, width = targets[0], widths[0]

        def single(m: State) -> None:
            m.write(target, extend(read(m, address(m), size), kind, width))

        return single

    def run(m: State) -> None:
        raw = np.ascontiguousarray(read(m, address(m), total))
        columns = raw.view(element).reshape(*raw.shape, count)
        for i, (target, width) in enumerate(zip(targets, widths, strict=True)):
            m.write(target, extend(np.ascontiguousarray(columns[..., i]), kind, width))

    return run


@decoder("st")
def st(s: Statement, ctx: Context) -> Run:
    kind, size, count = _format(s)
    address = address_reader(ctx, s.operands[0])
    slots = [ctx.source(n, kind) for n in ctx.vector(s.operands[1])]
    total = size * count
    space = space_of(s)
    write: Callable[[State, Array, Array, int], None] = {
        "global": lambda m, a, v, n: m.memory.store(a, v, n),
        "shared": store_shared,
        "local": lambda m, a, v, n: m.local.store(a, v, n),
        "generic": store_generic,
    }[space]
    element, wide = UNSIGNED[size], UNSIGNED[total]

    def run(m: State) -> None:
        values = [bits(m.registers[slot], element) for slot in slots]
        write(m, address(m), values[0] if count == 1 else pack(values, wide), total)

    return run
