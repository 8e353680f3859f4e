"""Shared memory of a batch of thread blocks, with a record of who last wrote and read each word, and when.

A tag says who touched a granule of shared memory last: barrier epoch of the thread block, warp, instruction. Two accesses of
different warps in one epoch, one of them a write, are a race. While all thread blocks do the same, one row of tags serves all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from . import native
from .lanes import Lanes, Reporter
from .native import SharedCounts, SharedState
from .values import UNSIGNED, Array, differ

_PC_BITS, _WARP_BITS = 20, 6
_SEVERAL = (1 << _WARP_BITS) - 1  # in place of a warp: several warps have read


@dataclass
class Access:
    """The bytes of shared memory that threads access: the same in all blocks (`common`), or thread by thread."""

    common: bool
    offset: Array  # one for each accessing thread
    lanes: Array | None  # threads of a thread block if common, otherwise of the batch; None: all
    rows: Array | None  # each access's thread block if not common

    @property
    def block(self) -> Array:
        """The thread block of each access, where they are not common."""
        assert self.rows is not None
        return self.rows


@dataclass
class Copy:
    """An asynchronous copy that has not been waited for."""

    number: int
    access: Access
    values: Array
    group: Array
    size: int


class Watch(Protocol):
    """Notified of threads' own accesses to shared memory, copies with `cp.async` included."""

    def read(self, access: Access, size: int) -> None: ...

    def wrote(self, access: Access, size: int) -> None: ...

    def started(self, access: Access, size: int) -> None: ...

    def arrived(self, access: Access, size: int) -> None: ...


