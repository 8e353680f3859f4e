"""Integer and bit instructions compared with Python's integers."""

import math

import numpy as np
import pytest

from tests.ptxsim.kernels import elementwise, integers, run

TYPES = ["u16", "s16", "u32", "s32", "u64", "s64"]
NUMPY = {"u": "uint", "s": "int", "b": "uint"}


def numpy_type(kind):
    return NUMPY[kind[0]] + kind[1:]


def wrapped(values, kind):
    """Python integers modulo 2**n, as the numpy type."""
    bits = int(kind[1:])
    unsigned = np.array([int(v) % 2**bits for v in values], dtype=f"uint{bits}")
    return unsigned.view(numpy_type(kind))


def check(opcode, kind, function, count, out=None, seed=0, wide_third=False):
    rng = np.random.default_rng([seed, len(opcode), TYPES.index(kind)])
    inputs = [integers(rng, numpy_type(kind)) for _ in range(count)]
    out = out or kind
    if wide_third:
        inputs[2] = integers(rng, numpy_type(out))
    got = elementwise(opcode, inputs, numpy_type(out))
    expected = wrapped([function(*map(int, values)) for values in zip(*inputs, strict=True)], out)
    np.testing.assert_array_equal(got, expected)


def quotient(a, b):
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


@pytest.mark.parametrize("kind", TYPES)
def test_arithmetic(kind):
    bits = int(kind[1:])
    check(f"add.{kind}", kind, lambda a, b: a + b, 2)
    check(f"sub.{kind}", kind, lambda a, b: a - b, 2)
    check(f"mul.lo.{kind}", kind, lambda a, b: a * b, 2)
    check(f"mul.hi.{kind}", kind, lambda a, b: (a * b) >> bits, 2)
    check(f"mad.lo.{kind}", kind, lambda a, b, c: a * b + c, 3)
    check(f"min.{kind}", kind, min, 2)
    check(f"max.{kind}", kind, max, 2)
    check(f"sad.{kind}", kind, lambda a, b, c: c + abs(a - b), 3)
    if kind[0] == "s":
        check(f"abs.{kind}", kind, abs, 1)
        check(f"neg.{kind}", kind, lambda a: -a, 1)


@pytest.mark.parametrize("kind", ["u16", "s16", "u32", "s32"])
def test_wide_products(kind):
    out = f"{kind[0]}{2 * int(kind[1:])}"
    check(f"mul.wide.{kind}", kind, lambda a, b: a * b, 2, out=out)
    check(f"mad.wide.{kind}", kind, lambda a, b, c: a * b + c, 3, out=out, wide_third=True)


@pytest.mark.parametrize("kind", TYPES)
def test_division(kind):
    rng = np.random.default_rng(TYPES.index(kind))
    a, b = (integers(rng, numpy_type(kind)) for _ in range(2))
    b[b == 0] = 3
    pairs = [(int(x), int(y)) for x, y in zip(a, b, strict=True)]
    np.testing.assert_array_equal(
        elementwise(f"div.{kind}", [a, b], numpy_type(kind)), wrapped([quotient(x, y) for x, y in pairs], kind)
    )
    np.testing.assert_array_equal(
        elementwise(f"rem.{kind}", [a, b], numpy_type(kind)), wrapped([x - y * quotient(x, y) for x, y in pairs], kind)
    )


@pytest.mark.parametrize("bits", [16, 32, 64])
def test_logic(bits):
    kind = f"u{bits}"
    for name, function in {"and": int.__and__, "or": int.__or__, "xor": int.__xor__}.items():
        check(f"{name}.b{bits}", kind, function, 2)
    check(f"not.b{bits}", kind, lambda a: ~a, 1)
    check(f"cnot.b{bits}", kind, lambda a: a == 0, 1)


@pytest.mark.parametrize("kind", TYPES)
def test_shifts_clamp(kind):
    rng = np.random.default_rng(5)
    a = integers(rng, numpy_type(kind))
    n = rng.integers(0, 80, len(a)).astype(np.uint32)
    n[:3] = [2**32 - 1, 256, int(kind[1:])]
    right = wrapped([int(x) >> int(y) for x, y in zip(a, n, strict=True)], kind)
    np.testing.assert_array_equal(elementwise(f"shr.{kind}", [a, n], numpy_type(kind)), right)
    left = wrapped([int(x) << int(y) if y < 100 else 0 for x, y in zip(a, n, strict=True)], kind)
    np.testing.assert_array_equal(elementwise(f"shl.b{kind[1:]}", [a, n], numpy_type(kind)), left)


