"""ldmatrix, stmatrix and mma: each lane's elements by the formulas of the PTX ISA, with data without symmetry."""

import numpy as np
import pytest

from tests.ptxsim.kernels import run

WARPS = 2


def out_registers(count):
    """Each thread stores `count` registers, %r20 …, side by side."""
    lines = [f"mad.wide.u32 %rd20, %r0, {4 * count}, %rd1;"]
    return "\n".join(lines + [f"st.global.b32 [%rd20+{4 * i}], %r{20 + i};" for i in range(count)])


def fill_shared(words):
    """Words of the first buffer into shared memory at `s`, from all 64 threads."""
    lines = [
        "mov.u32 %r6, s;",
        "shl.b32 %r5, %r1, 2;",
        "add.s32 %r7, %r6, %r5;",
        "cvt.u64.u32 %rd10, %r5;",
        "add.s64 %rd11, %rd0, %rd10;",
    ]
    for i in range(words // 64):
        lines += [f"ld.global.b32 %r10, [%rd11+{256 * i}];", f"st.shared.b32 [%r7+{256 * i}], %r10;"]
    return "\n".join([*lines, "bar.sync 0;"])


@pytest.mark.parametrize("trans", [False, True])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_ldmatrix(count, trans):
    rng = np.random.default_rng(count)
    data = np.arange(2048, dtype=np.uint16)
    rows = rng.permutation(128)[:64].reshape(WARPS, 32)  # each thread's row of 8 halves
    out = np.zeros((64, count), dtype=np.uint32)
    names = ", ".join(f"%r{20 + i}" for i in range(count))
    body = f"""{fill_shared(1024)}
mul.wide.u32 %rd12, %r1, 4;
add.s64 %rd13, %rd2, %rd12;
ld.global.b32 %r11, [%rd13];
shl.b32 %r11, %r11, 4;
add.s32 %r11, %r6, %r11;
ldmatrix.sync.aligned.m8n8.x{count}{".trans" if trans else ""}.shared.b16 {{{names}}}, [%r11];
{out_registers(count)}"""
    run(body, [data, out, rows.astype(np.int32)], block=64, declarations=".shared .align 16 .b8 s[4096];")
    for warp in range(WARPS):
        for lane in range(32):
            for i in range(count):
                matrix = [[int(rows[warp, 8 * i + r]) * 8 + c for c in range(8)] for r in range(8)]
                if trans:
                    matrix = [list(column) for column in zip(*matrix, strict=True)]
                low, high = (matrix[lane // 4][2 * (lane % 4) + e] for e in (0, 1))
                assert out[warp * 32 + lane, i] == low | high << 16


def test_ldmatrix_takes_addresses_of_its_rows_only():
    """Threads from 8 on may hold any value for .x1."""
    out = np.zeros((64, 1), dtype=np.uint32)
    body = f"""{fill_shared(64)}
and.b32 %r8, %r1, 31;
setp.lt.u32 %p1, %r8, 8;
shl.b32 %r9, %r8, 4;
add.s32 %r9, %r6, %r9;
selp.b32 %r11, %r9, 123457, %p1;
ldmatrix.sync.aligned.m8n8.x1.shared.b16 {{%r20}}, [%r11];
{out_registers(1)}"""
    run(body, [np.arange(128, dtype=np.uint16), out], block=64, declarations=".shared .align 16 .b8 s[256];")
    assert out[:32, 0].tolist() == [2 * i | (2 * i + 1) << 16 for i in range(32)]


@pytest.mark.parametrize("trans", [False, True])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_stmatrix_is_the_inverse_of_ldmatrix(count, trans):
    data = np.random.default_rng(3).integers(0, 2**32, (64, 4), dtype=np.uint32)
    out = np.zeros((64, count), dtype=np.uint32)
    names = [f"%r{i}" for i in range(30, 30 + count)]
    mode = ".trans" if trans else ""
    body = f"""mad.wide.u32 %rd20, %r0, 16, %rd0;
ld.global.v4.b32 {{%r30, %r31, %r32, %r33}}, [%rd20];
mov.u32 %r6, s;
xor.b32 %r8, %r1, 5;
shl.b32 %r8, %r8, 4;
add.s32 %r11, %r6, %r8;
stmatrix.sync.aligned.m8n8.x{count}{mode}.shared.b16 [%r11], {{{", ".join(names)}}};
ldmatrix.sync.aligned.m8n8.x{count}{mode}.shared.b16 {{{", ".join(f"%r{20 + i}" for i in range(count))}}}, [%r11];
{out_registers(count)}"""
    run(body, [data, out], block=64, declarations=".shared .align 16 .b8 s[1024];")
    np.testing.assert_array_equal(out, data[:, :count])


def test_stmatrix_layout():
    """Thread 0 of matrix 1, transposed: its two halves go to rows 0 and 1 of column 0."""
    data = np.zeros((64, 4), dtype=np.uint32)
    data[0, 1] = 0xBEEF_1234
    data[5, 0] = 0x0007_0009
    words = np.zeros((64, 8), dtype=np.uint32)
    body = """mad.wide.u32 %rd20, %r0, 16, %rd0;
ld.global.v4.b32 {%r30, %r31, %r32, %r33}, [%rd20];
mov.u32 %r6, s;
shl.b32 %r8, %r1, 4;
add.s32 %r11, %r6, %r8;
stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%r11], {%r30, %r31, %r32, %r33};
bar.sync 0;
shl.b32 %r8, %r1, 4;
add.s32 %r12, %r6, %r8;
ld.shared.v4.b32 {%r20, %r21, %r22, %r23}, [%r12];
mad.wide.u32 %rd21, %r0, 32, %rd1;
st.global.v4.b32 [%rd21], {%r20, %r21, %r22, %r23};"""
    run(body, [data, words], block=64, declarations=".shared .align 16 .b8 s[1024];")
    halves = words[:, :4].copy().view(np.uint16)
    # Matrix 1, stored transposed: element (row 2 (lane % 4) + e, column lane // 4).
    assert halves[8, 0] == 0x1234
    assert halves[9, 0] == 0xBEEF
    # Lane 5: rows 2 and 3 of column 1 of matrix 0.
    assert halves[2, 1] == 9
    assert halves[3, 1] == 7


def a_place(kind, k, lane, register, element):
    """Row and column in A (16 × k) of an element of a register (PTX ISA, m16n8k4/8/16)."""
    group, thread = lane >> 2, lane % 4
    if kind == "tf32":
        return group + 8 * (register % 2), thread + 4 * (register // 2)
    i = 2 * register + element
    row = group if i in (0, 1, 4, 5) else group + 8
    return row, thread * 2 + (i & 1) + (8 if i >= 4 else 0)


def b_place(kind, k, lane, register, element):
    group, thread = lane >> 2, lane % 4
    if kind == "tf32":
        return thread + 4 * register, group
    i = 2 * register + element
    return thread * 2 + (i & 1) + (8 if i >= 2 else 0), group


def c_place(lane, i):
    group, thread = lane >> 2, lane % 4
    return group + (8 if i >= 2 else 0), thread * 2 + (i & 1)


def encode(x, kind):
    if kind == "f16":
        return x.astype(np.float16).view(np.uint16).astype(np.uint32)
    bits = np.asarray(x, dtype=np.float32).view(np.uint32)
    return bits >> 16 if kind == "bf16" else bits


def fragments(matrix, place, kind, k, registers):
    """(64 threads, registers) words that hold the matrices of two warps."""
    per_word = 1 if kind == "tf32" else 2
    out = np.zeros((64, registers), dtype=np.uint32)
    for warp in range(WARPS):
        bits = encode(matrix[warp], kind)
        for lane in range(32):
            for r in range(registers):
                for e in range(per_word):
                    row, column = place(kind, k, lane, r, e)
                    out[warp * 32 + lane, r] |= bits[row, column] << np.uint32(16 * e)
    return out


def mma(opcode, a, b, c, d_registers):
    """The D registers of two warps, given those of A, B and C."""
    out = np.zeros((64, d_registers), dtype=np.uint32)
    lines = []
    for pointer, first, x in ((0, 20, a), (1, 24, b), (2, 28, c)):
        lines.append(f"mad.wide.u32 %rd20, %r0, {4 * x.shape[1]}, %rd{pointer};")
        lines += [f"ld.global.b32 %r{first + i}, [%rd20+{4 * i}];" for i in range(x.shape[1])]
    names = [
        "{" + ", ".join(f"%r{f + i}" for i in range(n)) + "}"
        for f, n in ((32, d_registers), (20, a.shape[1]), (24, b.shape[1]), (28, c.shape[1]))
    ]
    lines.append(f"{opcode} {', '.join(names)};")
    lines.append(f"mad.wide.u32 %rd20, %r0, {4 * d_registers}, %rd3;")
    lines += [f"st.global.b32 [%rd20+{4 * i}], %r{32 + i};" for i in range(d_registers)]
    return out, run("\n".join(lines), [a, b, c, out], block=64)


SHAPES = [("f16", 16, 4, 2), ("f16", 8, 2, 1), ("bf16", 16, 4, 2), ("bf16", 8, 2, 1), ("tf32", 8, 4, 2), ("tf32", 4, 2, 1)]


@pytest.mark.parametrize(("kind", "k", "a_count", "b_count"), SHAPES)
def test_mma_with_fp32_accumulator(kind, k, a_count, b_count):
    rng = np.random.default_rng(k)
    # Small integers: every product and sum is exact, and all rows and columns differ.
    a, b, c = (rng.integers(-9, 10, (WARPS, *s)).astype(np.float32) for s in ((16, k), (k, 8), (16, 8)))
    c_bits = np.zeros((64, 4), dtype=np.uint32)
    for warp in range(WARPS):
        for lane in range(32):
            for i in range(4):
                c_bits[warp * 32 + lane, i] = c[warp][c_place(lane, i)].view(np.uint32)
    out, report = mma(
        f"mma.sync.aligned.m16n8k{k}.row.col.f32.{kind}.{kind}.f32",
        fragments(a, a_place, kind, k, a_count),
        fragments(b, b_place, kind, k, b_count),
        c_bits,
        4,
    )
    expected = a @ b + c
    for warp in range(WARPS):
        for lane in range(32):
            for i in range(4):
                assert out[warp * 32 + lane, i].view(np.float32) == expected[warp][c_place(lane, i)]
    assert report.mma_multiply_adds == WARPS * 16 * 8 * k


@pytest.mark.parametrize(("k", "a_count", "b_count"), [(16, 4, 2), (8, 2, 1)])
def test_mma_with_fp16_accumulator(k, a_count, b_count):
    rng = np.random.default_rng(k)
    a, b, c = (rng.standard_normal((WARPS, *s)).astype(np.float16) for s in ((16, k), (k, 8), (16, 8)))
    c_bits = np.zeros((64, 2), dtype=np.uint32)
    for warp in range(WARPS):
        for lane in range(32):
            for i in range(4):
                c_bits[warp * 32 + lane, i // 2] |= np.uint32(c[warp][c_place(lane, i)].view(np.uint16)) << np.uint32(
                    16 * (i % 2)
                )
    out, _ = mma(f"mma.sync.aligned.m16n8k{k}.row.col.f16.f16.f16.f16", fragments(a, a_place, "f16", k, a_count),
                 fragments(b, b_place, "f16", k, b_count), c_bits, 2)  # fmt: skip
    expected = (a.astype(np.float64) @ b.astype(np.float64) + c).astype(np.float16)
    halves = out.view(np.uint16).reshape(64, 4)
    for warp in range(WARPS):
        for lane in range(32):
            for i in range(4):
                assert halves[warp * 32 + lane, i] == expected[warp][c_place(lane, i)].view(np.uint16)


def test_tf32_ignores_the_low_13_bits():
    rng = np.random.default_rng(7)
    a, b = (rng.standard_normal((WARPS, *s)).astype(np.float32) for s in ((16, 8), (8, 8)))
    c = np.zeros((64, 4), dtype=np.uint32)
    words = [fragments(a, a_place, "tf32", 8, 4), fragments(b, b_place, "tf32", 8, 2)]
    opcode = "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32"
    full, _ = mma(opcode, *words, c, 4)
    cut, _ = mma(opcode, *[w & np.uint32(0xFFFFE000) for w in words], c, 4)
    noisy, _ = mma(opcode, *[w | np.uint32(0x1FFF) for w in words], c, 4)
    np.testing.assert_array_equal(full, cut)
    np.testing.assert_array_equal(full, noisy)


def test_bits_of_a_product_do_not_depend_on_its_place():
    """Equal rows and columns give equal numbers, whatever their place, warp or block."""
    rng = np.random.default_rng(8)
    row, column = rng.standard_normal(16), rng.standard_normal(16)
    a, b = np.tile(row, (WARPS, 16, 1)).astype(np.float32), np.tile(column[:, None], (WARPS, 1, 8)).astype(np.float32)
    out, _ = mma("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32", fragments(a, a_place, "f16", 16, 4),
                 fragments(b, b_place, "f16", 16, 2), np.zeros((64, 4), np.uint32), 4)  # fmt: skip
    assert len(np.unique(out)) == 1
