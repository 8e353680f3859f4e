"""wgmma: asynchronous products of matrices by four warps together, from shared memory and registers.

Layouts are those of the PTX ISA, section "Asynchronous Warpgroup Level Matrix Instructions". Products are exact in fp64, summed
there and rounded once with the accumulator; tf32 operands lose their low 13 bits. The result is written at once; reads of it
before a wait are reported.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..context import Context
from ..decoding import decoder
from ..descriptors import Descriptor, descriptor
from ..errors import UnsupportedInstruction
from ..lanes import WARP
from ..parser import Statement, parse_integer
from ..program import Run
from ..proxies import UNIT, WARPGROUP
from ..state import State
from ..values import BOOL, F32, U32, U64, Array, bf16_to_double, bits, double_to_half, half_to_double
from .common import halves, joined

_THREADS = WARPGROUP * WARP
_ROWS = 64
_SIZES = {"f16": 2, "bf16": 2, "tf32": 4}


@decoder("wgmma")
def wgmma(s: Statement, ctx: Context) -> Run:
    parts = s.parts[1:]
    if s.predicate is not None:
        raise UnsupportedInstruction("wgmma under a predicate")
    if parts == ("fence", "sync", "aligned"):
        return _fence(ctx.next_block)
    if parts == ("commit_group", "sync", "aligned"):
        return _commit
    if parts == ("wait_group", "sync", "aligned"):
        allowed = parse_integer(s.operands[0])
        return lambda m: _wait(m, allowed)
    if parts[:3] != ("mma_async", "sync", "aligned"):
        raise UnsupportedInstruction("this form of wgmma")
    return _Product(s, ctx)


def _fence(after: int) -> Run:
    def run(m: State) -> None:
        m.in_flight.fence()
        m.gather(after)

    return run


def _whole(m: State) -> Array:
    """(blocks, warpgroups): the running warpgroups. Reports those of which only a part runs."""
    active = m.lanes.whole(True if m.lanes.active is None else m.lanes.active)
    count = -(-m.lanes.threads // _THREADS)
    padded = np.zeros((m.lanes.blocks, count * _THREADS), dtype=bool)
    padded[:, : m.lanes.threads] = active
    by_group = padded.reshape(m.lanes.blocks, count, _THREADS)
    some: Array = np.any(by_group, axis=2)
    every: Array = np.all(by_group, axis=2)
    partial = some & ~every
    if partial.any():
        row, group = (int(i) for i in np.argwhere(partial)[0])
        lane = row * m.lanes.threads + group * _THREADS + int(by_group[row, group].argmax())
        m.report("partial warpgroup", "a part of a warpgroup executes an instruction of whole warpgroups", lane)
    return every


def _agents(m: State) -> Iterator[tuple[int, int, Array]]:
    """For each warpgroup that runs: its number, the agent of its products, and the thread blocks in which it runs."""
    whole = _whole(m)
    for group in range(whole.shape[1]):
        rows = np.flatnonzero(whole[:, group])
        if rows.size:
            yield group, m.proxies.agent(("wgmma", group)), rows


def _commit(m: State) -> None:
    for _, agent, rows in _agents(m):
        m.proxies.committed(agent)[rows] += 1


def _wait(m: State, allowed: int) -> None:
    for group, agent, rows in _agents(m):
        warps = np.zeros((m.lanes.blocks, m.lanes.warps), dtype=bool)
        warps[rows, group * WARPGROUP : (group + 1) * WARPGROUP] = True
        m.proxies.learn(warps, agent, m.proxies.committed(agent)[:, None] - allowed)


@dataclass(frozen=True)
class _Shared:
    """An operand in shared memory: its descriptor's slot, extents along M or N (outer) and K (inner), type, layout."""

    slot: int
    outer: int
    inner: int
    kind: str
    transposed: bool
    name: str


