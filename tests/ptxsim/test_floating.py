"""fp32 and fp64 arithmetic compared with numpy and exact fractions."""

from fractions import Fraction

import numpy as np
import pytest

from tests.ptxsim.kernels import elementwise, floats


def same(got, expected):
    """Equal bit for bit; every NaN equals NaN."""
    expected = np.asarray(expected, dtype=got.dtype)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(expected))
    bits = f"u{got.dtype.itemsize}"
    number = ~np.isnan(got)
    np.testing.assert_array_equal(got[number].view(bits), expected[number].view(bits))


@pytest.mark.parametrize("kind", ["f32", "f64"])
def test_arithmetic(kind):
    rng = np.random.default_rng(1)
    dtype = np.dtype(f"float{kind[1:]}")
    a, b = (floats(rng).astype(dtype) for _ in range(2))
    with np.errstate(all="ignore"):
        for opcode, expected in {
            "add": a + b, "add.rn": a + b, "sub": a - b, "mul": a * b, "div.rn": a / b,
            "min": np.fmin(a, b), "max": np.fmax(a, b), "copysign": np.copysign(b, a),
        }.items():  # fmt: skip
            same(elementwise(f"{opcode}.{kind}", [a, b], dtype), expected)
        same(elementwise(f"neg.{kind}", [a], dtype), -a)
        same(elementwise(f"abs.{kind}", [a], dtype), np.abs(a))
        same(elementwise(f"sqrt.rn.{kind}", [a], dtype), np.sqrt(a))
        same(elementwise(f"rcp.rn.{kind}", [a], dtype), 1 / a)


def test_fma_rounds_once():
    rng = np.random.default_rng(2)
    a, b = (floats(rng, special=False) for _ in range(2))
    # Sums that cancel: rounding the product first would lose everything.
    c = -(a * b) * (1 + rng.integers(-1, 2, len(a)).astype(np.float32) * np.float32(2**-23))
    got = elementwise("fma.rn.f32", [a, b, c], np.float32)
    exact = [Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z)) for x, y, z in zip(a, b, c, strict=True)]
    # The exact value fits fp64 here.
    np.testing.assert_array_equal(got, np.array([float(e) for e in exact]).astype(np.float32))
    assert (got != a * b + c).any()


@pytest.mark.parametrize("mode", ["rz", "rm", "rp"])
@pytest.mark.parametrize("name", ["add", "mul"])
def test_directed_rounding(name, mode):
    rng = np.random.default_rng(3)
    a, b = (floats(rng, special=False) for _ in range(2))
    got = elementwise(f"{name}.{mode}.f32", [a, b], np.float32)
    for x, y, z in zip(a.tolist(), b.tolist(), got, strict=True):
        exact = Fraction(x) + Fraction(y) if name == "add" else Fraction(x) * Fraction(y)
        below = Fraction(float(z)) <= exact if mode == "rm" or (mode == "rz" and exact >= 0) else None
        near = np.nextafter(z, np.float32(np.inf)) if below is not None else np.nextafter(z, np.float32(-np.inf))
        if below is not None:
            assert Fraction(float(z)) <= exact < Fraction(float(near))
        else:
            assert Fraction(float(near)) < exact <= Fraction(float(z))


def test_minimum_and_maximum_of_nan_and_zeros():
    a = np.array([np.nan, 1, np.nan, 0, -0.0], dtype=np.float32)
    b = np.array([2, np.nan, np.nan, -0.0, 0], dtype=np.float32)
    same(elementwise("max.f32", [a, b], np.float32), [2, 1, np.nan, 0, 0])
    same(elementwise("min.f32", [a, b], np.float32), [2, 1, np.nan, -0.0, -0.0])
    same(elementwise("max.NaN.f32", [a, b], np.float32), [np.nan, np.nan, np.nan, 0, 0])
    same(elementwise("min.NaN.f32", [a, b], np.float32), [np.nan, np.nan, np.nan, -0.0, -0.0])
    c = np.array([5, 0, 4, 0, 0], dtype=np.float32)
    same(elementwise("max.f32", [a, b, c], np.float32), [5, 1, 4, 0, 0])


