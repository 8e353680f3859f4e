"""The state of a batch of thread blocks in lock step, scheduling of its threads, and barriers.

Threads at the same basic block form a group; the group that stands earliest in the program runs first, so that threads that
went ahead at a branch wait where the paths meet. Thread blocks run in no particular order.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .counters import Counters
from .errors import Finding, SimulationError
from .fragments import Fragments
from .lanes import WARP, Lanes
from .local import LocalMemory
from .mbarriers import MBarriers
from .memory import GlobalMemory
from .program import BasicBlock, Program
from .proxies import WARPGROUP, Proxies
from .shared import SharedMemory
from .tensorcores import TensorCore
from .values import U32, UNDEFINED, Array, UndefinedRead

FULL = np.ones((1, 1), dtype=bool)

# Basic blocks that a batch may run: far more than tests' kernels need, so that endless loops are found.
STEPS = 1_000_000
# How often all waiters at mbarriers may retry without progress: loops may give up after some tries.
VAIN = 1000


class Interpreter:
    """Thread blocks `first … first + blocks - 1` of a grid, each with its threads padded to whole warps."""

    def __init__(
        self,
        program: Program,
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
        first: int,
        blocks: int,
        shared_bytes: int,
        memory: GlobalMemory,
        counters: Counters,
        findings: dict[tuple[str, int], Finding],
        collect: bool,
        tensor_core: TensorCore | None = None,
    ) -> None:
        self.program, self.grid, self.block_shape = program, grid, block
        threads = block[0] * block[1] * block[2]
        self.lanes = Lanes(first, blocks, -(-threads // WARP) * WARP)
        self.memory, self.counters, self.findings, self.collect = memory, counters, findings, collect
        memory.begin(self.lanes, self, counters)
        self.shared = SharedMemory(self.lanes, shared_bytes, self)
        self.tensor_core = tensor_core
        self.asynchronous = program.asynchronous
        self.proxies = Proxies(self.lanes, shared_bytes if self.asynchronous else 0, self)
        self.mbarriers = MBarriers(self.lanes, self, self.proxies, self.shared.next_epoch)
        self.in_flight = Fragments(self.lanes, self, self.proxies)
        if self.asynchronous:
            self.shared.watch = self.proxies
        self.local = LocalMemory(self.lanes, program.local_bytes, self)
        self.registers: list[Array] = [UNDEFINED] * program.slots
        for slot, value in program.constants.items():
            self.registers[slot] = value
        for name, slot in program.special.items():
            self.registers[slot] = self._special(name, shared_bytes)
        self.carry: Array = np.zeros((1, 1), dtype=np.uint32)
        self.live = FULL
        if self.lanes.threads != threads:
            self.live = (np.arange(self.lanes.threads) < threads)[None]
        self.started = self.live
        self.group: Array = self.live
        self.ready: dict[int, Array] = {}
        self.waiting: dict[tuple[int, int], tuple[Array, int | None]] = {}
        self.gathering: dict[int, Array] = {}
        self.paused: dict[int, Array] = {}
        self._looked: tuple[int, int, int] = (0, 0, 0)  # instruction, thread and address of the last unsuccessful wait
        self._vain = self._changes = 0
        self.fragments: dict[tuple[Any, ...], tuple[Array, list[Array]]] = {}
        self._current: BasicBlock | None = None
        self._group_of_mask: Array | None = None
        self._group_warps = 0
        self._masks: tuple[Array | None, Array | None] = (None, None)

    # Place in the program, and reports

    def report(self, kind: str, message: str, lane: int) -> None:
        """Record a rule broken by the thread `lane` (counted over the batch). Raises, unless findings are collected."""
        key = (kind, self.lanes.at)
        if key in self.findings:
            return
        statement = self.program.instructions[self.lanes.at].statement
        number, thread = divmod(lane, self.lanes.threads)
        number += self.lanes.first
        gx, gy, _ = self.grid
        bx, by, _ = self.block_shape
        finding = Finding(
            kind,
            message,
            self.program.kernel.name,
            (number % gx, number // gx % gy, number // (gx * gy)),
            (thread % bx, thread // bx % by, thread // (bx * by)),
            statement.line,
            statement.text,
            statement.source,
        )
        self.findings[key] = finding
        if not self.collect:
            raise SimulationError([finding])

    def line(self, instruction: int) -> int:
        """The PTX line of an instruction, by its index in the program."""
        return self.program.instructions[instruction].statement.line

    # Registers

    def _special(self, name: str, shared_bytes: int) -> Array:
        # Each cluster has one block: others are not supported.
        name = name.replace("%clusterid", "%ctaid").replace("%nclusterid", "%nctaid")
        t = np.arange(self.lanes.threads, dtype=np.uint32)[None]
        b = np.arange(self.lanes.first, self.lanes.first + self.lanes.blocks, dtype=np.uint32)[:, None]
        bx, by, bz = self.block_shape
        gx, gy, gz = self.grid
        lane = t % np.uint32(32)
        one = np.uint64(1)
        wide = lane.astype(np.uint64)
        table = {
            "%tid.x": t % np.uint32(bx),
            "%tid.y": t // np.uint32(bx) % np.uint32(by),
            "%tid.z": t // np.uint32(bx * by),
            "%ctaid.x": b % np.uint32(gx),
            "%ctaid.y": b // np.uint32(gx) % np.uint32(gy),
            "%ctaid.z": b // np.uint32(gx * gy),
            "%laneid": lane,
            "%warpid": t // np.uint32(32),
            "%lanemask_eq": (one << wide).astype(np.uint32),
            "%lanemask_lt": ((one << wide) - one).astype(np.uint32),
            "%lanemask_le": ((one << (wide + one)) - one).astype(np.uint32),
            "%lanemask_gt": (~((one << (wide + one)) - one)).astype(np.uint32),
            "%lanemask_ge": (~((one << wide) - one)).astype(np.uint32),
        }
        scalars = {
            "%ntid.x": bx, "%ntid.y": by, "%ntid.z": bz, "%nctaid.x": gx, "%nctaid.y": gy, "%nctaid.z": gz,
            "%nwarpid": self.lanes.warps, "%smid": 0, "%nsmid": 1, "%gridid": 0, "%clock": 0, "WARP_SZ": 32,
            "%cluster_ctarank": 0, "%cluster_nctarank": 1, "%cluster_ctaid.x": 0, "%cluster_ctaid.y": 0, "%cluster_ctaid.z": 0,
            "%cluster_nctaid.x": 1, "%cluster_nctaid.y": 1, "%cluster_nctaid.z": 1,
            "%dynamic_smem_size": shared_bytes - self.program.shared_bytes, "%total_smem_size": shared_bytes,
        }  # fmt: skip
        if name in {"%clock64", "%globaltimer"}:
            return np.zeros((1, 1), dtype=np.uint64)
        if name in scalars:
            return np.full((1, 1), scalars[name], dtype=U32)
        return table[name]

    def write(self, slot: int | None, value: Array) -> None:
        """Set a register for the running threads."""
        if slot is None:
            return
        if self.lanes.mask is not None:
            old = self.registers[slot]
            if old is UNDEFINED:
                value = np.where(self.lanes.mask, value, np.zeros((), dtype=value.dtype))
            else:
                if old.dtype is not value.dtype:
                    old = old.view(value.dtype)
                value = np.where(self.lanes.mask, value, old)
        self.registers[slot] = value

    def _uninitialised_register(self) -> SimulationError:
        self.collect = False
        try:
            self.report("uninitialised register", "a register is read that no instruction has written", self.a_lane())
        except SimulationError as error:
            return error
        raise AssertionError

    def a_lane(self) -> int:
        """The first running thread."""
        return 0 if self.lanes.active is None else int(self.lanes.whole(self.lanes.active).argmax())

    # Groups of threads

    def run(self) -> None:
        """Run the batch to its end."""
        self.go(0, self.live)
        blocks = self.program.blocks
        steps = 0
        with np.errstate(all="ignore"):
            while self.ready or self.paused:
                steps += 1
                if not self.ready:
                    self._look_again()
                if steps > STEPS:
                    self._endless()
                index = min(self.ready)
                mask = self.ready.pop(index)
                if index >= len(blocks):
                    self.stop(mask)
                else:
                    self._run_block(blocks[index], mask)
                if not self.ready and not self.paused and (self.waiting or self.gathering):
                    self._deadlock()
        self.mbarriers.finish()
        self.proxies.finish()

    def forget(self) -> None:
        """Release the batch's memory: its parts refer to each other, so reference counting would not free them."""
        self.registers.clear()
        self.fragments.clear()
        del self.shared, self.local

    def _endless(self) -> None:
        self.collect = False
        mask = self.ready[min(self.ready)]
        self.report("endless loop", f"{STEPS} basic blocks were run without an end", int(self.lanes.whole(mask).argmax()))

    def go(self, index: int, mask: Array) -> None:
        """Threads `mask` continue at basic block `index`."""
        other = self.ready.get(index)
        if other is not None:
            mask = other | mask
            if mask.all():
                mask = FULL
        self.ready[index] = mask

    def _run_block(self, block: BasicBlock, mask: Array) -> None:
        self._enter(mask)
        self._current = block
        self.lanes.at = block.instructions[0].index
        try:
            for run in block.body:
                run(self)
                self.lanes.at += 1
            self.counters.execute(block.index, self._group_warps)
            if block.leave is None:
                self.go(block.index + 1, mask)
            else:
                block.leave(self)
        except UndefinedRead:
            raise self._uninitialised_register() from None

    def _enter(self, mask: Array) -> None:
        """Make `mask` the running group."""
        if mask is self._group_of_mask:
            self.lanes.mask, self.lanes.active = self._masks
            return
        self._group_of_mask = self.group = mask
        if mask is FULL or mask.all():
            self.lanes.mask = self.lanes.active = None
            self._group_warps = self.lanes.blocks * self.lanes.warps
        else:
            self.lanes.active = mask
            # Writes to registers of ended threads are harmless.
            self.lanes.mask = None if mask is self.live or (mask | ~self.live).all() else mask
            self._group_warps = int(self.lanes.whole(mask).reshape(-1, 32).any(axis=1).sum())
        self._masks = (self.lanes.mask, self.lanes.active)

    def stop(self, mask: Array) -> None:
        """Threads `mask` end."""
        self.live = self.live & ~mask
        self._group_of_mask = None
        if self.waiting:
            self._release()
        self._gathered()

    # Waiting without a barrier

    def gather(self, successor: int) -> None:
        """The group waits; each thread continues once all threads of its warpgroup have arrived here."""
        if self.lanes.mask is None and not self.gathering:
            self.go(successor, self.group)
            return
        self.gathering[successor] = self.lanes.whole(self.group) | self.gathering.get(successor, False)
        self._gathered()

    def _gathered(self) -> None:
        for successor, arrived in list(self.gathering.items()):
            alive = self.lanes.whole(self.live)
            starts = np.arange(0, self.lanes.threads, WARPGROUP * WARP)
            there = np.logical_and.reduceat(arrived | ~alive, starts, axis=1)
            size = np.diff(np.append(starts, self.lanes.threads))
            done = arrived & np.repeat(there, size, axis=1)
            if done.any():
                del self.gathering[successor]
                if (left := arrived & ~done).any():
                    self.gathering[successor] = left
                self.go(successor, FULL if done.all() else done)

    def pause(self, index: int, mask: Array, address: Array) -> None:
        """Threads `mask` found an mbarrier's phase incomplete: they continue at basic block `index` after all others."""
        lane = int(mask.argmax())
        self._looked = (self.lanes.at, lane, int(self.lanes.whole(address).reshape(-1)[lane]))
        self.paused[index] = mask | self.paused.get(index, False)

    def _look_again(self) -> None:
        """No other thread can run: let the waiters at mbarriers try again."""
        self.mbarriers.land()
        progress = self.mbarriers.changes
        self._vain = 0 if progress != self._changes else self._vain + 1
        self._changes = progress
        if self._vain > VAIN:
            self.collect = False
            self.lanes.at, lane, address = self._looked
            self.report("mbarrier never complete", self.mbarriers.stuck(address, lane), lane)
        for index, mask in self.paused.items():
            self.go(index, mask)
        self.paused = {}

    # Barriers

    def barrier(self, number: int, count: int | None, successor: int) -> None:
        """The group arrives at a barrier: its threads go on when all threads of their thread block, or `count`, have
        arrived."""
        group, live = self.group, self.live
        self.counters.barrier(self._current, self._group_warps)
        everyone = self.lanes.mask is None
        if everyone and count is None and not self.waiting and (live is self.started or not (self.started & ~live).any()):
            self.shared.next_epoch(None)
            if self.asynchronous:
                self.proxies.synchronise(None)
            self.go(successor, group)
            return
        arrived = self.lanes.whole(group)
        alive = self.lanes.whole(live)
        warps = arrived.reshape(-1, 32)
        partial = warps.any(axis=1) & (warps != alive.reshape(-1, 32)).any(axis=1)
        if partial.any():
            lane = int(partial.argmax()) * 32 + int(warps[int(partial.argmax())].argmax())
            self.report("divergent barrier", "a part of a warp arrives at a barrier", lane)
        key = (number, successor)
        if key in self.waiting:
            arrived = arrived | self.waiting[key][0]
        self.waiting[key] = (arrived, count)
        self._release()

    def _release(self) -> None:
        alive = self.lanes.whole(self.live)
        started = self.lanes.whole(self.started)
        for number in {n for n, _ in self.waiting}:
            keys = [k for k in self.waiting if k[0] == number]
            arrived = np.logical_or.reduce([self.waiting[k][0] for k in keys])
            count = self.waiting[keys[0]][1]
            if count is None:
                done = (arrived | ~alive).all(axis=1) & arrived.any(axis=1)
                early = done[:, None] & started & ~alive
                if early.any():
                    self.report("divergent barrier", "a thread has ended while others wait at a barrier", int(early.argmax()))
            else:
                done = arrived.sum(axis=1) >= count
            if not done.any():
                continue
            self.shared.next_epoch(done)
            if self.asynchronous:
                self.proxies.synchronise(arrived & done[:, None])
            for key in keys:
                mask, count = self.waiting.pop(key)
                left = mask & ~done[:, None]
                if left.any():
                    self.waiting[key] = (left, count)
                released = mask & done[:, None]
                if released.any():
                    self.go(key[1], FULL if released.all() else released)

    def _deadlock(self) -> None:
        if self.gathering:
            successor, mask = next(iter(self.gathering.items()))
            self.collect = False
            self.lanes.at = self.program.blocks[successor - 1].instructions[-1].index
            self.report("partial warpgroup", "a part of a warpgroup executes wgmma.fence", int(mask.argmax()))
        (number, _), (mask, _) = next(iter(self.waiting.items()))
        self.collect = False
        self.report(
            "divergent barrier", f"barrier {number} is never complete: other threads wait elsewhere", int(mask.argmax())
        )
