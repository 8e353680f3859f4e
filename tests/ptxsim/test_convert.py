"""cvt between all types against Python's numbers and torch."""

import math

import numpy as np
import pytest
import torch

from tests.ptxsim.kernels import as_double, elementwise, floats, halves, integers

INTEGERS = ["u16", "s16", "u32", "s32", "u64", "s64"]


def numpy_type(kind):
    return {"u": "uint", "s": "int", "f": "float"}[kind[0]] + kind[1:]


@pytest.mark.parametrize("source", INTEGERS)
@pytest.mark.parametrize("target", INTEGERS)
def test_integers_to_integers(source, target):
    x = integers(np.random.default_rng(1), numpy_type(source))
    got = elementwise(f"cvt.{target}.{source}", [x], numpy_type(target))
    np.testing.assert_array_equal(got, x.astype(numpy_type(target)))


def test_bytes_fill_their_register():
    x = integers(np.random.default_rng(2), "uint16")
    np.testing.assert_array_equal(elementwise("cvt.s32.s8", [x], np.int32), x.astype(np.int8))
    np.testing.assert_array_equal(elementwise("cvt.u32.u8", [x], np.uint32), x.astype(np.uint8))
    np.testing.assert_array_equal(elementwise("cvt.s16.s8", [x], np.int16), x.astype(np.int8))


def test_saturating_integers():
    x = integers(np.random.default_rng(3), "int32")
    np.testing.assert_array_equal(elementwise("cvt.sat.s16.s32", [x], np.int16), np.clip(x, -(2**15), 2**15 - 1))
    np.testing.assert_array_equal(elementwise("cvt.sat.u8.s32", [x], np.uint16), np.clip(x, 0, 255))
    np.testing.assert_array_equal(elementwise("cvt.sat.u32.s32", [x], np.uint32), np.clip(x, 0, None))


@pytest.mark.parametrize("mode", ["rni", "rzi", "rmi", "rpi"])
@pytest.mark.parametrize("target", ["s16", "u32", "s32", "s64", "u64"])
def test_floats_to_integers_clamp(target, mode):
    x = floats(np.random.default_rng(4))
    x[:6] = [0.5, 1.5, -0.5, 2.5, 1e20, -1e20]
    info = np.iinfo(numpy_type(target))
    function = {"rni": round, "rzi": math.trunc, "rmi": math.floor, "rpi": math.ceil}[mode]

    def one(v):
        if math.isnan(v):
            return 0
        if math.isinf(v):
            return info.max if v > 0 else info.min
        return max(info.min, min(info.max, function(v)))

    got = elementwise(f"cvt.{mode}.{target}.f32", [x], numpy_type(target))
    assert got.tolist() == [one(v) for v in x.tolist()]


@pytest.mark.parametrize("source", INTEGERS)
def test_integers_to_floats(source):
    x = integers(np.random.default_rng(5), numpy_type(source))
    np.testing.assert_array_equal(elementwise(f"cvt.rn.f32.{source}", [x], np.float32), x.astype(np.float32))
    np.testing.assert_array_equal(elementwise(f"cvt.rn.f64.{source}", [x], np.float64), x.astype(np.float64))
    toward_zero = elementwise(f"cvt.rz.f32.{source}", [x], np.float32)
    if "64" not in source:
        assert all(abs(int(f)) <= abs(int(i)) for f, i in zip(toward_zero, x, strict=True))


def test_between_float_types():
    x = floats(np.random.default_rng(6))
    x[:4] = [65520, 65519, 2.0**-25, 3e-8]
    t = torch.from_numpy(x)
    for kind, dtype in (("f16", torch.float16), ("bf16", torch.bfloat16)):
        got = elementwise(f"cvt.rn.{kind}.f32", [x], np.uint16)
        expected = t.to(dtype)
        number = ~torch.isnan(t).numpy()
        np.testing.assert_array_equal(got[number], expected.view(torch.int16).numpy().view(np.uint16)[number])
        assert np.isnan(as_double(got[~number], kind)).all()
        bits = halves(np.random.default_rng(7), kind)
        np.testing.assert_array_equal(elementwise(f"cvt.f32.{kind}", [bits], np.float32), as_double(bits, kind))
    np.testing.assert_array_equal(elementwise("cvt.f64.f32", [x], np.float64), x.astype(np.float64))
    d = np.random.default_rng(8).standard_normal(100)
    np.testing.assert_array_equal(elementwise("cvt.rn.f32.f64", [d], np.float32), d.astype(np.float32))


def test_pairs_put_the_first_operand_high():
    rng = np.random.default_rng(9)
    a, b = (rng.standard_normal(100).astype(np.float32) for _ in range(2))
    for kind, dtype in (("f16", torch.float16), ("bf16", torch.bfloat16)):
        got = elementwise(f"cvt.rn.{kind}x2.f32", [a, b], np.uint32)
        high, low = (torch.from_numpy(x).to(dtype).view(torch.int16).numpy().view(np.uint16) for x in (a, b))
        np.testing.assert_array_equal(got, high.astype(np.uint32) << 16 | low)
    got = elementwise("cvt.rn.relu.bf16x2.f32", [a, b], np.uint32)
    assert (got & 0x80008000 == 0).all()


def test_round_to_integral():
    x = np.array([0.5, 1.5, -0.5, -1.25, 1e10, np.inf, np.nan], dtype=np.float32)
    for mode, function in {"rni": np.rint, "rzi": np.trunc, "rmi": np.floor, "rpi": np.ceil}.items():
        np.testing.assert_array_equal(elementwise(f"cvt.{mode}.f32.f32", [x], np.float32), function(x))


def test_tf32():
    x = floats(np.random.default_rng(10))
    x[:3] = np.array([0x3F801000, 0x3F800FFF, 0x3F803000], dtype=np.uint32).view(np.float32)
    got = elementwise("cvt.rna.tf32.f32", [x], np.uint32)
    number = np.isfinite(x)
    exact = x[number].astype(np.float64)
    step = 2.0 ** (np.floor(np.log2(np.maximum(np.abs(exact), 2.0**-126))) - 10)
    expected = np.copysign(np.floor(np.abs(exact) / step + 0.5) * step, exact)
    np.testing.assert_array_equal(got[number].view(np.float32), expected.astype(np.float32))
    assert (got[number] & 0x1FFF == 0).all()


def test_saturating_float():
    x = np.array([-3, 0.25, 7, np.nan], dtype=np.float32)
    np.testing.assert_array_equal(elementwise("cvt.sat.f32.f32", [x], np.float32), [0, 0.25, 1, 0])