def test_extrema_of_magnitudes_with_the_sign_of_a_product():
    """The instruction that tl.clamp compiles to."""
    a = np.array([-3, 0.5, -0.5, 3, -0.0, np.nan], dtype=np.float32)
    b = np.array([1, 1, -1, -1, 1, -1], dtype=np.float32)
    same(elementwise("min.xorsign.abs.f32", [a, b], np.float32), [-1, 0.5, 0.5, -1, -0.0, -1])


def test_flush_to_zero():
    tiny = np.float32(1e-39)
    a = np.array([tiny, -tiny, 1e-30, 1e-20], dtype=np.float32)
    b = np.array([1, 1, 1e-9, 1e-10], dtype=np.float32)
    same(elementwise("mul.ftz.f32", [a, b], np.float32), [0, -0.0, 0, np.float32(1e-20) * np.float32(1e-10)])
    same(elementwise("mul.f32", [a, b], np.float32), a * b)
    same(elementwise("add.ftz.f32", [a, a], np.float32), [0, -0.0, 2e-30, 2e-20])
    np.testing.assert_array_equal(elementwise("setp.eq.ftz.f32", [a, 0 * a], np.uint32, predicate=True), [1, 1, 0, 0])


def test_saturation():
    a = np.array([-1, 0.25, 3, np.nan], dtype=np.float32)
    same(elementwise("add.sat.f32", [a, 0 * a], np.float32), [0, 0.25, 1, 0])


@pytest.mark.parametrize(
    ("opcode", "function"),
    [
        ("ex2.approx.f32", np.exp2),
        ("ex2.approx.ftz.f32", np.exp2),
        ("lg2.approx.f32", lambda x: np.log2(np.abs(x))),
        ("sin.approx.f32", np.sin),
        ("cos.approx.f32", np.cos),
        ("tanh.approx.f32", np.tanh),
        ("rsqrt.approx.f32", lambda x: 1 / np.sqrt(np.abs(x))),
        ("sqrt.approx.ftz.f32", lambda x: np.sqrt(np.abs(x))),
        ("rcp.approx.ftz.f32", lambda x: 1 / x),
    ],
)
def test_approximations(opcode, function):
    x = (np.random.default_rng(4).standard_normal(200) * 5).astype(np.float32)
    if opcode[:3] in {"lg2", "rsq", "sqr"}:
        x = np.abs(x)
    np.testing.assert_allclose(elementwise(opcode, [x], np.float32), function(x.astype(np.float64)), rtol=3e-7, atol=1e-7)


def test_division_forms():
    rng = np.random.default_rng(5)
    a, b = (floats(rng, special=False) for _ in range(2))
    for opcode in ("div.full.f32", "div.approx.f32", "div.approx.ftz.f32"):
        np.testing.assert_allclose(elementwise(opcode, [a, b], np.float32), a.astype(np.float64) / b, rtol=3e-7)


@pytest.mark.parametrize(("opcode", "count"), [("add.f32x2", 2), ("mul.f32x2", 2), ("fma.rn.f32x2", 3)])
def test_pairs(opcode, count):
    rng = np.random.default_rng(6)
    pairs = [rng.standard_normal((100, 2)).astype(np.float32) for _ in range(count)]
    got = elementwise(opcode, [p.view(np.uint64)[:, 0] for p in pairs], np.uint64)
    x = [p.astype(np.float64) for p in pairs]
    expected = {"add": lambda: x[0] + x[1], "mul": lambda: x[0] * x[1], "fma": lambda: x[0] * x[1] + x[2]}[opcode[:3]]()
    np.testing.assert_array_equal(got[:, None].view(np.float32), expected.astype(np.float32))


def test_kinds_of_numbers():
    x = np.array([0, 1, -np.inf, np.nan, 1e-40, -3], dtype=np.float32)
    for test, expected in {
        "finite": [1, 1, 0, 0, 1, 1], "infinite": [0, 0, 1, 0, 0, 0], "number": [1, 1, 1, 0, 1, 1],
        "notanumber": [0, 0, 0, 1, 0, 0], "normal": [0, 1, 0, 0, 0, 1], "subnormal": [0, 0, 0, 0, 1, 0],
    }.items():  # fmt: skip
        np.testing.assert_array_equal(elementwise(f"testp.{test}.f32", [x], np.uint32, predicate=True), expected)
