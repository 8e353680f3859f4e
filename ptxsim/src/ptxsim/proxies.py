"""Ordering of accesses to shared memory: between the warps of a thread block, and with accesses that hardware makes for them.

For each 16 bytes, the agent's time of its last write and read there is recorded for every agent. Agents are the warps, the
tensor cores of each warpgroup, and those that complete bulk copies: an mbarrier, or a thread's bulk groups. Each warp has a
clock for every agent: the time up to which it knows that agent's accesses, through its own actions, a barrier, or a wait. An
access that must follow another is a race where the clock is behind. A second set of clocks has the times covered by a proxy
fence: the asynchronous proxy sees threads' writes only after one.
"""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np

from .lanes import WARP, Lanes, Reporter
from .shared import Access
from .values import UNSIGNED, Array

UNIT = 16  # bytes: bulk copies and rows of matrix operands are multiples
WARPGROUP = 4  # warps
NEVER = 1 << 30  # a time that no clock has reached yet
_SPARE = 8  # spare agents in the tables

_ONES = {n: np.frombuffer(b"\x01" * n, dtype=UNSIGNED[n])[0] for n in (1, 2, 4, 8, 16)}


class Proxies:
    """Clocks and accesses of a batch of blocks.

    size: bytes of shared memory. known: (blocks, warps, agents); fenced: (blocks, warps, warps). Times start at 1; 0 means
    never.
    """

    def __init__(self, lanes: Lanes, size: int, reporter: Reporter) -> None:
        self._lanes, self._reporter, self.size = lanes, reporter, size
        blocks, warps = lanes.blocks, lanes.warps
        self.groups = -(-warps // WARPGROUP)
        self._agents: dict[Hashable, int] = {("wgmma", g): warps + g for g in range(self.groups)}
        agents = warps + self.groups + _SPARE
        self._units = -(-size // UNIT)
        self.known = np.zeros((blocks, warps, agents), dtype=np.int32)
        self.fenced = np.zeros((blocks, warps, warps), dtype=np.int32)
        self._all = np.arange(warps)
        self.known[:, self._all, self._all] = 1
        self._written = np.zeros((blocks, agents, self._units), dtype=np.int32)
        self._read = np.zeros((blocks, agents, self._units), dtype=np.int32)
        self._copying = np.zeros((blocks, self._units), dtype=np.int32)
        self._defined = np.zeros((blocks, self._units * UNIT), dtype=np.uint8)
        self._latest = np.zeros((blocks, agents), dtype=np.int32)
        self._open: list[int] = []
        self._committed: dict[int, Array] = {}
        self._begun: dict[int, int] = {}

    # Agents and their clocks

    def agent(self, name: Hashable) -> int:
        """The number of the agent that completes copies, by name."""
        number = self._agents.get(name)
        if number is None:
            number = self._agents[name] = self._lanes.warps + len(self._agents)
            if number >= self.known.shape[2]:
                self._grow()
        return number

    def _grow(self) -> None:
        def wider(x: Array, axis: int) -> Array:
            widths = [(0, 0)] * x.ndim
            widths[axis] = (0, _SPARE)
            return np.pad(x, widths)

        self.known, self._written, self._read = wider(self.known, 2), wider(self._written, 1), wider(self._read, 1)
        self._latest = wider(self._latest, 1)

    def committed(self, agent: int) -> Array:
        """The number of an agent's committed groups, by thread block; callers change it in place."""
        return self._committed.setdefault(agent, np.zeros(self._lanes.blocks, dtype=np.int32))

    def copying_threads(self) -> list[int]:
        """The threads of a thread block that have started bulk copies from shared memory."""
        return [name[1] for name in self._agents if isinstance(name, tuple) and name[0] == "bulk"]

    def finish(self) -> None:
        """Report bulk copies that still read the shared memory of a thread block that has ended."""
        for thread in self.copying_threads():
            agent = self._agents["bulk", thread]
            left = self._latest[:, agent] > self.known[:, thread // WARP, agent]
            if left.any():
                self._lanes.at = self._begun[agent]
                message = "the block ends before its thread has waited for the copy from shared memory"
                self._report("bulk copy not waited for", message, int(left.argmax()), thread)

    def active_warps(self) -> Array:
        """(blocks, warps): warps with at least one running thread."""
        if self._lanes.active is None:
            return np.ones(self.known.shape[:2], dtype=bool)
        return self.warps_of(self._lanes.active)

    def warps_of(self, threads: Array) -> Array:
        """(blocks, warps) of a mask of threads."""
        warps: Array = np.any(self._lanes.whole(threads).reshape(*self.known.shape[:2], WARP), axis=2)
        return warps

    def tick(self, warps: Array) -> None:
        """Advance these warps' times: later accesses are not covered by what other warps have learnt."""
        self.known[:, self._all, self._all] += warps

    def synchronise(self, threads: Array | None) -> None:
        """Complete a barrier: `threads`, None for all, learn everything that any of them knew in their block."""
        if threads is None:
            self.known[...] = self.known.max(axis=1, keepdims=True)
            self.fenced[...] = self.fenced.max(axis=1, keepdims=True)
            self.tick(np.ones(1, dtype=bool))
        else:
            warps = self.warps_of(threads)
            for table in (self.known, self.fenced):
                common = np.where(warps[..., None], table, 0).max(axis=1, keepdims=True)
                np.copyto(table, np.maximum(table, common), where=warps[..., None])
            self.tick(warps)
        self._settle()

    def fence(self) -> None:
        """A proxy fence by the running threads: it covers every access that their warps know of."""
        warps = self.active_warps()
        np.copyto(self.fenced, self.known[..., : self._lanes.warps], where=warps[..., None])
        self.tick(warps)

    def learn(self, warps: Array, agent: int, time: Array) -> None:
        """`warps`, (blocks, warps), learn of `agent`'s accesses up to `time`."""
        column = self.known[..., agent]
        np.copyto(column, np.maximum(column, time), where=warps)
        self._settle()

    def _settle(self) -> None:
        """Forget agents whose accesses every warp knows."""
        self._open = [a for a in self._open if (self._latest[:, a, None] > self.known[..., a]).any()]

    # Accesses by threads

    def _places(self, access: Access) -> tuple[Array | slice, Array, Array]:
        """Blocks, warps and units of an access."""
        threads = self._lanes.threads
        unit = access.offset >> 4
        if access.common:
            lanes = np.arange(threads) if access.lanes is None else access.lanes
            return slice(None), lanes // WARP, unit
        lanes = np.arange(self._lanes.blocks * threads) if access.lanes is None else access.lanes
        return access.block, lanes % threads // WARP, unit

    def read(self, access: Access, size: int) -> None:
        """Threads read shared memory."""
        rows, warp, unit = self._places(access)
        for agent in self._open:
            message = "offset {} of shared memory is the target of a bulk copy of whose completion this warp does not know"
            self._check(access, rows, warp, unit, agent, self._written, "asynchronous copy read before wait", message)
        self._read[rows, warp, unit] = self.known[rows, warp, warp]

    def wrote(self, access: Access, size: int) -> None:
        """Threads write shared memory."""
        rows, warp, unit = self._places(access)
        for agent in self._open:
            message = "offset {} of shared memory is the target of a bulk copy of whose completion this warp does not know"
            self._check(access, rows, warp, unit, agent, self._written, "asynchronous copy overwritten before wait", message)
            message = "offset {} of shared memory is still read by {}, of whose completion this warp does not know"
            self._check(access, rows, warp, unit, agent, self._read, "asynchronous operand overwritten", message)
        self._written[rows, warp, unit] = self.known[rows, warp, warp]
        flat, width = self._defined.view(UNSIGNED[size]), access.offset // size
        flat[rows, width] = _ONES[size]

    def started(self, access: Access, size: int) -> None:
        """A `cp.async` of threads starts: its target counts as written, and may not be read yet."""
        self.wrote(access, size)
        rows, _, unit = self._places(access)
        self._count(rows, unit, 1)

    def arrived(self, access: Access, size: int) -> None:
        """A `cp.async` of threads has been waited for."""
        self.wrote(access, size)
        rows, _, unit = self._places(access)
        self._count(rows, unit, -1)

    def _count(self, rows: Array | slice, unit: Array, step: int) -> None:
        if isinstance(rows, slice):
            self._copying += step * np.bincount(unit, minlength=self._units).astype(np.int32)
        else:
            np.add.at(self._copying, (rows, unit), step)

    def _check(
        self, access: Access, rows: Array | slice, warp: Array, unit: Array, agent: int, table: Array, kind: str, message: str
    ) -> None:
        wrong = table[rows, agent, unit] > self.known[rows, warp, agent]
        if wrong.any():
            row, at = divmod(int(wrong.reshape(-1).argmax()), access.offset.size)
            lane = at if access.lanes is None else int(access.lanes[at])
            offset = int(access.offset[at])
            self._reporter.report(kind, message.format(offset, self._name(agent)), row * self._lanes.threads + lane)

    def _name(self, agent: int) -> str:
        name = next(name for name, number in self._agents.items() if number == agent)
        assert isinstance(name, tuple)
        return f"a wgmma of warpgroup {name[1]}" if name[0] == "wgmma" else "a bulk copy"

    # Accesses by hardware

    def read_by(self, agent: int, time: Array, rows: Array, warps: Array, units: Array, what: str) -> None:
        """The asynchronous proxy reads `units` of the thread blocks `rows` for `warps`, which must all know of the writes
        there.

        time: the agent's, by thread block of `rows`. what: the reader, for the findings' texts.
        """
        lane = int(warps[0]) * WARP
        copying = self._copying[rows[:, None], units]
        if copying.any():
            row, at = np.argwhere(copying)[0]
            message = f"{what} reads offset {units[at] * UNIT}, the target of an asynchronous copy that has not been waited for"
            self._report("asynchronous copy read before wait", message, int(rows[row]), lane)
        undefined = ~self._defined.reshape(-1, self._units, UNIT)[rows[:, None], units].all(axis=2)
        if undefined.any():
            row, at = np.argwhere(undefined)[0]
            message = f"{what} reads 16 bytes at offset {units[at] * UNIT}, not all of which have been written"
            self._report("uninitialised shared read", message, int(rows[row]), lane)
        self._ordered(rows, warps, units, what, "reads")
        self._read[rows[:, None], agent, units] = time[:, None]
        self._begin(agent, time, rows)

    def write_by(self, agent: int, time: Array, rows: Array, warps: Array, units: Array, what: str) -> None:
        """The asynchronous proxy writes `units` of the thread blocks `rows` for `warps`, which must know of all earlier
        accesses."""
        lane = int(warps[0]) * WARP
        self._ordered(rows, warps, units, what, "writes")
        last = self._last(self._read, rows, units)
        late = last > self._common(self.known, rows, warps)
        if late.any():
            row, there = (int(i) for i in np.argwhere(late)[0])
            offset = self._place(self._read, rows[row], there, units)
            if there < self._lanes.warps:
                kind, message = "shared memory race", f"{what} writes offset {offset} while warp {there} reads it"
            else:
                kind = "asynchronous operand overwritten"
                message = f"{what} writes offset {offset}, which {self._name(there)} still reads"
            self._report(kind, message, int(rows[row]), lane)
        self._written[rows[:, None], agent, units] = time[:, None]
        self._defined.reshape(-1, self._units, UNIT)[rows[:, None], units] = 1
        self._begin(agent, time, rows)

    def landed(self, agent: int, time: int, row: int, units: Array) -> None:
        """Make `agent`'s pending writes known to warps that know its accesses up to `time`."""
        there = self._written[row, agent, units]
        self._written[row, agent, units] = np.where(there == NEVER, time, there)
        if not (self._written[row, agent] == NEVER).any():
            self._latest[row, agent] = self._written[row, agent].max()

    def _report(self, kind: str, message: str, row: int, lane: int) -> None:
        self._reporter.report(kind, message, row * self._lanes.threads + lane)

    def _begin(self, agent: int, time: Array, rows: Array) -> None:
        self._latest[rows, agent] = np.maximum(self._latest[rows, agent], time)
        self._begun[agent] = self._lanes.at
        if agent not in self._open:
            self._open.append(agent)

    def _last(self, table: Array, rows: Array, units: Array) -> Array:
        """(rows, agents): the last time of each agent at any of `units`."""
        agents = np.arange(table.shape[1])[:, None]
        last: Array = table[rows[:, None, None], agents, units].max(axis=2, initial=0)
        return last

    def _common(self, clocks: Array, rows: Array, warps: Array) -> Array:
        """(rows, agents): the times that all of `warps` know."""
        common: Array = clocks[rows[:, None], warps].min(axis=1)
        return common

    def _place(self, table: Array, row: int, agent: int, units: Array) -> int:
        """Byte offset of the agent's last access among `units`."""
        return int(units[table[row, agent, units].argmax()]) * UNIT

    def _ordered(self, rows: Array, warps: Array, units: Array, what: str, verb: str) -> None:
        """Each of `warps` must know of the writes to `units`; for writes by threads, a proxy fence must lie between."""
        own = self._lanes.warps
        last = self._last(self._written, rows, units)
        late = last > self._common(self.known, rows, warps)
        unfenced = (last[:, :own] > self._common(self.fenced, rows, warps)) & ~late[:, :own]
        for wrong, fence in ((late, False), (unfenced, True)):
            if not wrong.any():
                continue
            row, there = (int(i) for i in np.argwhere(wrong)[0])
            offset = self._place(self._written, rows[row], there, units)
            if fence:
                kind = "missing proxy fence"
                message = f"{what} {verb} offset {offset}, which warp {there} has written, without a fence.proxy.async between"
            elif there < own:
                kind, message = "shared memory race", f"{what} {verb} offset {offset} while warp {there} writes it"
            else:
                kind = f"asynchronous copy {'read' if verb == 'reads' else 'overwritten'} before wait"
                message = f"{what} {verb} offset {offset}, the target of a bulk copy of whose completion it does not know"
            self._report(kind, message, int(rows[row]), int(warps[0]) * WARP)
