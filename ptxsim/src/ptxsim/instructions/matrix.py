"""ldmatrix, stmatrix and mma. Layouts are those of the PTX ISA, section "Warp level matrix instructions".

`mma`: products are exact in fp64, summed there and rounded once with the accumulator. The hardware adds in its own order with
fewer bits: this is the exact result that it approximates. tf32 operands lose their low 13 bits, as in the hardware.
"""

from __future__ import annotations

import re

import numpy as np

from .. import native
from ..context import Context
from ..decoding import decoder
from ..errors import UnsupportedInstruction
from ..native import Native
from ..parser import Statement
from ..program import Run
from ..shared import Access
from ..state import State
from ..values import F32, U32, Array, bf16_to_double, bits, double_to_half, half_to_double
from .common import address_reader, halves, joined
from .memory import add_shared, count_shared
from .warp import by_warp

_LANE = np.arange(32)


def check_whole_warps(m: State) -> None:
    """Report warps of which only some threads run: these instructions need all."""
    if m.lanes.active is None:
        return
    active = by_warp(m.lanes.active, m.lanes.threads)
    partial = active.any(axis=-1) & ~active.all(axis=-1)
    if partial.any():
        warp = int(np.broadcast_to(partial, (m.lanes.blocks, m.lanes.warps)).argmax())
        m.report("partial warp", "a part of a warp executes an instruction of whole warps", warp * 32)


# ldmatrix, stmatrix


def _shape(s: Statement) -> tuple[int, bool]:
    if "m8n8" not in s.parts or s.parts[-1] != "b16":
        raise UnsupportedInstruction("matrices of this shape")
    return int(next(p for p in s.parts if re.fullmatch(r"x[124]", p))[1:]), "trans" in s.parts


