"""Global memory: the caller's buffers at their host addresses, with every access checked and counted."""

from __future__ import annotations

import ctypes
from bisect import bisect_right

import numpy as np

from . import native
from .lanes import Counting, Lanes, Reporter
from .values import UNSIGNED, Array, differ

_COUNTS = {kind: (f"global_{kind}_requests", f"global_{kind}_bytes", f"global_{kind}_sectors") for kind in ("load", "store")}


class Allocation:
    """Bytes `base … end - 1` and the record of their accesses."""

    def __init__(self, base: int, end: int, name: str) -> None:
        self.base, self.end, self.name = base, end, name
        self.origin = base & ~31
        size = -(-(end - self.origin) // 32) * 32
        self._bytes = np.frombuffer(memoryview((ctypes.c_uint8 * size).from_address(self.origin)), dtype=np.uint8)
        self._views: dict[int, Array] = {}
        self.undefined: Array | None = None
        self.counted = True
        self.sectors = size // 32
        self._granule = 16
        self._writer: Array | None = None
        self.touched: dict[tuple[str, bool], Array] = {}

    def view(self, size: int) -> Array:
        if size not in self._views:
            self._views[size] = self._bytes.view(UNSIGNED[size])
        return self._views[size]

    def writers(self, size: int) -> tuple[Array, int]:
        """The block (from 1) that wrote each granule, and the granule's size: the smallest store so far."""
        size = min(size, 16)
        if self._writer is None:
            self._granule = size
            self._writer = np.zeros(self.sectors * 32 // size, dtype=np.int32)
        elif size < self._granule:
            self._writer = np.repeat(self._writer, self._granule // size)
            self._granule = size
        return self._writer, self._granule

    def sectors_touched(self, kind: str, blocks: int | None) -> Array:
        """Sectors touched by each thread block, (blocks, sectors), or with None those touched by all thread blocks,
        (sectors,)."""
        key = (kind, blocks is None)
        if key not in self.touched:
            self.touched[key] = np.zeros(self.sectors if blocks is None else (blocks, self.sectors), dtype=bool)
        return self.touched[key]

    def unique(self, kind: str, blocks: int) -> int:
        """Sectors touched by each thread block of the batch, summed; clears the record."""
        own = self.touched.pop((kind, False), None)
        common = self.touched.pop((kind, True), None)
        total = 0
        if common is not None:
            total += blocks * int(common.sum())
            if own is not None:
                own = own & ~common
        if own is not None:
            total += int(np.count_nonzero(own))
        return total


class GlobalMemory:
    """All memory that a kernel may access. Overlapping buffers are one allocation."""

    def __init__(self) -> None:
        self.allocations: list[Allocation] = []
        self._ranges: list[tuple[int, int, str, bool, bool]] = []
        self.bases: list[int] = []
        self._lanes: Lanes
        self._reporter: Reporter
        self._counters: Counting

    def begin(self, lanes: Lanes, reporter: Reporter, counters: Counting) -> None:
        """Start a new batch of blocks."""
        self._lanes, self._reporter, self._counters = lanes, reporter, counters

    def add(self, base: int, size: int, name: str, *, undefined: bool = False, counted: bool = True) -> None:
        if size > 0:
            self._ranges.append((base, base + size, name, undefined, counted))

    def seal(self) -> None:
        """Join overlapping buffers; call once all are added."""
        for base, end, name, _, counted in sorted(self._ranges):
            last = self.allocations[-1] if self.allocations else None
            if last is not None and base < last.end:
                if end > last.end:
                    self.allocations[-1] = Allocation(last.base, end, f"{last.name}+{name}")
            else:
                self.allocations.append(Allocation(base, end, name))
                self.allocations[-1].counted = counted
        for base, end, _, undefined, _ in self._ranges:
            if undefined:
                a = next(a for a in self.allocations if a.base <= base < a.end)
                if a.undefined is None:
                    a.undefined = np.zeros(a.end - a.base, dtype=bool)
                a.undefined[base - a.base : end - a.base] = True
        self.bases = [a.base for a in self.allocations]
        self._base_array = np.array(self.bases, dtype=np.int64)
        self._end_array = np.array([a.end for a in self.allocations], dtype=np.int64)

    # Threads and their accesses

    def _select(self, address: Array) -> tuple[tuple[int, ...], Array, Array | None]:
        """The shape of an access, the flat addresses of its active threads, and the mask of these (None: all)."""
        if self._lanes.active is None:
            return address.shape, address.reshape(-1), None
        shape = np.broadcast_shapes(address.shape, self._lanes.active.shape)
        chosen = np.broadcast_to(self._lanes.active, shape)
        return shape, np.broadcast_to(address, shape)[chosen], chosen

    def _lane(self, shape: tuple[int, ...], chosen: Array | None, position: int) -> int:
        """The thread at `position` among the accessing ones, as a number in the batch."""
        flat = position if chosen is None else int(np.flatnonzero(chosen)[position])
        row, column = divmod(flat, shape[1])
        return row * self._lanes.threads + column

    def _parts(
        self, a: Array, size: int, shape: tuple[int, ...], chosen: Array | None, verb: str
    ) -> list[tuple[Allocation, Array | None]]:
        """Check addresses and find their allocations: [(allocation, mask of its addresses in `a` (None: all))]."""
        if a.size == 0:
            return []
        if size > 1 and (wrong := (a & (size - 1)) != 0).any():
            at = int(wrong.argmax())
            self._reporter.report(
                "misaligned global access", f"{verb} of {size} bytes at {int(a[at]):#x}", self._lane(shape, chosen, at)
            )
        low = int(a.min())
        k = bisect_right(self.bases, low) - 1
        if k >= 0 and int(a.max()) + size <= self.allocations[k].end:
            return [(self.allocations[k], None)]
        index = np.searchsorted(self._base_array, a, side="right") - 1
        bad = (index < 0) | (a + size > self._end_array[index])
        if bad.any():
            at = int(bad.argmax())
            self._reporter.report(
                "global access out of bounds",
                f"{verb} of {size} bytes at {int(a[at]):#x}, {self._near(int(a[at]))}",
                self._lane(shape, chosen, at),
            )
            index = np.where(bad, -1, index)
        return [(self.allocations[i], index == i) for i in np.unique(index) if i >= 0]

    def _near(self, address: int) -> str:
        if not self.allocations:
            return "and there is no buffer at all"
        nearest = min(self.allocations, key=lambda n: max(n.base - address, address - n.end, 0))
        return f"byte {address - nearest.base} of {nearest.name}, which has {nearest.end - nearest.base}"

    def _count(self, address: Array, size: int, kind: str, parts: list[tuple[Allocation, Array | None]]) -> None:
        if not parts or not parts[0][0].counted:
            return
        if native.fast is not None and len(parts) == 1 and parts[0][1] is None:
            self._quick_count(native.fast, address, size, kind, parts[0][0])
            return
        sector = address >> 5
        blocks, active = self._lanes.blocks, self._lanes.active
        if active is None:
            threads = blocks * self._lanes.threads
            requests = blocks * self._lanes.warps
            if address.shape[1] == 1:
                sectors = requests
            else:
                rows = sector.reshape(-1, 32)
                step = rows[:, 1:] - rows[:, :-1]
                if step.min() < 0:
                    rows = np.sort(rows, axis=1)
                    step = rows[:, 1:] - rows[:, :-1]
                sectors = (int(np.count_nonzero(step)) + len(rows)) * (blocks // address.shape[0])
        else:
            rows = np.sort(self._lanes.whole(np.where(active, sector, -1)).reshape(-1, 32), axis=1)
            threads = int(np.count_nonzero(rows >= 0))
            requests = int(np.count_nonzero(rows[:, -1] >= 0))
            fresh = rows[:, 1:] != rows[:, :-1]
            sectors = int(np.count_nonzero(fresh & (rows[:, 1:] >= 0))) + int(np.count_nonzero(rows[:, 0] >= 0))
        self._add(kind, requests, threads * size, sectors)
        self._touch(sector, kind, parts)

    def _add(self, kind: str, requests: int, moved: int, sectors: int) -> None:
        self._counters.add_all(self._lanes.at, _COUNTS[kind], (requests, moved, sectors))

    def _quick_count(self, fast: native.Native, address: Array, size: int, kind: str, allocation: Allocation) -> None:
        """`_count` in C++, for accesses to one allocation."""
        active, blocks = self._lanes.active, self._lanes.blocks
        common = len(address) == 1 and (active is None or len(active) == 1)
        touched = allocation.sectors_touched(kind, None if common else blocks)
        counts = fast.global_count(address, active, self._lanes.threads, allocation.origin >> 5, touched)
        accesses, requests, sectors = (n * blocks if common else n for n in counts)
        self._add(kind, requests, accesses * size, sectors)

    def _touch(self, sector: Array, kind: str, parts: list[tuple[Allocation, Array | None]]) -> None:
        """Record the sectors touched by each block."""
        rows = np.arange(self._lanes.blocks)[:, None]
        if self._lanes.active is not None:
            shape = np.broadcast_shapes(sector.shape, self._lanes.active.shape)
            chosen = np.broadcast_to(self._lanes.active, shape)
            sector = np.broadcast_to(sector, shape)[chosen]
            common = shape[0] == 1
            rows = np.zeros(1, dtype=np.int64) if common else np.broadcast_to(rows, shape)[chosen]
        else:
            common = sector.shape[0] == 1
        for allocation, which in parts:
            map_ = allocation.sectors_touched(kind, None if common else self._lanes.blocks)
            index = sector - (allocation.origin >> 5)
            if common:
                map_[index.reshape(-1) if which is None else index.reshape(-1)[which]] = True
            else:
                flat = index + rows * allocation.sectors
                map_.reshape(-1)[flat if which is None else flat.reshape(-1)[which]] = True

    # Access

    def load(self, address: Array, size: int, *, count: bool = True) -> Array:
        """Read `size` bytes for every active thread; other threads get zeros."""
        quick = self._quick_load(address, size, count)
        if quick is not None:
            return quick
        shape, a, chosen = self._select(address)
        parts = self._parts(a, size, shape, chosen, "read")
        dtype = UNSIGNED[size]
        shift = size.bit_length() - 1
        if len(parts) == 1 and parts[0][1] is None:
            allocation = parts[0][0]
            values = allocation.view(size).take((a - allocation.origin) >> shift)
            if allocation.undefined is not None:
                self._check_defined(allocation, a, size, shape, chosen)
        else:
            values = np.zeros(a.shape, dtype=dtype)
            for allocation, which in parts:
                values[which] = allocation.view(size).take((a[which] - allocation.origin) >> shift)
                if allocation.undefined is not None:
                    self._check_defined(allocation, a, size, shape, chosen, which)
        if count:
            self._count(address, size, "load", parts)
        if chosen is None:
            return values.reshape(shape)
        out = np.zeros(shape, dtype=dtype)
        out[chosen] = values
        return out

    def _quick_load(self, address: Array, size: int, count: bool) -> Array | None:
        """`load` in C++; None without the C++ part, or where a rule may be broken."""
        if native.fast is None:
            return None
        active = self._lanes.active
        found = native.fast.global_find(address, active, size, self._base_array, self._end_array)
        if found < 0 or self.allocations[found].undefined is not None:
            return None
        if count:
            self._count(address, size, "load", [(self.allocations[found], None)])
        return native.fast.global_load(address, active, UNSIGNED[size])

    def _check_defined(
        self,
        allocation: Allocation,
        a: Array,
        size: int,
        shape: tuple[int, ...],
        chosen: Array | None,
        which: Array | None = None,
    ) -> None:
        assert allocation.undefined is not None
        inside = a if which is None else a[which]
        wrong = allocation.undefined[(inside - allocation.base)[:, None] + np.arange(size)].any(axis=1)
        if wrong.any():
            at = int(wrong.argmax()) if which is None else int(np.flatnonzero(which)[wrong.argmax()])
            self._reporter.report(
                "uninitialised global read",
                f"read of {size} bytes at byte {int(a[at]) - allocation.base} of {allocation.name}, which nothing has written",
                self._lane(shape, chosen, at),
            )

    def store(self, address: Array, values: Array, size: int) -> None:
        """Write `size` bytes of `values` for every active thread."""
        address = np.broadcast_to(address, np.broadcast_shapes(address.shape, values.shape))
        if address.shape[0] == 1 and self._lanes.blocks > 1:
            # All thread blocks write the same place: record every block.
            address = np.broadcast_to(address, (self._lanes.blocks, address.shape[1]))
        shape, a, chosen = self._select(address)
        data = np.broadcast_to(values, shape)
        data = data.reshape(-1) if chosen is None else data[chosen]
        block = np.broadcast_to(
            np.arange(self._lanes.first + 1, self._lanes.first + self._lanes.blocks + 1, dtype=np.int32)[:, None], shape
        )
        block = block.reshape(-1) if chosen is None else block[chosen]
        parts = self._parts(a, size, shape, chosen, "write")
        shift = size.bit_length() - 1
        for allocation, which in parts:
            inside, mine, who = (a, data, block) if which is None else (a[which], data[which], block[which])
            index = (inside - allocation.origin) >> shift
            allocation.view(size)[index] = mine
            if allocation.undefined is not None:
                allocation.undefined[(inside - allocation.base)[:, None] + np.arange(size)] = False
            self._check_writers(allocation, inside, size, who, shape, chosen, which)
            if self._lanes.threads > 1 and (lost := differ(allocation.view(size).take(index), mine)).any():
                at = int(lost.argmax()) if which is None else int(np.flatnonzero(which)[lost.argmax()])
                self._reporter.report(
                    "conflicting global write",
                    f"two threads write different values to byte {int(a[at]) - allocation.base} of {allocation.name} at once",
                    self._lane(shape, chosen, at),
                )
        self._count(address, size, "store", parts)

    def atomic_parts(self, address: Array, size: int) -> list[tuple[Allocation, Array | None]]:
        """The checked allocations of an atomic access by the active threads."""
        shape, a, chosen = self._select(address)
        parts = self._parts(a, size, shape, chosen, "atomic")
        for allocation, which in parts:
            if allocation.undefined is not None:
                self._check_defined(allocation, a, size, shape, chosen, which)
        return parts

    def _check_writers(
        self,
        allocation: Allocation,
        a: Array,
        size: int,
        block: Array,
        shape: tuple[int, ...],
        chosen: Array | None,
        which: Array | None,
    ) -> None:
        writer, granule = allocation.writers(size)
        index = (a - allocation.origin) // granule
        for part in range(size // granule):
            old = writer.take(index + part)
            writer[index + part] = block
            now = writer.take(index + part)
            wrong = ((old != 0) & (old != block)) | (now != block)
            if wrong.any():
                at = int(wrong.argmax())
                other = int(old[at]) if old[at] not in {0, block[at]} else int(now[at])
                byte = int(a[at]) - allocation.base
                lane = at if which is None else int(np.flatnonzero(which)[at])
                self._reporter.report(
                    "overlapping writes of blocks",
                    f"byte {byte} of {allocation.name} is written by this block and by block number {other - 1}",
                    self._lane(shape, chosen, lane),
                )