@pytest.mark.parametrize("mode", ["wrap", "clamp"])
@pytest.mark.parametrize("side", ["l", "r"])
def test_funnel_shift(side, mode):
    rng = np.random.default_rng(6)
    low, high = (integers(rng, "uint32") for _ in range(2))
    n = rng.integers(0, 70, len(low)).astype(np.uint32)
    expected = []
    for x, y, c in zip(low.tolist(), high.tolist(), n.tolist(), strict=True):
        c = c & 31 if mode == "wrap" else min(c, 32)
        wide = y << 32 | x
        expected.append((wide << c) >> 32 & 0xFFFFFFFF if side == "l" else wide >> c & 0xFFFFFFFF)
    np.testing.assert_array_equal(elementwise(f"shf.{side}.{mode}.b32", [low, high, n], np.uint32), expected)


@pytest.mark.parametrize("kind", ["u32", "s32", "u64", "s64"])
def test_bit_field_extract(kind):
    """Follows the loop in the PTX ISA."""
    bits = int(kind[1:])
    rng = np.random.default_rng(7)
    a = integers(rng, numpy_type(kind), 600)
    position, length = (rng.integers(0, bits + 8, 600).astype(np.uint32) for _ in range(2))
    expected = []
    for x, p, n in zip(a.tolist(), position.tolist(), length.tolist(), strict=True):
        x %= 2**bits
        sign = 0 if kind[0] == "u" or n == 0 else x >> min(p + n - 1, bits - 1) & 1
        expected.append(sum((x >> (p + i) & 1 if i < n and p + i < bits else sign) << i for i in range(bits)))
    np.testing.assert_array_equal(elementwise(f"bfe.{kind}", [a, position, length], numpy_type(kind)), wrapped(expected, kind))


@pytest.mark.parametrize("bits", [32, 64])
def test_bit_field_insert(bits):
    rng = np.random.default_rng(8)
    a, b = (integers(rng, f"uint{bits}", 600) for _ in range(2))
    position, length = (rng.integers(0, bits + 8, 600).astype(np.uint32) for _ in range(2))
    expected = []
    for x, y, p, n in zip(a.tolist(), b.tolist(), position.tolist(), length.tolist(), strict=True):
        for i in range(n):
            if p + i < bits:
                y = y & ~(1 << (p + i)) | (x >> i & 1) << (p + i)
        expected.append(y)
    np.testing.assert_array_equal(elementwise(f"bfi.b{bits}", [a, b, position, length], f"uint{bits}"), expected)


def test_permute_bytes():
    rng = np.random.default_rng(9)
    a, b, selector = (integers(rng, "uint32") for _ in range(3))
    expected = []
    for x, y, s in zip(a.tolist(), b.tolist(), selector.tolist(), strict=True):
        data = x.to_bytes(4, "little") + y.to_bytes(4, "little")
        out = []
        for i in range(4):
            n = s >> 4 * i & 15
            byte = data[n & 7]
            out.append((255 if byte & 128 else 0) if n & 8 else byte)
        expected.append(int.from_bytes(bytes(out), "little"))
    np.testing.assert_array_equal(elementwise("prmt.b32", [a, b, selector], np.uint32), expected)


@pytest.mark.parametrize("table", [0x96, 0xEA, 0x1B, 0x00, 0xFF, 0x40])
def test_three_input_logic(table):
    rng = np.random.default_rng(table)
    a, b, c = (integers(rng, "uint32") for _ in range(3))
    expected = np.zeros_like(a)
    for i in range(32):
        row = (a >> i & 1) << 2 | (b >> i & 1) << 1 | c >> i & 1
        expected |= (np.uint32(table) >> row & 1) << np.uint32(i)
    np.testing.assert_array_equal(elementwise("lop3.b32", [a, b, c], np.uint32, extra=f", {table:#x}"), expected)