def _elements(address: Array, matrix: int, trans: bool) -> list[tuple[Array, int]]:
    """Each thread's elements of a matrix: [(offsets (…, warps, 32), bytes)], given the rows' addresses (…, warps, 32)."""
    if not trans:
        return [(address[..., matrix * 8 + _LANE // 4] + _LANE % 4 * 4, 4)]
    return [(address[..., matrix * 8 + _LANE % 4 * 2 + e] + _LANE // 4 * 2, 2) for e in (0, 1)]


def _rows(m: State, address: Array, count: int, verb: str) -> Access:
    """The 16-byte rows at the addresses of the first 8 · count threads of each warp."""
    active = m.lanes.active
    if count < 4:
        first = (np.arange(m.lanes.threads) % 32 < 8 * count)[None]
        m.lanes.active = first if active is None else active & first
    access = m.shared.access(address, 16, verb)
    m.lanes.active = active
    return access


@decoder("ldmatrix")
def ldmatrix(s: Statement, ctx: Context) -> Run:
    count, trans = _shape(s)
    targets = [ctx.target(t) for t in ctx.vector(s.operands[0])]
    address = address_reader(ctx, s.operands[1])

    def run(m: State) -> None:
        check_whole_warps(m)
        where = address(m)
        quick = m.shared.quick_matrices(where, count, trans)
        if quick is not None:
            add_shared(m, quick[1], 16, "load")
            for target, value in zip(targets, quick[0], strict=True):
                m.write(target, value)
            return
        access = _rows(m, where, count, "read")
        m.shared.note_read(access, 16)
        count_shared(m, access, 16, "load")
        if not access.common:
            where = m.lanes.whole(where)
        rows = by_warp(where, m.lanes.threads)
        size = 2 if trans else 4
        offsets = np.stack([o for i in range(count) for o, _ in _elements(rows, i, trans)], axis=1)
        # Addresses of inactive threads may hold anything.
        offsets = np.clip(offsets, 0, m.shared.stride - size) & -size
        values = m.shared.gather(offsets.reshape(offsets.shape[0], -1), size)
        values = values.reshape(m.lanes.blocks, count, -1, m.lanes.threads)
        for i, target in enumerate(targets):
            if trans:
                low, high = values[:, i, 0], values[:, i, 1]
                m.write(target, low.astype(np.uint32) | (high.astype(np.uint32) << np.uint32(16)))
            else:
                m.write(target, values[:, i, 0])

    return run


@decoder("stmatrix")
def stmatrix(s: Statement, ctx: Context) -> Run:
    count, trans = _shape(s)
    address = address_reader(ctx, s.operands[0])
    slots = [ctx.source(t, "b32") for t in ctx.vector(s.operands[1])]

    def run(m: State) -> None:
        check_whole_warps(m)
        where = address(m)
        count_shared(m, _rows(m, where, count, "write"), 16, "store")
        rows = by_warp(where, m.lanes.threads)
        for i, slot in enumerate(slots):
            value = bits(m.registers[slot], U32)
            pieces = [value] if not trans else [halves(value)[..., 0], halves(value)[..., 1]]
            for (offset, size), piece in zip(_elements(rows, i, trans), pieces, strict=True):
                access = m.shared.access(offset.reshape(offset.shape[0], -1), size, "write")
                m.shared.store(access, m.shared.pick(access, piece), size)

    return run


# mma


def _stack(registers: list[Array], threads: int, split: bool) -> Array:
    """Registers as (warps, 8 groups, 4 threads, registers[, 2 halves])."""
    blocks = max(r.shape[0] for r in registers)
    out = np.empty((blocks, threads, len(registers)), dtype=np.uint32)
    for i, r in enumerate(registers):
        out[..., i] = r
    shape = (blocks * threads // 32, 8, 4, len(registers))
    return out.view(np.uint16).reshape(*shape, 2) if split else out.reshape(*shape, 1)


def _numbers(x: Array, kind: str) -> Array:
    if kind == "f16":
        return half_to_double(x)
    if kind == "bf16":
        return bf16_to_double(x)
    return (x & np.uint32(0xFFFFE000)).view(np.float32).astype(np.float64)


def matrix_a(registers: list[Array], threads: int, kind: str) -> Array:
    """Fragments of A as (warps, 16, k). Register 2j + i holds rows 8i …, columns of half j."""
    x = _numbers(_stack(registers, threads, kind != "tf32"), kind)
    n, _, _, count, e = x.shape
    x = x.reshape(n, 8, 4, count // 2, 2, e).transpose(0, 4, 1, 3, 2, 5)
    return np.ascontiguousarray(x).reshape(n, 16, -1)


def matrix_b(registers: list[Array], threads: int, kind: str) -> Array:
    """Fragments of B as (warps, k, 8): a thread's group is its column."""
    x = _numbers(_stack(registers, threads, kind != "tf32"), kind)
    return np.ascontiguousarray(x.transpose(0, 3, 2, 4, 1)).reshape(x.shape[0], -1, 8)


def _product(left: Array, right: Array) -> Array:
    """(…, 16, k) times (…, k, 8), summed in the order of k: a library's product may sum in any order."""
    total: Array = left[..., :1] * right[..., :1, :]
    for k in range(1, left.shape[-1]):
        total = total + left[..., k : k + 1] * right[..., k : k + 1, :]
    return total


def _quick(m: State, fast: Native, kind: str, slots: tuple[list[int], list[int], list[int]], targets: list[int | None]) -> None:
    """D = A · B + C in C++; slots: of A, B and C."""
    left, right = ([bits(m.registers[slot], U32) for slot in of] for of in slots[:2])
    sums = [bits(m.registers[slot], F32) for slot in slots[2]]
    rows = max(len(r) for r in (*left, *right, *sums))
    for target, value in zip(targets, fast.mma(kind, left, right, sums, rows, m.lanes.threads), strict=True):
        m.write(target, value)


def _accumulators(m: State, slots: list[int], half: bool) -> Array:
    """C as (blocks, warps, 16, 8) in fp64."""
    registers = [m.lanes.whole(bits(m.registers[slot], U32)) for slot in slots]
    if half:
        old = np.stack([half_to_double(halves(r)) for r in registers], axis=2)  # thread block, thread, half of the rows, column
    else:
        old = np.stack([r.view(np.float32).astype(np.float64) for r in registers], axis=2)
    return old.reshape(-1, 8, 4, 2, 2).transpose(0, 3, 1, 2, 4).reshape(m.lanes.blocks, m.lanes.warps, 16, 8)


@decoder("mma")
def mma(s: Statement, ctx: Context) -> Run:
    shape = re.fullmatch(r"m16n8k(\d+)", s.parts[3])
    result, kind, other, accumulator = s.parts[-4:]
    if shape is None or kind not in {"f16", "bf16", "tf32"} or kind != other or result != accumulator:
        raise UnsupportedInstruction("mma of this shape or these types")
    if s.parts[4:6] != ("row", "col"):
        raise UnsupportedInstruction("mma of other layouts than row.col")
    k = int(shape.group(1))
    targets = [ctx.target(t) for t in ctx.vector(s.operands[0])]
    a, b, c = ([ctx.source(r, "b32") for r in ctx.vector(v)] for v in s.operands[1:])
    half = result == "f16"

    def fragment(m: State, slots: list[int], left: bool) -> Array:
        """The matrix in the registers; cached, as successive mma often share one."""
        registers = [bits(m.registers[slot], U32) for slot in slots]
        key = (left, kind, *[id(m.registers[slot]) for slot in slots])
        held = m.fragments.get(key)
        if held is None:
            if len(m.fragments) >= 64:
                m.fragments.clear()
            matrix = (matrix_a if left else matrix_b)(registers, m.lanes.threads, kind)
            # The registers are held too, so that no other array can reuse their identity.
            held = m.fragments[key] = (matrix, [m.registers[slot] for slot in slots])
        return held[0]

    def slow(m: State) -> None:
        # By thread block and warp; values equal in every thread block are held once.
        left, right = (x.reshape(-1, m.lanes.warps, *x.shape[1:]) for x in (fragment(m, a, True), fragment(m, b, False)))
        exact = m.tensor_core is None
        if m.tensor_core is None:
            product: Array = _product(left, right)
        else:  # adds C inside the sums
            product = m.tensor_core.multiply(left, right, _accumulators(m, c, half), kind, half=half)
        n = len(product) * m.lanes.warps
        # (warps, half of the rows, group, thread, column of two)
        product = product.reshape(n, 2, 8, 4, 2)
        blocks = n * 32 // m.lanes.threads
        if half:
            for i, target in enumerate(targets):
                old = half_to_double(halves(bits(m.registers[c[i]], U32)))
                part: Array = product[:, i].reshape(blocks, m.lanes.threads, 2)
                m.write(target, joined(double_to_half(part + old if exact else part)))
        else:
            for i, target in enumerate(targets):
                part = product[:, i // 2, :, :, i % 2].reshape(blocks, m.lanes.threads)
                old = bits(m.registers[c[i]], F32)
                m.write(target, (part + old if exact else part).astype(np.float32))

    def run(m: State) -> None:
        check_whole_warps(m)
        if native.fast is None or half or m.tensor_core is not None:
            slow(m)
        else:
            _quick(m, native.fast, kind, (a, b, c), targets)
        warps = m.lanes.warps * m.lanes.blocks if m.lanes.active is None else int(m.lanes.whole(m.lanes.active)[:, ::32].sum())
        m.counters.add(m.lanes.at, mma_multiply_adds=16 * 8 * k * warps)

    return run
