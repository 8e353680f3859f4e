"""The C++ part and numpy alone: the same findings, counts and bits."""

from __future__ import annotations

import os
import random
import subprocess
import sys

import numpy as np
import pytest

from ptxsim import native

from . import kernels

THREADS, BLOCKS, BYTES = 64, 3, 512
_SHARED = f".shared .align 16 .b8 words[{BYTES}];\n"
_TYPES = {1: "u8", 2: "u16", 4: "u32", 8: "u64", 16: "v4.u32"}
SIZES = tuple(_TYPES)
ADDED = [f"xor.b32 %r40, %r40, %r3{i};" for i in range(4)]  # %r40: the xor of all values read so far
_TARGETS = {1: "%r30", 2: "%r30", 4: "%r30", 8: "%rd30", 16: "{%r30, %r31, %r32, %r33}"}


def test_it_is_built_here():
    assert native.built is not None


def test_a_variable_leaves_it_out():
    said = subprocess.run(
        [sys.executable, "-c", "from ptxsim import native; print(native.fast)"],
        env={**os.environ, "PTXSIM_NATIVE": "0"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert said.stdout == "None\n"


def address(rng, size):
    """Put into %r20 a place for `size` bytes: close, the same for all, or apart; rarely out of bounds or misaligned."""
    step = rng.choice([0, size, size, 4, 16, 2 * size, 36])
    base = rng.randrange(0, BYTES // 2, size)
    mask = (BYTES - 1) & -size
    lines = [f"mul.lo.u32 %r20, %r1, {step};", f"add.u32 %r20, %r20, {base};"]
    if rng.random() < 0.3:  # differs between blocks
        lines += ["shl.b32 %r21, %r2, 5;", "add.u32 %r20, %r20, %r21;"]
    if rng.random() < 0.97:
        lines.append(f"and.b32 %r20, %r20, {mask};")
    if rng.random() < 0.02:
        lines.append("add.u32 %r20, %r20, 1;")
    if rng.random() < 0.03:  # the last place, or one that ends behind it
        lines.append(f"mov.u32 %r20, {BYTES - rng.choice([size, size // 2])};")
    return [*lines, "mov.u32 %r22, words;", "add.u32 %r20, %r20, %r22;"]


def store(rng, guard):
    size = rng.choice(SIZES)
    return [*address(rng, size), f"{guard}st.shared.{_TYPES[size]} [%r20], {_TARGETS[size]};"]


def load(rng, guard):
    size = rng.choice(SIZES)
    return [*address(rng, size), f"{guard}ld.shared.{_TYPES[size]} {_TARGETS[size]}, [%r20];", *ADDED]


def copy(rng, guard):
    size = rng.choice([4, 8, 16])
    source = f"mad.wide.u32 %rd20, %r1, {size}, %rd0;"
    started = [f"{guard}cp.async.ca.shared.global [%r20], [%rd20], {size};", "cp.async.commit_group;"]
    return [*address(rng, size), source, *started]


def wait(rng, guard):
    return [f"cp.async.wait_group {rng.randrange(3)};", "bar.sync 0;"]


def barrier(rng, guard):
    return ["bar.sync 0;"]


def matrix(rng, guard):
    count, trans = rng.choice([1, 2, 4]), rng.choice(["", ".trans"])
    targets = ", ".join(f"%r3{i}" for i in range(count))
    whole = rng.choice(["", "", "@%p2 ", "@%p2 ", "@%p1 "])
    return [*address(rng, 16), f"{whole}ldmatrix.sync.aligned.m8n8.x{count}{trans}.shared.b16 {{{targets}}}, [%r20];", *ADDED]


def words(rng, guard):
    one, other = rng.choice("us"), rng.choice("us")
    dot = f"dp4a.{one}32.{other}32 %r32, %r40, %r31, %r30;"
    return ["prmt.b32 %r31, %r40, %r32, %r33;", dot, "fma.rn.f32 %r33, %r41, %r42, %r43;", *ADDED]


def shuffle(rng, guard):
    mode, by = rng.choice(["idx", "up", "down", "bfly"]), rng.choice(["1", "3", "16", "%r40", "%r2"])
    clamp = "0" if mode == "up" else "31"
    members = rng.choice(["-1", "255"])  # with 255 some read from a thread that is absent
    return [f"{guard}shfl.sync.{mode}.b32 %r30|%p3, %r40, {by}, {clamp}, {members};", "selp.b32 %r31, 1, 0, %p3;", *ADDED]


def mma(rng, guard):
    kinds = [("f16", "m16n8k16", 4, 2), ("bf16", "m16n8k8", 2, 1), ("tf32", "m16n8k8", 4, 2)]
    dtype, shape, left, right = rng.choice(kinds)
    a, b = (", ".join(f"%r{44 + i}" for i in range(n)) for n in (left, right))
    sums = "%r48, %r49, %r50, %r51"
    product = f"mma.sync.aligned.{shape}.row.col.f32.{dtype}.{dtype}.f32 {{{sums}}}, {{{a}}}, {{{b}}}, {{{sums}}};"
    return [product, "xor.b32 %r40, %r40, %r48;", "xor.b32 %r41, %r41, %r51;"]


def global_load(rng, guard):
    near = f"and.b32 %r20, %r40, {rng.choice([0, 60, 508])};"
    # Up to the last word, one beyond it, or between two.
    near += f"\nadd.u32 %r20, %r20, {rng.choice([0, 0, 0, 512, 516, 2])};"
    return [near, "cvt.u64.u32 %rd20, %r20;", "add.u64 %rd20, %rd20, %rd0;", f"{guard}ld.global.u32 %r30, [%rd20];", *ADDED]


STATEMENTS = [store, store, load, load, copy, wait, barrier, matrix, words, shuffle, mma, global_load]


def statement(rng):
    """A few lines that end in the instruction under test."""
    return rng.choice(STATEMENTS)(rng, rng.choice(["", "", "@%p1 ", "@!%p1 ", "@%p2 "]))


def program(seed):
    rng = random.Random(seed)
    start = ["setp.lt.u32 %p1, %r1, 40;", "setp.lt.u32 %p2, %r1, 32;", "shl.b32 %r4, %r1, 2;", "mov.b64 %rd30, 7;"]
    start += [f"mad.lo.u32 %r{i}, %r0, {2 * i + 1}, {i};" for i in (*range(30, 34), *range(40, 52))]
    # Numbers near one, so that no sum is a NaN.
    start += [f"and.b32 %r{i}, %r{i}, 0x03ff03ff;\nor.b32 %r{i}, %r{i}, 0x3c003c00;" for i in (*range(41, 52),)]
    if rng.random() < 0.8:  # otherwise nothing is written before it is read
        fill = "cvt.u64.u32 %rd21, %r1;\n" + "\n".join(
            f"st.shared.v2.u32 [words+{8 * THREADS * i}+%r5], {{%r30, %r31}};" for i in range(BYTES // 8 // THREADS)
        )
        start += [fill.replace("[words+0+%r5]", "[%r5]"), "bar.sync 0;"]
        start.insert(0, "mul.lo.u32 %r5, %r1, 8;\nmov.u32 %r6, words;\nadd.u32 %r5, %r5, %r6;")
    # Every second program waits for everything after each statement, and so breaks few rules.
    wait = ["cp.async.wait_all;", "bar.sync 0;"] if seed % 2 else []
    body = [line for _ in range(rng.randrange(6, 24)) for line in (*statement(rng), *wait)]
    if rng.random() < 0.2:  # the blocks diverge
        body = ["setp.eq.u32 %p4, %r2, 1;", "@%p4 bra OVER;", *body[: len(body) // 2], "OVER:", *body[len(body) // 2 :]]
    end = ["mad.wide.u32 %rd22, %r0, 4, %rd1;", "xor.b32 %r40, %r40, %r41;", "st.global.u32 [%rd22], %r40;"]
    return "\n".join([*start, *body, *end])


def aligned(count):
    """Zeros aligned to a sector, as counts of sectors depend on addresses."""
    raw = np.zeros(4 * count + 32, dtype=np.uint8)
    start = -raw.ctypes.data % 32
    return raw[start : start + 4 * count].view(np.uint32)


def outcome(body):
    """The kernel's output, and its whole report."""
    source, out = aligned(THREADS * 4), aligned(THREADS * BLOCKS)
    source[:] = np.arange(1, THREADS * 4 + 1, dtype=np.uint32) * np.uint32(2654435761)
    report = kernels.run(body, [source, out], grid=BLOCKS, block=THREADS, module=_SHARED, check="collect")
    said = report.to_dict()
    for finding in said["findings"]:  # addresses differ between runs
        finding["message"] = finding["message"].split(" at 0x")[0]
    return out.tolist(), said


@pytest.mark.parametrize("seed", range(150))
def test_random_kernels(seed, monkeypatch):
    body = program(seed)
    with_it = outcome(body)
    monkeypatch.setattr(native, "fast", None)
    assert with_it == outcome(body)


def test_the_random_kernels_break_rules_and_keep_them():
    kinds = [tuple(sorted({f["kind"] for f in outcome(program(seed))[1]["findings"]})) for seed in range(150)]
    assert sum(not found for found in kinds) >= 15
    assert {kind for found in kinds for kind in found} >= {
        "shared memory race", "shared access out of bounds", "misaligned shared access", "uninitialised shared read",
        "asynchronous copy read before wait", "asynchronous copy overwritten before wait", "partial warp",
    }  # fmt: skip


def numbers(seed):
    """fp32 of every exponent, and the neighbours of each number at which rounding to fp16 or bf16 changes."""
    rng = np.random.default_rng(seed)
    halves = np.arange(0, 0x7C00, 37, dtype=np.uint16).view(np.float16).astype(np.float32)
    between = (halves[:-1] + halves[1:]) / 2
    limits = [0, 1, 0x7F800000, 0x7F7FFFFF, 0x7FC00000, 0x007FFFFF, 0x00800000, 0x477FEFFF, 0x477FF000]
    any_bits = rng.integers(0, 2**32, 4000, dtype=np.uint32)
    others = [bits.view(np.float32) for bits in (np.array(limits, dtype=np.uint32), any_bits, any_bits & 0xFFFF8000)]
    near = [(x.view(np.uint32) + np.uint32(step)).view(np.float32) for x in (halves, between) for step in (0, 1)]
    found = np.concatenate([*near, *others])
    return rng.permutation(np.concatenate([found, -found]))


@pytest.mark.parametrize(
    ("opcode", "count"),
    [
        *((f"{name}{nan}.f32", 2) for name in ("min", "max") for nan in ("", ".NaN")),
        ("fma.rn.f32", 3), ("fma.rn.ftz.f32", 3), ("cvt.rn.f16x2.f32", 2), ("cvt.rn.bf16x2.f32", 2),
    ],
)  # fmt: skip
def test_numbers_of_every_kind(opcode, count, monkeypatch):
    inputs = [numbers(seed) for seed in range(count)]
    inputs[1][:500] = -inputs[0][:500]  # sums that vanish
    for values, first in zip(inputs, ([0, -0.0, 0, -0.0], [0, 0, -0.0, -0.0], [-1e-40] * 4), strict=False):
        values[:4] = first
    out = np.uint32 if "x2" in opcode else np.float32
    with np.errstate(all="ignore"):
        found = kernels.elementwise(opcode, inputs, out)
        monkeypatch.setattr(native, "fast", None)
        np.testing.assert_array_equal(found, kernels.elementwise(opcode, inputs, out))
    if out == np.float32:
        signs = np.signbit(found) | np.isnan(found)
        np.testing.assert_array_equal(signs, np.signbit(kernels.elementwise(opcode, inputs, out)) | np.isnan(found))