class _Product:
    """One `wgmma.mma_async`."""

    def __init__(self, s: Statement, ctx: Context) -> None:
        shape = re.fullmatch(r"m64n(\d+)k(\d+)", s.parts[4])
        if shape is None or len(s.parts) != 8:
            raise UnsupportedInstruction("wgmma of this form")
        self.result, self.kind, other = s.parts[5:]
        self.n, self.k = int(shape[1]), int(shape[2])
        if self.kind not in _SIZES or other != self.kind or self.result not in {"f32", "f16"}:
            raise UnsupportedInstruction("wgmma of these types")
        if (
            (self.result == "f16" and self.kind != "f16")
            or self.k * _SIZES[self.kind] != 32
            or self.n % 8
            or not 8 <= self.n <= 256
        ):
            raise UnsupportedInstruction("wgmma of this shape or these types")
        self.shape = s.parts[4]
        accumulators = ctx.vector(s.operands[0])
        if len(accumulators) != self.n // (2 if self.result == "f32" else 4):
            raise UnsupportedInstruction("accumulators of another number than the shape says")
        self.targets = [ctx.target(name) for name in accumulators]
        self.accumulators = [ctx.register(name) for name in accumulators]
        in_registers = s.operands[1].startswith("{")
        options = list(s.operands[3:])
        scale, self.sign_a, self.sign_b = options[0], parse_integer(options[1]), parse_integer(options[2])
        transposed = [parse_integer(t) != 0 for t in options[3:]]
        if len(transposed) != (0 if self.kind == "tf32" else 1 if in_registers else 2):
            raise UnsupportedInstruction("wgmma with these operands")
        self.negated = scale.startswith("!")
        self.scale = ctx.source(scale.lstrip("!"), "pred")
        across_b = bool(transposed) and transposed[-1]
        self.b = _Shared(ctx.source(s.operands[2], "b64"), self.n, self.k, self.kind, across_b, "B")
        self.a: _Shared | list[int]
        if in_registers:
            self.a = [ctx.source(name, "b32") for name in ctx.vector(s.operands[1])]
            if len(self.a) != 4:
                raise UnsupportedInstruction("fragments of another number than the shape says")
        else:
            across_a = bool(transposed) and transposed[0]
            self.a = _Shared(ctx.source(s.operands[1], "b64"), _ROWS, self.k, self.kind, across_a, "A")

    def __call__(self, m: State) -> None:
        number = np.zeros((m.lanes.blocks, m.lanes.warps), dtype=np.int32)
        results = [np.zeros((m.lanes.blocks, m.lanes.threads), dtype=np.uint32) for _ in self.targets]
        old = None
        use = m.lanes.whole(bits(m.registers[self.scale], BOOL) != self.negated)
        groups = list(_agents(m))
        if not groups:
            return
        for group, agent, rows in groups:
            threads = slice(group * _THREADS, (group + 1) * _THREADS)
            warps = np.arange(group * WARPGROUP, (group + 1) * WARPGROUP)
            number[:, warps] = m.proxies.committed(agent)[:, None] + 1
            self._uniform(m, use, rows, threads, "scale-d")
            right = self._operand(m, self.b, group, agent, rows)
            if isinstance(self.a, _Shared):
                left = self._operand(m, self.a, group, agent, rows)
            else:
                left = self._fragments(m, self.a, rows, threads)
            left, right = left * (self.sign_a * self.sign_b), right.transpose(0, 2, 1)
            added = use[rows, threads.start]
            if added.any() and old is None:
                old = [m.lanes.whole(bits(m.registers[slot], U32)) for slot in self.accumulators]
            tile = self._loaded(old, added, rows, threads)
            if m.tensor_core is None:
                tile = tile + np.matmul(left, right)
            else:
                tile = m.tensor_core.multiply(left, right, tile, self.kind, half=self.result == "f16")
            self._store(results, tile, rows, threads)
        if not isinstance(self.a, _Shared):
            m.in_flight.issue(self.a, "A of a wgmma", number)
        m.in_flight.issue(self.accumulators, f"an accumulator of a wgmma {self.shape}", number)
        for target, result in zip(self.targets, results, strict=True):
            m.write(target, result)
        count = sum(rows.size for _, _, rows in groups)
        m.counters.add(m.lanes.at, mma_multiply_adds=_ROWS * self.n * self.k * count)

    def _uniform(self, m: State, values: Array, rows: Array, threads: slice, name: str) -> None:
        part = values[rows, threads]
        differs = (part != part[:, :1]).any(axis=1)
        if differs.any():
            lane = int(rows[differs.argmax()]) * m.lanes.threads + threads.start
            m.report("operand not the same in the warpgroup", f"{name} differs between threads", lane)

    def _fragments(self, m: State, slots: list[int], rows: Array, threads: slice) -> Array:
        """A in registers as (rows, 64, k): register 2j + i has rows 8i … of a warp's sixteen, and columns of half j."""
        held = np.stack([m.lanes.whole(bits(m.registers[slot], U32))[rows, threads] for slot in slots], axis=-1)
        numbers = self._numbers(held if self.kind == "tf32" else held.view(np.uint16))
        numbers = numbers.reshape(rows.size, WARPGROUP, 8, 4, 2, 2, -1)  # thread block, warp, group, thread, j, i, element
        return numbers.transpose(0, 1, 5, 2, 4, 3, 6).reshape(rows.size, _ROWS, self.k)

    def _numbers(self, raw: Array) -> Array:
        if self.kind == "f16":
            return half_to_double(raw)
        if self.kind == "bf16":
            return bf16_to_double(raw)
        return (raw & np.uint32(0xFFFFE000)).view(np.float32).astype(np.float64)

    def _operand(self, m: State, operand: _Shared, group: int, agent: int, rows: Array) -> Array:
        """An operand in shared memory as (rows, outer, inner), checked."""
        threads = slice(group * _THREADS, (group + 1) * _THREADS)
        values = m.lanes.whole(bits(m.registers[operand.slot], U64))
        self._uniform(m, values, rows, threads, f"the descriptor of {operand.name}")
        size = _SIZES[operand.kind]
        out = np.zeros((rows.size, operand.outer, operand.inner), dtype=np.float64)
        chosen = values[rows, threads.start]
        for value in np.unique(chosen):
            which = np.flatnonzero(chosen == value)
            there = descriptor(int(value))
            lane = int(rows[which[0]]) * m.lanes.threads + threads.start
            self._check_descriptor(m, there, operand, lane)
            offsets = there.offsets(operand.outer, operand.inner, size, operand.transposed)
            if int(offsets.max()) + size > m.shared.size:
                message = (
                    f"{operand.name} reaches to byte {int(offsets.max()) + size} of {m.shared.size} of shared memory: {there}"
                )
                m.report("descriptor out of bounds", message, lane)
                continue
            units = np.unique(offsets // UNIT)
            warps = np.arange(group * WARPGROUP, (group + 1) * WARPGROUP)
            time = m.proxies.committed(agent)[rows[which]] + 1
            m.proxies.read_by(agent, time, rows[which], warps, units, f"{operand.name} of a wgmma")
            raw = m.shared.gather(offsets.reshape(1, -1), size)[rows[which]]
            out[which] = self._numbers(raw).reshape(which.size, operand.outer, operand.inner)
        return out

    @staticmethod
    def _check_descriptor(m: State, there: Descriptor, operand: _Shared, lane: int) -> None:
        if there.base:
            raise UnsupportedInstruction(f"a matrix descriptor with a base offset: {operand.name} of a wgmma, {there}")
        if there.misplaced():
            message = f"{operand.name} starts inside a pattern of {there.repeat} bytes, and has no base offset: {there}"
            m.report("misaligned descriptor", message, lane)

    def _places(self, tile: Array) -> Iterator[tuple[int, Array]]:
        """The part of sums, (rows, 64, n), in each accumulator register: its number, and a view by thread block and thread."""
        # thread block, warp, half of the rows, group, eight columns, thread, column of two
        parts = tile.reshape(len(tile), WARPGROUP, 2, 8, self.n // 8, 4, 2)
        for i in range(self.n // 8):
            for half in (0, 1):
                pair = parts[:, :, half, :, i]  # thread block, warp, group, thread, column of two
                if self.result == "f16":
                    yield 2 * i + half, pair
                else:
                    yield from ((4 * i + 2 * half + e, pair[..., e]) for e in (0, 1))

    def _loaded(self, old: list[Array] | None, added: Array, rows: Array, threads: slice) -> Array:
        """The accumulators as (rows, 64, n), zeros where they are not added."""
        tile = np.zeros((rows.size, _ROWS, self.n))
        if old is not None:
            for slot, view in self._places(tile):
                held = np.where(added[:, None], old[slot][rows, threads], np.uint32(0))
                numbers = half_to_double(halves(held)) if self.result == "f16" else held.view(F32)
                view[...] = numbers.reshape(view.shape)
        return tile

    def _store(self, results: list[Array], tile: Array, rows: Array, threads: slice) -> None:
        for slot, view in self._places(tile):
            if self.result == "f16":
                results[slot][rows, threads] = joined(double_to_half(view.reshape(rows.size, _THREADS, 2)))
            else:
                results[slot][rows, threads] = view.reshape(rows.size, _THREADS).astype(np.float32).view(np.uint32)
