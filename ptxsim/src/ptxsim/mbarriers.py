"""Barriers in shared memory that count arrivals of threads and bytes of bulk copies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from .lanes import WARP, Lanes, Reporter
from .proxies import UNIT, Proxies
from .values import Array

BYTES = 8  # of an mbarrier


@dataclass
class _Barrier:
    """One place in shared memory, in every thread block of the batch.

    expected, pending: arrivals of a phase, and those still missing. bytes: still expected. phase: number of complete phases.
    known: the clocks (known, fenced) of all threads that have arrived; told: those clocks at the end of the last phase, passed
    on to waiters. by, time: the warp that initialised it, and when. at: the instruction that last expected bytes.
    """

    offset: int
    agent: int
    valid: Array
    expected: Array
    pending: Array
    bytes: Array
    phase: Array
    by: Array
    time: Array
    visible: Array
    at: Array
    known: list[Array] = field(init=False, default_factory=list)
    told: list[Array] = field(init=False, default_factory=list)


def _some(threads: Array) -> Array:
    """The thread blocks with any of the threads."""
    blocks: Array = np.any(threads, axis=1)
    return blocks


class MBarriers:
    """All mbarriers of a batch. Addresses are offsets of (blocks, threads); the running threads are those of `lanes`."""

    def __init__(self, lanes: Lanes, reporter: Reporter, proxies: Proxies, ordered: Callable[[Array], None]) -> None:
        """ordered: called with a mask of thread blocks in which later accesses are ordered after earlier ones."""
        self._lanes, self._reporter, self._proxies, self._ordered = lanes, reporter, proxies, ordered
        self._at: dict[int, _Barrier] = {}
        self._under_way: list[tuple[int, int, Array]] = []
        self.changes = 0  # arrivals and bytes so far, as a sign of progress for waiters

    def _each(self, address: Array) -> list[tuple[int, Array]]:
        """Each offset of the running threads, with a mask of its threads."""
        active = self._lanes.whole(True if self._lanes.active is None else self._lanes.active)
        whole = self._lanes.whole(address)
        return [(int(offset), active & (whole == offset)) for offset in np.unique(whole[active])]

    def _lane(self, threads: Array) -> int:
        return int(threads.reshape(-1).argmax())

    def init(self, address: Array, count: Array) -> None:
        """Initialise barriers for `count` arrivals; the first phase begins."""
        counts = self._lanes.whole(count)
        for offset, threads in self._each(address):
            barrier = self._at.get(offset)
            if barrier is None:
                zeros: list[Array] = [np.zeros(self._lanes.blocks, dtype=np.int64) for _ in range(9)]
                barrier = self._at[offset] = _Barrier(offset, self._proxies.agent(("mbarrier", offset)), *zeros)
            rows = _some(threads)
            again = rows & (barrier.valid != 0)
            if again.any():
                self._reporter.report(
                    "mbarrier in use",
                    f"the mbarrier at offset {offset} is initialised again",
                    self._lane(threads & again[:, None]),
                )
            first = threads.argmax(axis=1)
            number = np.take_along_axis(counts, first[:, None], axis=1)[:, 0].astype(np.int64)
            if (wrong := rows & ((number < 1) | (number >= 1 << 20))).any():
                self._reporter.report(
                    "mbarrier count", f"{int(number[wrong][0])} arrivals", self._lane(threads & wrong[:, None])
                )
            warp = first // WARP
            own = self._proxies.known[np.arange(len(rows)), warp, warp]
            for array, value in (
                (barrier.valid, 1), (barrier.expected, number), (barrier.pending, number), (barrier.bytes, 0),
                (barrier.by, warp), (barrier.time, own), (barrier.visible, 0),
            ):  # fmt: skip
                np.copyto(array, value, where=rows)
            barrier.known = [np.zeros_like(c[:, 0]) for c in (self._proxies.known, self._proxies.fenced)]
            barrier.told = barrier.told or [np.zeros_like(x) for x in barrier.known]

    def fence_init(self) -> None:
        """A `fence.mbarrier_init`: bulk copies may use barriers that the running threads have initialised."""
        warps = self._proxies.active_warps()
        for barrier in self._at.values():
            barrier.visible |= warps[np.arange(len(warps)), barrier.by]

    def _valid(self, offset: int, threads: Array, verb: str) -> _Barrier | None:
        """The barrier at `offset`. Reports a missing one, and users that are not ordered after its initialisation."""
        barrier = self._at.get(offset)
        rows = _some(threads)
        missing = rows if barrier is None else rows & (barrier.valid == 0)
        if missing.any():
            message = f"{verb} at offset {offset}, where no mbarrier has been initialised"
            self._reporter.report("no mbarrier", message, self._lane(threads & missing[:, None]))
            return None
        assert barrier is not None
        warps = self._proxies.warps_of(threads)
        knows = self._proxies.known[np.arange(len(rows)), :, barrier.by]
        early = warps & (knows < barrier.time[:, None])
        if early.any():
            message = (
                f"{verb} at offset {offset}, whose mbarrier warp {int(barrier.by[early.any(axis=1)][0])} initialises meanwhile"
            )
            self._reporter.report("shared memory race", message, int(early.reshape(-1).argmax()) * WARP)
        return barrier

    def invalidate(self, address: Array) -> None:
        """Invalidate barriers: their memory may be used for something else."""
        for offset, threads in self._each(address):
            barrier = self._valid(offset, threads, "inval")
            if barrier is not None:
                barrier.valid[threads.any(axis=1)] = 0

    # Phases

    def arrive(self, address: Array, count: Array, expected: Array | None) -> Array:
        """`count` arrivals of each thread, which may expect bytes first. Returns the phase of each thread's arrival."""
        phase = np.zeros((self._lanes.blocks, self._lanes.threads), dtype=np.uint64)
        for offset, threads in self._each(address):
            barrier = self._valid(offset, threads, "arrive")
            if barrier is None:
                continue
            if expected is not None:
                self._expect(barrier, threads, expected)
            warps = self._proxies.warps_of(threads)
            self._fit(barrier)
            for mine, clocks in zip(barrier.known, (self._proxies.known, self._proxies.fenced), strict=True):
                np.maximum(mine, np.where(warps[..., None], clocks, 0).max(axis=1), out=mine)
            arrivals = np.where(threads, self._lanes.whole(count), 0).astype(np.int64)
            before = np.cumsum(arrivals, axis=1) - arrivals + (barrier.expected - barrier.pending)[:, None]
            np.copyto(phase, (barrier.phase[:, None] + before // barrier.expected[:, None]).astype(np.uint64), where=threads)
            self._proxies.tick(warps)
            self._count(barrier, arrivals.sum(axis=1), threads)
        return phase

    def _fit(self, barrier: _Barrier) -> None:
        """Extend a barrier's clocks for agents added since."""
        agents = self._proxies.known.shape[2]
        for clocks in (barrier.known, barrier.told):
            clocks[0] = np.pad(clocks[0], ((0, 0), (0, agents - clocks[0].shape[1])))

    def _count(self, barrier: _Barrier, arrivals: Array, threads: Array) -> None:
        self.changes += 1
        left = arrivals.copy()
        while True:
            now = np.minimum(left, barrier.pending)
            barrier.pending -= now
            left -= now
            if not self._complete(barrier).any():
                break
        if left.any():
            over = (left > 0)[:, None] & threads
            message = f"more than the {int(barrier.expected[left > 0][0])} arrivals of a phase at offset {barrier.offset}"
            self._reporter.report("mbarrier count", message, self._lane(over))

    def _complete(self, barrier: _Barrier) -> Array:
        """End the phase where nothing is missing. Returns the blocks."""
        done = (barrier.valid != 0) & (barrier.pending == 0) & (barrier.bytes == 0)
        if done.any():
            barrier.phase += done
            barrier.pending[done] = barrier.expected[done]
            self._fit(barrier)
            for mine, told in zip(barrier.known, barrier.told, strict=True):
                told[done] = mine[done]
            self._ordered(done)
        return done

    def expect(self, address: Array, amount: Array) -> None:
        """Expect more bytes in this phase."""
        for offset, threads in self._each(address):
            barrier = self._valid(offset, threads, "expect_tx")
            if barrier is not None:
                self._expect(barrier, threads, amount)

    def _expect(self, barrier: _Barrier, threads: Array, amount: Array) -> None:
        barrier.bytes += np.where(threads, self._lanes.whole(amount), 0).sum(axis=1, dtype=np.int64)
        barrier.at[threads.any(axis=1)] = self._lanes.at

    def complete(self, address: Array, amount: Array) -> None:
        """Count bytes as arrived, on behalf of a thread."""
        for offset, threads in self._each(address):
            barrier = self._valid(offset, threads, "complete_tx")
            if barrier is not None:
                barrier.bytes -= np.where(threads, self._lanes.whole(amount), 0).sum(axis=1, dtype=np.int64)
                self.changes += 1
                self._complete(barrier)

    def copy_to(self, row: int, thread: int, offset: int) -> int | None:
        """The agent of a bulk copy that a thread starts; None where it has no valid barrier."""
        threads = np.zeros((self._lanes.blocks, self._lanes.threads), dtype=bool)
        threads[row, thread] = True
        barrier = self._valid(offset, threads, "bulk copy")
        if barrier is None:
            return None
        fenced = self._proxies.fenced[row, thread // WARP, barrier.by[row]]
        if not barrier.visible[row] and fenced < barrier.time[row]:
            message = f"a bulk copy uses the mbarrier at offset {offset}, with no proxy fence since it was initialised"
            self._reporter.report("missing proxy fence", message, self._lane(threads))
        return barrier.agent

    def copying(self, row: int, offset: int, units: Array) -> None:
        """Start a bulk copy to `units` of shared memory. It completes when no thread can run."""
        self._under_way.append((row, offset, units))
        self._at[offset].at[row] = self._lanes.at

    def land(self) -> None:
        """Complete all bulk copies under way: their bytes count in their barrier's current phase."""
        landing, self._under_way = self._under_way, []
        for row, offset, units in landing:
            barrier = self._at[offset]
            self._proxies.landed(barrier.agent, int(barrier.phase[row]) + 1, row, units)
            barrier.bytes[row] -= UNIT * units.size
            self.changes += 1
            self._complete(barrier)

    def waited(self, address: Array, phase: Array, parity: bool) -> Array:
        """Whether the phase, given by number or parity, is complete, for each running thread; those threads then know of it."""
        found = np.zeros((self._lanes.blocks, self._lanes.threads), dtype=bool)
        wanted = self._lanes.whole(phase)
        for offset, threads in self._each(address):
            barrier = self._valid(offset, threads, "wait")
            if barrier is None:
                found |= threads  # would wait for ever
                continue
            current = barrier.phase[:, None]
            done = threads & (((current & 1) != (wanted & 1)) if parity else (current > wanted.astype(np.int64)))
            found |= done
            if done.any():
                warps = self._proxies.warps_of(done)
                self._fit(barrier)
                for told, clocks in zip(barrier.told, (self._proxies.known, self._proxies.fenced), strict=True):
                    np.copyto(clocks, np.maximum(clocks, told[:, None]), where=warps[..., None])
                self._proxies.learn(warps, barrier.agent, barrier.phase[:, None])
        return found

    # Errors at the end

    def _missing(self, barrier: _Barrier, row: int) -> str:
        left = int(barrier.bytes[row])
        bytes_ = f"{left} bytes are missing" if left >= 0 else f"{-left} bytes more have come than were expected"
        return (
            f"phase {int(barrier.phase[row])} of the mbarrier at offset {barrier.offset} never ends: "
            f"{int(barrier.pending[row])} of {int(barrier.expected[row])} arrivals and {bytes_}"
        )

    def stuck(self, address: int, lane: int) -> str:
        """Why threads at `address` wait for ever."""
        return self._missing(self._at[address], lane // self._lanes.threads)

    def finish(self) -> None:
        """Report bytes that were expected and never came, or came unexpectedly, once all threads have ended."""
        self.land()
        for barrier in self._at.values():
            wrong = (barrier.valid != 0) & (barrier.bytes != 0)
            if wrong.any():
                row = int(wrong.argmax())
                self._lanes.at = int(barrier.at[row])
                self._reporter.report("mbarrier never complete", self._missing(barrier, row), row * self._lanes.threads)