class SharedMemory:
    watch: Watch | None = None

    def __init__(self, lanes: Lanes, size: int, reporter: Reporter) -> None:
        self._lanes, self._reporter = lanes, reporter
        blocks, threads = lanes.blocks, lanes.threads
        self.blocks, self.threads, self.size = blocks, threads, size
        self.stride = max(-(-size // 32) * 32, 32)
        self._bytes = np.zeros((blocks, self.stride), dtype=np.uint8)
        self._views = {n: self._bytes.view(UNSIGNED[n]) for n in (1, 2, 4, 8, 16)}
        self._granule = 4
        self.epoch: Array = np.ones((1, 1), dtype=np.int64)
        self._warp = (np.arange(threads, dtype=np.int64) // 32)[None]
        self._written = np.zeros((1, self.stride // 4), dtype=np.int64)
        self._read = np.zeros((1, self.stride // 4), dtype=np.int64)
        self._pending = np.zeros((1, self.stride // 4), dtype=np.int64)
        self.copies: list[Copy] = []
        self.copy_group: Array = np.zeros((1, 1), dtype=np.int64)  # group of copies that start now
        self._copies_made = 0

    def next_epoch(self, done: Array | None) -> None:
        """Complete a barrier in the thread blocks `done` (None: in all)."""
        self.epoch = self.epoch + (1 if done is None else done[:, None].astype(np.int64))
        if self.epoch.shape[0] > 1:
            self._expand()

    def _expand(self) -> None:
        """Expand one row of tags for all thread blocks to a row for each."""
        if self._written.shape[0] != self.blocks:
            self._written, self._read, self._pending = (
                np.repeat(x, self.blocks, axis=0) for x in (self._written, self._read, self._pending)
            )
            self.epoch = np.broadcast_to(self.epoch, (self.blocks, 1)).copy()

    def _refine(self, granule: int) -> None:
        if granule < self._granule:
            ratio = self._granule // granule
            self._written, self._read = (np.repeat(x, ratio, axis=1) for x in (self._written, self._read))
            self._granule = granule

    # Addresses

    def access(self, address: Array, size: int, verb: str) -> Access:
        """Check bounds and alignment of an access."""
        found = self._where(address)
        offset, lanes = found.offset, found.lanes
        if offset.size and (int(offset.min()) < 0 or int(offset.max()) + size > self.size):
            bad = (offset < 0) | (offset + size > self.size)
            at = int(bad.argmax())
            self._reporter.report(
                "shared access out of bounds",
                f"{verb} of {size} bytes at offset {int(offset[at])} of {self.size} bytes of shared memory",
                at if lanes is None else int(lanes[at]),
            )
            keep = np.flatnonzero(~bad)
            lanes, offset = keep if lanes is None else lanes[keep], offset[keep]
        if size > 1 and (wrong := (offset & (size - 1)) != 0).any():
            at = int(wrong.argmax())
            self._reporter.report(
                "misaligned shared access",
                f"{verb} of {size} bytes at offset {int(offset[at])}",
                at if lanes is None else int(lanes[at]),
            )
        return self._access(found.common, offset, lanes)

    def _where(self, address: Array) -> Access:
        """The active threads' access, unchecked."""
        active = self._lanes.active
        common = address.shape[0] == 1 and (active is None or active.shape[0] == 1)
        if active is None:
            offset = np.broadcast_to(address, (1 if common else self.blocks, self.threads)).reshape(-1)
            return self._access(common, offset, None)
        if common:
            lanes = np.flatnonzero(np.broadcast_to(active, (1, self.threads)))
            return self._access(True, np.broadcast_to(address, (1, self.threads))[0, lanes], lanes)
        lanes = np.flatnonzero(self._lanes.whole(active))
        return self._access(False, self._lanes.whole(address).reshape(-1)[lanes], lanes)

    def _access(self, common: bool, offset: Array, lanes: Array | None) -> Access:
        rows = None
        if not common:
            rows = (np.arange(self.blocks * self.threads) if lanes is None else lanes) // self.threads
        return Access(common, offset, lanes, rows)

    def _flat(self, access: Access, size: int) -> Array:
        """Index into the flat view of elements of `size` bytes, shape (blocks, lanes) or (lanes,)."""
        index = access.offset >> (size.bit_length() - 1)
        if access.common:
            return index + (np.arange(self.blocks) * (self.stride // size))[:, None]
        return index + access.block * (self.stride // size)

    def pick(self, access: Access, values: Array) -> Array:
        """A register's values for the accessing threads."""
        whole = np.broadcast_to(values, (self.blocks, self.threads))
        if access.common:
            return whole if access.lanes is None else whole[:, access.lanes]
        flat = whole.reshape(-1)
        return flat if access.lanes is None else flat[access.lanes]

    def place(self, access: Access, values: Array) -> Array:
        """A register with `values` for the accessing threads."""
        if access.lanes is None:
            return values.reshape(self.blocks, self.threads)
        out = np.zeros((self.blocks, self.threads), dtype=values.dtype)
        if access.common:
            out[:, access.lanes] = values
        else:
            out.reshape(-1)[access.lanes] = values
        return out

    # C++ fast paths for accesses that break no rule. None: one does, or there is no C++ part; nothing has changed then.

    def _state(self, address: Array, size: int) -> SharedState:
        """The arguments of the C++ part, with tags as fine as an access of `size` bytes needs."""
        active = self._lanes.active
        if address.shape[0] > 1 or (active is not None and active.shape[0] > 1) or self.epoch.shape[0] > 1:
            self._expand()
        self._refine(size)
        pending = self._pending if self.copies else None
        return (
            self._bytes, self.size, self._written, self._read, self.epoch, pending, self._granule, self._lanes.at,
            address, active, self.threads,
        )  # fmt: skip

    def quick_load(self, address: Array, size: int) -> tuple[Array, SharedCounts] | None:
        """The register read, zeros for inactive threads, and the counts."""
        if native.fast is None:
            return None
        done = native.fast.shared_load(*self._state(address, size), UNSIGNED[size])
        if done is not None and self.watch is not None:
            self.watch.read(self._where(address), size)
        return done

    def quick_matrices(self, address: Array, count: int, trans: bool) -> tuple[Array, SharedCounts] | None:
        """The result of `ldmatrix`: (matrices, thread blocks, threads)."""
        if native.fast is None or self.watch is not None:
            return None
        return native.fast.shared_matrices(*self._state(address, 16), count, trans)

    def quick_store(self, address: Array, values: Array, size: int) -> SharedCounts | None:
        """Store; two threads that write different values to one place are reported."""
        if native.fast is None:
            return None
        done = native.fast.shared_store(*self._state(address, size), values)
        if done is None:
            return None
        some_lost, counts = done
        if self.watch is not None:
            self.watch.wrote(self._where(address), size)
        if some_lost:
            access = self.access(address, size, "write")
            self._tell_lost(access, self.pick(access, values), size)
        return counts

    def quick_copy(self, address: Array, values: Array, size: int) -> SharedCounts | None:
        """Start an asynchronous copy."""
        if native.fast is None:
            return None
        counts = native.fast.shared_copy(*self._state(address, size), size)
        if counts is not None and counts[1]:
            access = self._where(address)
            if self.watch is not None:
                self.watch.started(access, size)
            self._keep_copy(access, self.pick(access, values), size)
        return counts

    # Data

    def load(self, access: Access, size: int) -> Array:
        """The values read by the accessing threads: (blocks, lanes) if common, else (lanes,)."""
        self.note_read(access, size)
        return self.peek(access, size)

    def peek(self, access: Access, size: int) -> Array:
        view = self._views[size]
        index = access.offset >> (size.bit_length() - 1)
        if access.common:
            return np.take(view, index, axis=1)
        return view.reshape(-1).take(index + access.block * (self.stride // size))

    def gather(self, offsets: Array, size: int) -> Array:
        """(blocks, n) elements at offsets (blocks or 1, n), unchecked."""
        index = offsets >> (size.bit_length() - 1)
        view = self._views[size]
        return np.take(view, index[0], axis=1) if len(index) == 1 else np.take_along_axis(view, index, axis=1)

    def store(self, access: Access, values: Array, size: int) -> None:
        if self.watch is not None:
            self.watch.wrote(access, size)
        flat = self._views[size].reshape(-1)
        index = self._flat(access, size)
        self._note_write(access, size, flat, index, values)
        flat[index] = values
        self._tell_lost(access, values, size)

    def _tell_lost(self, access: Access, values: Array, size: int) -> None:
        """Report the first thread whose value another thread has overwritten."""
        there = self._views[size].reshape(-1).take(self._flat(access, size))
        if access.offset.size > 1 and (lost := differ(there, values)).any():
            message = "two threads write different values to offset {} at once"
            self._tell("shared memory race", message, access, lost)

    def _tell(self, kind: str, message: str, access: Access, wrong: Array) -> None:
        """Report the first `wrong` access, (lanes,) or (blocks, lanes); `message` has a placeholder for its offset."""
        row, at = divmod(int(wrong.reshape(-1).argmax()), access.offset.size)
        lane = at if access.lanes is None else int(access.lanes[at])
        self._reporter.report(kind, message.format(int(access.offset[at])), row * self.threads + lane)

    def _tags(self, access: Access) -> Array:
        tag = ((self.epoch << _WARP_BITS) + self._warp) << _PC_BITS
        if access.common:
            row = tag[0] if tag.shape[0] == 1 else tag
            return (row if access.lanes is None else row[..., access.lanes]) + self._lanes.at
        flat = np.broadcast_to(tag, (self.blocks, self.threads)).reshape(-1)
        return (flat if access.lanes is None else flat[access.lanes]) + self._lanes.at

    def _shadow_index(self, access: Access, size: int) -> list[Array]:
        """Indices into the flat tags, one array for each granule of an access."""
        if not access.common or self.epoch.shape[0] > 1:
            self._expand()
        self._refine(size)
        index = access.offset // self._granule
        if self._written.shape[0] > 1:
            width = self.stride // self._granule
            index = index + ((np.arange(self.blocks) * width)[:, None] if access.common else access.block * width)
        return [index + i for i in range(max(size // self._granule, 1))]

    @staticmethod
    def _meets(old: Array, tag: Array) -> Array:
        """Whether `old` was left by another warp in the same epoch."""
        different = (old ^ tag) >> _PC_BITS
        return (different != 0) & (different < (1 << _WARP_BITS))

    def _who(self, last: Array, wrong: Array) -> str:
        """The warp that left the tag in `last` where the first access is `wrong`, and its line."""
        tag = int(np.broadcast_to(last, wrong.shape).reshape(-1)[wrong.reshape(-1).argmax()])
        line = self._reporter.line(tag & ((1 << _PC_BITS) - 1))
        warp = (tag >> _PC_BITS) & _SEVERAL
        return f"{'several warps' if warp == _SEVERAL else f'warp {warp}'} at PTX line {line}"

    def _check_pending(self, access: Access, size: int, verb: str) -> None:
        index = access.offset >> 2
        if self._pending.shape[0] > 1:
            width = self.stride // 4
            index = index + ((np.arange(self.blocks) * width)[:, None] if access.common else access.block * width)
        flat = self._pending.reshape(-1)
        wrong = flat.take(index) != 0
        for i in range(1, size // 4):
            wrong = wrong | (flat.take(index + i) != 0)
        if wrong.any():
            message = "offset {} of shared memory is the target of an asynchronous copy that has not been waited for"
            self._tell(f"{verb} before wait", message, access, wrong)

    def note_read(self, access: Access, size: int) -> None:
        if not access.offset.size:
            return
        if self.watch is not None:
            self.watch.read(access, size)
        tag = None
        for index in self._shadow_index(access, size):
            if tag is None:
                tag = self._tags(access)
                if self.copies:
                    self._check_pending(access, size, "asynchronous copy read")
            written, read = self._written.reshape(-1), self._read.reshape(-1)
            last = written.take(index)
            if not last.all():
                message = f"read of {size} bytes at offset {{}}, which nothing has written"
                self._tell("uninitialised shared read", message, access, last == 0)
            wrong = self._meets(last, tag)
            if wrong.any():
                message = f"offset {{}} is read while {self._who(last, wrong)} writes it"
                self._tell("shared memory race", message, access, wrong)
            old = read.take(index)
            several = self._meets(old, tag)
            new = np.where(several, tag | (_SEVERAL << _PC_BITS), tag)
            read[index] = new
            now = read.take(index)
            if (now != new).any():
                read[index[self._meets(now, new)]] = np.broadcast_to(new, index.shape)[self._meets(now, new)] | (
                    _SEVERAL << _PC_BITS
                )

    def _note_write(self, access: Access, size: int, flat: Array, where: Array, values: Array | None) -> None:
        """`values` None: an asynchronous copy starts, which conflicts whatever its value."""
        if not access.offset.size:
            return
        tag = None
        for index in self._shadow_index(access, size):
            if tag is None:
                tag = self._tags(access)
                if self.copies and values is not None:
                    self._check_pending(access, size, "asynchronous copy overwritten")
            written, read = self._written.reshape(-1), self._read.reshape(-1)
            last = read.take(index)
            wrong = self._meets(last, tag)
            verb = "reads"
            if not wrong.any():
                last = written.take(index)
                wrong = self._meets(last, tag)
                verb = "writes"
                if values is not None and wrong.any():
                    # Compilers store the same value twice on purpose.
                    wrong = wrong & differ(flat.take(where), np.broadcast_to(values, where.shape))
            if wrong.any():
                message = f"offset {{}} is written while {self._who(last, wrong)} {verb} it"
                self._tell("shared memory race", message, access, wrong)
            written[index] = tag

    def fill(self, row: int, start: int, data: Array) -> None:
        """Write a bulk copy's `data` to the thread block `row`, from the offset `start` on, a multiple of 16."""
        self._expand()
        self._bytes[row, start : start + data.size] = data
        self._written[row, start // self._granule : (start + data.size) // self._granule] = 1  # before every epoch

    def cells(self, access: Access, size: int) -> tuple[Array, Array]:
        """The flat elements of `size` bytes, and the indices of an access among them."""
        return self._views[size].reshape(-1), self._flat(access, size)

    def note_atomic(self, access: Access, size: int) -> None:
        """Record atomics: those of different warps do not race, but they must not meet undefined words or copies under way."""
        if self.watch is not None:
            self.watch.wrote(access, size)
        for index in self._shadow_index(access, size):
            if self.copies:
                self._check_pending(access, size, "asynchronous copy read")
            last = self._written.reshape(-1).take(index)
            if not last.all():
                message = "atomic at offset {}, which nothing has written"
                self._tell("uninitialised shared read", message, access, last == 0)

    # Asynchronous copies

    def commit(self) -> None:
        """Close a group of the copies that the running threads have started since the last commit.

        A thread that has ended has no copies to wait for, so only live threads elsewhere keep their count.
        """
        group, mask = self.copy_group + 1, self._lanes.mask
        self.copy_group = group if mask is None else np.where(mask, group, self.copy_group)

    def start_copy(self, access: Access, values: Array, size: int) -> None:
        """Start a copy: its target may not be read until it arrives, and it may not race with other accesses."""
        if not access.offset.size:
            return
        if self.watch is not None:
            self.watch.started(access, size)
        index = self._flat(access, size)
        self._note_write(access, size, self._views[size].reshape(-1), index, None)
        self._keep_copy(access, values, size)

    def _keep_copy(self, access: Access, values: Array, size: int) -> None:
        """Keep a copy until its threads wait for it."""
        group = self.copy_group
        if access.common and group.shape[0] > 1:
            access, values = self._per_thread(access, values)
        self._copies_made += 1
        if group.size > 1:
            group = np.broadcast_to(group, (group.shape[0] if access.common else self.blocks, self.threads)).reshape(-1)
            if access.lanes is not None:
                group = group[access.lanes]
        copy = Copy(self._copies_made, access, values, group.reshape(-1), size)
        self.copies.append(copy)
        self._mark(copy, self._copies_made)

    def _per_thread(self, access: Access, values: Array) -> tuple[Access, Array]:
        lanes = np.arange(self.threads) if access.lanes is None else access.lanes
        rows = np.repeat(np.arange(self.blocks), lanes.size)
        flat = Access(False, np.tile(access.offset, self.blocks), np.tile(lanes, self.blocks) + rows * self.threads, rows)
        return flat, np.broadcast_to(values, (self.blocks, lanes.size)).reshape(-1)

    def _mark(self, copy: Copy, number: int) -> None:
        access = copy.access
        if not access.common:
            self._expand()
        width = self.stride // 4
        index = access.offset >> 2
        if self._pending.shape[0] > 1:
            index = index + ((np.arange(self.blocks) * width)[:, None] if access.common else access.block * width)
        index = index[..., None] + np.arange(copy.size // 4)
        flat = self._pending.reshape(-1)
        if number:
            flat[index] = number
        else:
            held = flat.take(index)
            flat[index] = np.where(held == copy.number, 0, held)

    def wait(self, allowed: int | None) -> None:
        """Let copies of all groups but the last `allowed` (None: every copy) arrive for the active threads."""
        left = []
        for copy in self.copies:
            limit = self.copy_group - allowed if allowed is not None else self.copy_group + 1
            if self._lanes.active is None and limit.size == 1 and copy.group.size == 1:
                if int(copy.group[0]) < int(limit[0, 0]):
                    self._arrive(copy)
                else:
                    left.append(copy)
                continue
            active = self._lanes.whole(True if self._lanes.active is None else self._lanes.active)
            limit = self._lanes.whole(limit)
            access, values = copy.access, copy.values
            group = copy.group
            if access.common:
                count = access.offset.size
                access, values = self._per_thread(access, values)
                group = np.tile(np.broadcast_to(group, (count,)), self.blocks)
            lanes = np.arange(self.blocks * self.threads) if access.lanes is None else access.lanes
            group = np.broadcast_to(group, lanes.shape)
            done = active.reshape(-1)[lanes] & (group < limit.reshape(-1)[lanes])
            if done.all():
                self._arrive(copy)
                continue
            if not done.any():
                left.append(copy)
                continue
            for chosen, arrived in ((done, True), (~done, False)):
                part = Access(False, access.offset[chosen], lanes[chosen], access.block[chosen])
                piece = Copy(copy.number, part, values[chosen], group[chosen], copy.size)
                if arrived:
                    self._arrive(piece)
                else:
                    left.append(piece)
        self.copies = left

    def _arrive(self, copy: Copy) -> None:
        if self.watch is not None:
            self.watch.arrived(copy.access, copy.size)
        self._mark(copy, 0)
        self._views[copy.size].reshape(-1)[self._flat(copy.access, copy.size)] = copy.values
        granules = self._shadow_index(copy.access, copy.size)
        tags, written = self._tags(copy.access), self._written.reshape(-1)
        for index in granules:
            written[index] = tags
