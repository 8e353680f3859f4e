"""Atomics in sequence, in global and shared memory."""

import numpy as np
import pytest

from tests.ptxsim.kernels import integers, run

N = 192
HEAD = """mul.wide.u32 %rd10, %r0, 4;
add.s64 %rd11, %rd0, %rd10;
ld.global.b32 %r10, [%rd11];
add.s64 %rd12, %rd1, %rd10;
ld.global.b32 %r11, [%rd12];
mul.wide.u32 %rd13, %r10, 4;
add.s64 %rd14, %rd2, %rd13;
add.s64 %rd15, %rd3, %rd10;
"""

OPERATORS = {
    "add.u32": lambda old, x: old + x,
    "min.s32": lambda old, x: min(signed(old), signed(x)),
    "max.s32": lambda old, x: max(signed(old), signed(x)),
    "min.u32": min,
    "max.u32": max,
    "and.b32": lambda old, x: old & x,
    "or.b32": lambda old, x: old | x,
    "xor.b32": lambda old, x: old ^ x,
    "exch.b32": lambda old, x: x,
    "inc.u32": lambda old, x: 0 if old >= x else old + 1,
    "dec.u32": lambda old, x: x if old == 0 or old > x else old - 1,
}


def signed(x):
    return x - 2**32 if x >= 2**31 else x


def sequential(cells, where, x, function):
    found = []
    for i, v in zip(where.tolist(), x.tolist(), strict=True):
        found.append(cells[i])
        cells[i] = function(cells[i], v) % 2**32
    return found


@pytest.mark.parametrize("name", OPERATORS)
def test_global(name):
    rng = np.random.default_rng(len(name))
    where, x = rng.integers(0, 7, N).astype(np.int32), integers(rng, "uint32", N)
    cells, found = integers(rng, "uint32", 28)[:7].copy(), np.zeros(N, dtype=np.uint32)
    start = cells.tolist()
    report = run(HEAD + f"atom.global.gpu.acq_rel.{name} %r12, [%rd14], %r11;\nst.global.b32 [%rd15], %r12;",
                 [where, x, cells, found], grid=3, block=64)  # fmt: skip
    expected = sequential(start, where, x, OPERATORS[name])
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(cells, start)
    assert report.atomic_operations == N


def test_compare_and_swap():
    rng = np.random.default_rng(1)
    where = rng.integers(0, 3, N).astype(np.int32)
    x = rng.integers(0, 4, N).astype(np.uint32)
    cells, found = np.zeros(3, dtype=np.uint32), np.zeros(N, dtype=np.uint32)
    run(HEAD + "add.s32 %r13, %r11, 1;\natom.global.cas.b32 %r12, [%rd14], %r11, %r13;\nst.global.b32 [%rd15], %r12;",
        [where, x, cells, found], grid=3, block=64)  # fmt: skip
    start = [0, 0, 0]
    expected = sequential(start, where, x, lambda old, v: v + 1 if old == v else old)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(cells, start)


def test_reduction_of_floats_by_some_threads():
    rng = np.random.default_rng(2)
    where, x = rng.integers(0, 5, N).astype(np.int32), rng.standard_normal(N).astype(np.float32)
    cells, out = np.zeros(5, dtype=np.float32), np.zeros(N, dtype=np.float32)
    run(HEAD + "setp.gt.u32 %p1, %r1, 9;\n@%p1 red.global.add.f32 [%rd14], %r11;", [where, x, cells, out], grid=3, block=64)
    expected = np.zeros(5, dtype=np.float32)
    for i in range(N):
        if i % 64 > 9:
            expected[where[i]] += x[i]
    np.testing.assert_array_equal(cells, expected)


def test_half_and_pairs_and_doubles():
    rng = np.random.default_rng(3)
    x = rng.standard_normal((N, 2)).astype(np.float16)
    cells = np.zeros((5, 2), dtype=np.float16)
    where = rng.integers(0, 5, N).astype(np.int32)
    out = np.zeros(N, dtype=np.float32)
    run(HEAD + "red.global.add.noftz.f16x2 [%rd14], %r11;", [where, x, cells, out], grid=3, block=64)
    expected = np.zeros((5, 2), dtype=np.float16)
    for i in range(N):
        expected[where[i]] += x[i]
    np.testing.assert_array_equal(cells, expected)


@pytest.mark.parametrize("verb", ["atom", "red"])
def test_vectors(verb):
    rng = np.random.default_rng(5)
    where, x = rng.integers(0, 5, N).astype(np.int32), rng.standard_normal(N).astype(np.float32)
    cells, found = np.zeros((5, 2), dtype=np.float32), np.zeros(N, dtype=np.float32)
    target = "{%r20, %r21}, " if verb == "atom" else ""
    body = (
        HEAD
        + f"""shl.b64 %rd13, %rd13, 1;
add.s64 %rd14, %rd2, %rd13;
neg.f32 %r12, %r11;
mov.u32 %r21, 0;
{verb}.global.gpu.relaxed.add.v2.f32 {target}[%rd14], {{%r11, %r12}};
st.global.b32 [%rd15], %r21;"""
    )
    run(body, [where, x, cells, found], grid=3, block=64)
    expected, before = np.zeros(5, dtype=np.float32), []
    for i in range(N):
        before.append(-expected[where[i]])
        expected[where[i]] += x[i]
    np.testing.assert_array_equal(cells, np.stack([expected, -expected], axis=1))
    np.testing.assert_array_equal(found, before if verb == "atom" else np.zeros(N))


def test_shared():
    rng = np.random.default_rng(4)
    where, x = rng.integers(0, 16, N).astype(np.int32), integers(rng, "uint32", N)
    cells, found = np.zeros(N, dtype=np.uint32), np.zeros(N, dtype=np.uint32)
    body = (
        HEAD
        + """mov.u32 %r6, s;
shl.b32 %r7, %r1, 2;
add.s32 %r8, %r6, %r7;
mov.u32 %r9, 0;
st.shared.b32 [%r8], %r9;
bar.sync 0;
shl.b32 %r7, %r10, 2;
add.s32 %r7, %r6, %r7;
atom.shared.add.u32 %r12, [%r7], %r11;
st.global.b32 [%rd15], %r12;
bar.sync 0;
ld.shared.b32 %r13, [%r8];
add.s64 %rd16, %rd2, %rd10;
st.global.b32 [%rd16], %r13;"""
    )
    run(body, [where, x, cells, found], grid=3, block=64, declarations=".shared .align 4 .b8 s[256];")
    for block in range(3):
        rows = slice(64 * block, 64 * block + 64)
        start = [0] * 64
        np.testing.assert_array_equal(found[rows], sequential(start, where[rows], x[rows], OPERATORS["add.u32"]))
        np.testing.assert_array_equal(cells[rows], start)
