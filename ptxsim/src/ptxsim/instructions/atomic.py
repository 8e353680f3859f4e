"""atom and red: thread by thread, in the order of their numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..context import SHARED_WINDOW, Context
from ..decoding import decoder
from ..errors import UnsupportedInstruction
from ..parser import Statement
from ..program import Run
from ..state import State
from ..values import DTYPES, UNSIGNED, Array, bf16_to_single, bits, half_to_single, single_to_bf16, single_to_half
from .common import address_reader, halves, joined
from .functions import extremum
from .memory import space_of

_OPERATORS = {"add", "min", "max", "and", "or", "xor", "exch", "cas", "inc", "dec"}


def _compared(old: Array, x: Array, y: Array) -> Array:
    return np.where(old == x, y, old)


def _function(name: str, kind: str) -> Callable[..., Array]:
    """New value from the old one and the operands, on the bits in which `kind` is held."""
    if "f16" in kind:
        up, down = (half_to_single, single_to_half) if kind.startswith("f16") else (bf16_to_single, single_to_bf16)
        inner = np.add if name == "add" else extremum(name, False)
        if kind.endswith("x2"):
            return lambda old, x: joined(down(inner(up(halves(old)), up(halves(x)))))
        return lambda old, x: down(inner(up(old), up(x)))
    if kind in {"f32", "f64"} and name in {"min", "max"}:
        return extremum(name, False)
    table: dict[str, Callable[..., Array]] = {
        "add": np.add, "min": np.minimum, "max": np.maximum, "and": np.bitwise_and, "or": np.bitwise_or,
        "xor": np.bitwise_xor, "exch": lambda old, x: x, "cas": _compared,
        "inc": lambda old, x: np.where(old >= x, 0, old + 1).astype(old.dtype),
        "dec": lambda old, x: np.where((old == 0) | (old > x), x, old - 1).astype(old.dtype),
    }  # fmt: skip
    return table[name]


def _one_by_one(cells: Array, index: Array, function: Callable[..., Array], operands: list[Array]) -> Array:
    """Apply `function` to `cells[index]` thread by thread; return each thread's old value. Different cells run at once."""
    order = np.argsort(index, kind="stable")
    sorted_index = index[order]
    first = np.ones(len(index), dtype=bool)
    first[1:] = sorted_index[1:] != sorted_index[:-1]
    starts = np.flatnonzero(first)
    rank = np.arange(len(index)) - np.repeat(starts, np.diff(np.append(starts, len(index))))
    found = np.empty(len(index), dtype=cells.dtype)
    by_rank = order[np.argsort(rank, kind="stable")]
    for lanes in np.split(by_rank, np.cumsum(np.bincount(rank))[:-1]):
        where = index[lanes]
        old = cells[where]
        found[lanes] = old
        cells[where] = function(old, *[x[lanes] for x in operands])
    return found


@dataclass(frozen=True)
class _Atomic:
    """One instruction. slots: the operands' registers for each element of the vector. targets: registers for the old values."""

    space: str
    address: Callable[[State], Array]
    dtype: np.dtype[Any]
    function: Callable[..., Array]
    slots: Sequence[tuple[int, ...]]
    targets: Sequence[int | None]

    def __call__(self, m: State) -> None:
        where, size = self.address(m), self.dtype.itemsize
        in_shared = self.space == "shared"
        if self.space == "generic" and int(where.min()) >= SHARED_WINDOW:
            in_shared, where = True, where - SHARED_WINDOW
        active = m.lanes.active
        chosen = m.lanes.whole(True if active is None else active)
        full = np.array(m.lanes.whole(where))
        m.lanes.active = chosen
        results = []
        for element, slots in enumerate(self.slots):
            values = [m.lanes.whole(bits(m.registers[slot], self.dtype))[chosen] for slot in slots]
            found = (
                self._in_shared(m, full, values) if in_shared else self._in_global(m, full + element * size, values, element)
            )
            out = np.zeros((m.lanes.blocks, m.lanes.threads), dtype=UNSIGNED[size])
            out[chosen] = found.view(UNSIGNED[size])
            results.append(out)
        m.lanes.active = active
        m.counters.add(m.lanes.at, atomic_operations=int(chosen.sum()) * len(self.slots))
        for target, out in zip(self.targets, results, strict=True):
            m.write(target, out)

    def _in_shared(self, m: State, where: Array, values: list[Array]) -> Array:
        size = self.dtype.itemsize
        access = m.shared.access(where, size, "atomic")
        cells, index = m.shared.cells(access, size)
        m.shared.note_atomic(access, size)
        return _one_by_one(cells.view(self.dtype), index, self.function, values)

    def _in_global(self, m: State, where: Array, values: list[Array], element: int) -> Array:
        size, count = self.dtype.itemsize, len(self.slots)
        if element == 0 and count > 1:
            m.memory.atomic_parts(where, size * count)  # the whole vector must be aligned
        found = np.zeros(values[0].shape, dtype=self.dtype)
        for allocation, which in m.memory.atomic_parts(where, size):
            inside = slice(None) if which is None else which
            index = (where[m.lanes.active][inside] - allocation.origin) // size
            cells = allocation.view(size).view(self.dtype)
            found[inside] = _one_by_one(cells, index, self.function, [v[inside] for v in values])
        return found


@decoder("atom", "red")
def atomic(s: Statement, ctx: Context) -> Run:
    name = next(p for p in s.parts[1:] if p in _OPERATORS)
    kind = s.parts[-1]
    if kind not in DTYPES:
        raise UnsupportedInstruction("an atomic of this type")
    operands = list(s.operands)
    targets = [None] if s.parts[0] == "red" else [ctx.target(t) for t in ctx.vector(operands.pop(0))]
    address = address_reader(ctx, operands.pop(0))
    if any("cache_hint" in p for p in s.parts):
        operands.pop()
    count = next((int(p[1:]) for p in s.parts if p in {"v2", "v4", "v8"}), 1)
    slots = list(zip(*[[ctx.source(e, kind) for e in ctx.vector(o)] for o in operands], strict=True))
    if len(slots) != count or (len(targets) != count and s.parts[0] == "atom"):
        raise UnsupportedInstruction("a vector of another length than its type says")
    targets = targets * count if s.parts[0] == "red" else targets
    return _Atomic(space_of(s), address, DTYPES[kind], _function(name, kind), slots, targets)