@pytest.mark.parametrize("bits", [32, 64])
def test_counting_bits(bits):
    x = integers(np.random.default_rng(10), f"uint{bits}")
    expected = {
        "popc": [v.bit_count() for v in x.tolist()],
        "clz": [bits - v.bit_length() for v in x.tolist()],
    }
    for name, counts in expected.items():
        np.testing.assert_array_equal(elementwise(f"{name}.b{bits}", [x], np.uint32), counts)
    reverse = [int(f"{v:0{bits}b}"[::-1], 2) for v in x.tolist()]
    np.testing.assert_array_equal(elementwise(f"brev.b{bits}", [x], x.dtype), reverse)
    top = [v.bit_length() - 1 if v else 2**32 - 1 for v in x.tolist()]
    np.testing.assert_array_equal(elementwise(f"bfind.u{bits}", [x], np.uint32), top)
    amount = [bits - v.bit_length() if v else 2**32 - 1 for v in x.tolist()]
    np.testing.assert_array_equal(elementwise(f"bfind.shiftamt.u{bits}", [x], np.uint32), amount)
    signed = [(~v if v < 0 else v).bit_length() - 1 for v in x.view(f"int{bits}").tolist()]
    np.testing.assert_array_equal(elementwise(f"bfind.s{bits}", [x], np.uint32).view(np.int32), signed)


def test_dot_product_of_bytes():
    rng = np.random.default_rng(11)
    a, b, c = (integers(rng, "uint32") for _ in range(3))
    x = a[:, None].view(np.uint8).astype(np.int64)
    y = b[:, None].view(np.int8).astype(np.int64)
    expected = ((x * y).sum(axis=1) + c.view(np.int32)) % 2**32
    np.testing.assert_array_equal(elementwise("dp4a.u32.s32", [a, b, c], np.uint32), expected)


COMPARISONS = {
    "eq": lambda a, b: a == b, "ne": lambda a, b: a != b, "lt": lambda a, b: a < b, "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b, "ge": lambda a, b: a >= b,
}  # fmt: skip


@pytest.mark.parametrize("kind", TYPES)
def test_comparisons(kind):
    rng = np.random.default_rng(12)
    a, b = (integers(rng, numpy_type(kind)) for _ in range(2))
    b[::5] = a[::5]
    names = COMPARISONS | (
        {"lo": COMPARISONS["lt"], "ls": COMPARISONS["le"], "hi": COMPARISONS["gt"], "hs": COMPARISONS["ge"]}
        if kind[0] == "u"
        else {}
    )
    for name, function in names.items():
        got = elementwise(f"setp.{name}.{kind}", [a, b], np.uint32, predicate=True)
        np.testing.assert_array_equal(got, function(a, b))


FLOAT_COMPARISONS = {
    "eq": lambda a, b: a == b, "ne": lambda a, b: a < b or a > b, "lt": lambda a, b: a < b, "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b, "ge": lambda a, b: a >= b, "num": lambda a, b: not math.isnan(a) and not math.isnan(b),
}  # fmt: skip
UNORDERED = {"equ": "eq", "neu": "ne", "ltu": "lt", "leu": "le", "gtu": "gt", "geu": "ge"}


def test_comparisons_of_floats_with_nan():
    values = [0.0, -0.0, 1.5, -2.0, math.inf, -math.inf, math.nan]
    a, b = (np.array(x, dtype=np.float32) for x in zip(*[(x, y) for x in values for y in values], strict=True))
    expected = {n: [f(x, y) for x, y in zip(a.tolist(), b.tolist(), strict=True)] for n, f in FLOAT_COMPARISONS.items()}
    nan = [not e for e in expected["num"]]
    expected["nan"] = nan
    for name, ordered in UNORDERED.items():
        expected[name] = [e or n for e, n in zip(expected[ordered], nan, strict=True)]
    for name, wanted in expected.items():
        for kind, convert in {
            "f32": lambda x: x,
            "f64": lambda x: x.astype(np.float64),
            "f16": lambda x: x.astype(np.float16),
            "bf16": lambda x: (x.view(np.uint32) >> 16).astype(np.uint16),
        }.items():
            got = elementwise(f"setp.{name}.{kind}", [convert(a), convert(b)], np.uint32, predicate=True)
            np.testing.assert_array_equal(got, wanted, err_msg=f"{name} {kind}")


