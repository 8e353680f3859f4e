"""cp.async.bulk: copies of many bytes between global and shared memory, made by hardware in the background."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from ..context import SHARED_WINDOW, Context
from ..errors import UnsupportedInstruction
from ..lanes import WARP, Reporter
from ..parser import Statement, parse_integer
from ..program import Run
from ..proxies import NEVER, UNIT
from ..state import State
from ..values import U32, UNSIGNED, Array, bits
from .common import address_reader

_TO_SHARED = {("shared_cluster", "global"), ("shared_cta", "global")}


def bulk(s: Statement, ctx: Context) -> Run:
    """The closure of a `cp.async.bulk`."""
    parts = [p for p in s.parts[3:] if p != "L2_cache_hint"]
    if parts == ["commit_group"]:
        return _commit
    if parts[0] == "wait_group" and len(parts) == 1 + ("read" in parts):
        allowed = parse_integer(s.operands[0])
        return lambda m: _wait(m, allowed)
    if parts == ["prefetch", "L2", "global"]:
        return lambda m: None
    if tuple(parts[:2]) in _TO_SHARED and parts[2:] == ["mbarrier_complete_tx_bytes"]:
        return _to_shared(s, ctx)
    if parts == ["global", "shared_cta", "bulk_group"]:
        return _to_global(s, ctx)
    raise UnsupportedInstruction("this form of cp.async.bulk")


class _As:
    """Attributes every lane's findings to one thread in each block."""

    def __init__(self, reporter: Reporter, threads: int, lanes: dict[int, int]) -> None:
        self._reporter, self._threads, self._lanes = reporter, threads, lanes

    def report(self, kind: str, message: str, lane: int) -> None:
        self._reporter.report(kind, message, self._lanes[lane // self._threads])

    def line(self, instruction: int) -> int:
        return self._reporter.line(instruction)


@contextmanager
def _spread(m: State, lanes: dict[int, int]) -> Iterator[None]:
    """Attribute accesses to global memory by all lanes of a thread block to one thread each, within the context."""
    active = m.lanes.active
    m.memory.begin(m.lanes, _As(m, m.lanes.threads, lanes), m.counters)
    try:
        yield
    finally:
        m.memory.begin(m.lanes, m, m.counters)
        m.lanes.active = active


def _copies(m: State, *operands: Array) -> Iterator[tuple[dict[int, int], Array]]:
    """The running threads, one of each thread block at a time: {block: thread of the batch}, and their operands by block."""
    active = m.lanes.whole(True if m.lanes.active is None else m.lanes.active)
    for rank in range(int(active.sum(axis=1).max())):
        lanes = {}
        values = np.zeros((len(operands), m.lanes.blocks), dtype=np.int64)
        for row in np.flatnonzero(active.sum(axis=1) > rank):
            thread = int(np.flatnonzero(active[row])[rank])
            lanes[int(row)] = int(row) * m.lanes.threads + thread
            values[:, row] = [m.lanes.whole(x)[row, thread] for x in operands]
        yield lanes, values


def _checked(m: State, lanes: dict[int, int], inside: Array, outside: Array, size: Array) -> dict[int, int]:
    """The threads whose copies are aligned and within shared memory."""
    good = {}
    for row, lane in lanes.items():
        start, end = int(inside[row]), int(inside[row] + size[row])
        if any(int(x[row]) % UNIT for x in (inside, outside, size)):
            message = (
                f"a bulk copy of {end - start} bytes at offset {start} and {int(outside[row]):#x}: all are multiples of 16"
            )
            m.report("misaligned bulk copy", message, lane)
        elif start < 0 or end > m.shared.size:
            message = f"a bulk copy of {end - start} bytes at offset {start} of {m.shared.size} bytes of shared memory"
            m.report("shared access out of bounds", message, lane)
        elif end > start:
            good[row] = lane
    return good


def _by_rows(m: State, lanes: dict[int, int], outside: Array, size: Array) -> Iterator[tuple[Array, int]]:
    """Global addresses for all lanes, 16 bytes each, and the first one's offset in the copy. Activates the lanes needed."""
    at = np.arange(m.lanes.threads, dtype=np.int64)[None] * UNIT
    chosen = np.zeros((m.lanes.blocks, 1), dtype=bool)
    chosen[list(lanes)] = True
    for start in range(0, int(size[list(lanes)].max()), m.lanes.threads * UNIT):
        m.lanes.active = chosen & (start + at < size[:, None])
        yield outside[:, None] + start + at, start


def _shared_offset(ctx: Context, text: str) -> Callable[[State], Array]:
    """A function that reads an offset in shared memory from a possibly generic address."""
    address = address_reader(ctx, text)

    def read(m: State) -> Array:
        where = address(m)
        return np.where(where >= SHARED_WINDOW, where - SHARED_WINDOW, where)

    return read


def _to_shared(s: Statement, ctx: Context) -> Run:
    target, source = _shared_offset(ctx, s.operands[0]), address_reader(ctx, s.operands[1])
    amount, barrier = ctx.source(s.operands[2], "u32"), _shared_offset(ctx, s.operands[3])

    def run(m: State) -> None:
        for all_lanes, (to, origin, size, where) in _copies(
            m, target(m), source(m), bits(m.registers[amount], U32), barrier(m)
        ):
            lanes = _checked(m, all_lanes, to, origin, size)
            agents: dict[int, int] = {}
            for row, lane in lanes.items():
                agent = m.mbarriers.copy_to(row, lane % m.lanes.threads, int(where[row]))
                if agent is not None:
                    agents[row] = agent
            lanes = {row: lanes[row] for row in agents}
            if not lanes:
                continue
            rounds = -(-int(size.max()) // (UNIT * m.lanes.threads))
            data = np.zeros((m.lanes.blocks, rounds * m.lanes.threads), dtype=UNSIGNED[UNIT])
            with _spread(m, lanes):
                for address, start in _by_rows(m, lanes, origin, size):
                    data[:, start // UNIT : start // UNIT + m.lanes.threads] = m.memory.load(address, UNIT)
            for row, lane in lanes.items():
                begin, end = int(to[row]), int(to[row] + size[row])
                units = np.arange(begin // UNIT, end // UNIT)
                warp = np.array([lane % m.lanes.threads // WARP])
                m.proxies.write_by(agents[row], np.array([NEVER]), np.array([row]), warp, units, "a bulk copy")
                m.shared.fill(row, begin, data[row].view(np.uint8)[: end - begin])
                m.mbarriers.copying(row, int(where[row]), units)
                m.counters.add(m.lanes.at, copy_bytes=end - begin)

    return run


def _group(m: State, lane: int) -> int:
    """The agent of a thread's bulk groups, whose time is the number of the last complete group."""
    return m.proxies.agent(("bulk", lane % m.lanes.threads))


def _to_global(s: Statement, ctx: Context) -> Run:
    target, source = address_reader(ctx, s.operands[0]), _shared_offset(ctx, s.operands[1])
    amount = ctx.source(s.operands[2], "u32")

    def run(m: State) -> None:
        for all_lanes, (to, origin, size) in _copies(m, target(m), source(m), bits(m.registers[amount], U32)):
            lanes = _checked(m, all_lanes, origin, to, size)
            if not lanes:
                continue
            for row, lane in lanes.items():
                units = np.arange(origin[row] // UNIT, (origin[row] + size[row]) // UNIT)
                agent, thread = _group(m, lane), lane % m.lanes.threads
                time = m.proxies.committed(agent)[row] + 1
                m.proxies.read_by(agent, np.array([time]), np.array([row]), np.array([thread // WARP]), units, "a bulk copy")
                m.counters.add(m.lanes.at, copy_bytes=int(size[row]))
            with _spread(m, lanes):
                for address, start in _by_rows(m, lanes, to, size):
                    places = np.arange(m.lanes.threads, dtype=np.int64)[None] * UNIT + start + origin[:, None]
                    values = m.shared.gather(np.clip(places, 0, m.shared.stride - UNIT), UNIT)
                    m.memory.store(address, values, UNIT)

    return run


def _commit(m: State) -> None:
    for thread, rows in _threads(m):
        m.proxies.committed(m.proxies.agent(("bulk", thread)))[rows] += 1


def _wait(m: State, allowed: int) -> None:
    """Complete all of the thread's groups but the last `allowed`, or at least their reads."""
    for thread, rows in _threads(m):
        agent = m.proxies.agent(("bulk", thread))
        warps = np.zeros((m.lanes.blocks, m.lanes.warps), dtype=bool)
        warps[rows, thread // WARP] = True
        m.proxies.learn(warps, agent, m.proxies.committed(agent)[:, None] - allowed)


def _threads(m: State) -> Iterator[tuple[int, Array]]:
    """The running threads among those that have started a bulk copy: (thread, its thread blocks)."""
    active = m.lanes.whole(True if m.lanes.active is None else m.lanes.active)
    for thread in m.proxies.copying_threads():
        rows = np.flatnonzero(active[:, thread])
        if rows.size:
            yield thread, rows