@pytest.mark.parametrize("combine", ["and", "or", "xor"])
def test_comparison_with_two_results_and_a_predicate(combine):
    rng = np.random.default_rng(13)
    x = integers(rng, "int32", 64)
    out = np.zeros(64, dtype=np.int32)
    body = f"""mul.wide.u32 %rd10, %r0, 4;
add.s64 %rd11, %rd0, %rd10;
add.s64 %rd12, %rd1, %rd10;
ld.global.b32 %r10, [%rd11];
setp.lt.u32 %p1, %r0, 20;
setp.gt.{combine}.s32 %p2|%p3, %r10, 3, !%p1;
selp.b32 %r11, 1, 0, %p2;
selp.b32 %r12, 2, 0, %p3;
add.s32 %r11, %r11, %r12;
st.global.b32 [%rd12], %r11;"""
    run(body, [x, out], grid=2)
    late = np.arange(64) >= 20
    function = {"and": np.logical_and, "or": np.logical_or, "xor": np.logical_xor}[combine]
    np.testing.assert_array_equal(out, function(x > 3, late) + 2 * function(x <= 3, late))


def test_set_gives_numbers():
    x = np.array([1.5, -2, np.nan, 0], dtype=np.float16)
    y = np.array([1.5, 3, 1, -0.0], dtype=np.float16)
    np.testing.assert_array_equal(elementwise("set.eq.f16.f16", [x, y], np.float16), [1, 0, 0, 1])
    np.testing.assert_array_equal(elementwise("set.lt.u32.f16", [x, y], np.uint32), [0, 2**32 - 1, 0, 0])


def test_additions_with_carry():
    """128-bit sums and products from 32-bit pieces."""
    rng = np.random.default_rng(14)
    pieces = [integers(rng, "uint32", 64) for _ in range(6)]
    out = np.zeros((64, 3), dtype=np.uint32)
    loads = "\n".join(f"add.s64 %rd20, %rd{i}, %rd10;\nld.global.b32 %r{20 + i}, [%rd20];" for i in range(6))
    body = f"""mul.wide.u32 %rd10, %r0, 4;
mad.wide.u32 %rd11, %r0, 12, %rd6;
{loads}
OPS
st.global.b32 [%rd11], %r30;
st.global.b32 [%rd11+4], %r31;
st.global.b32 [%rd11+8], %r32;"""

    def wide(a):
        return [sum(int(p[i]) << 32 * k for k, p in enumerate(a)) for i in range(64)]

    def result():
        return [int.from_bytes(row.tobytes(), "little") for row in out]

    add = "add.cc.u32 %r30, %r20, %r23;\naddc.cc.u32 %r31, %r21, %r24;\naddc.u32 %r32, %r22, %r25;"
    run(body.replace("OPS", add), [*pieces, out], grid=2)
    assert result() == [(x + y) % 2**96 for x, y in zip(wide(pieces[:3]), wide(pieces[3:]), strict=True)]
    subtract = "sub.cc.u32 %r30, %r20, %r23;\nsubc.cc.u32 %r31, %r21, %r24;\nsubc.u32 %r32, %r22, %r25;"
    run(body.replace("OPS", subtract), [*pieces, out], grid=2)
    assert result() == [(x - y) % 2**96 for x, y in zip(wide(pieces[:3]), wide(pieces[3:]), strict=True)]
    # (r21:r20) * r23 + r24, three words
    multiply = """mad.lo.cc.u32 %r30, %r20, %r23, %r24;
madc.hi.u32 %r33, %r20, %r23, 0;
mad.lo.cc.u32 %r31, %r21, %r23, %r33;
madc.hi.u32 %r32, %r21, %r23, 0;"""
    run(body.replace("OPS", multiply), [*pieces, out], grid=2)
    assert result() == [x * int(y) + int(z) for x, y, z in zip(wide(pieces[:2]), pieces[3], pieces[4], strict=True)]


def test_saturating_addition():
    rng = np.random.default_rng(15)
    a, b = (integers(rng, "int32") for _ in range(2))
    got = elementwise("add.sat.s32", [a, b], np.int32)
    np.testing.assert_array_equal(got, np.clip(a.astype(np.int64) + b, -(2**31), 2**31 - 1))


@pytest.mark.parametrize("kind", ["s16x2", "u16x2"])
def test_pairs_of_16_bits(kind):
    rng = np.random.default_rng(6)
    a, b = (rng.integers(0, 2**32, 256, dtype=np.uint32) for _ in range(2))
    x, y = (v.view(np.int16 if kind == "s16x2" else np.uint16) for v in (a, b))
    for name, function in (("add", np.add), ("min", np.minimum), ("max", np.maximum)):
        np.testing.assert_array_equal(elementwise(f"{name}.{kind}", [a, b], np.uint32), function(x, y).view(np.uint32))
