"""fp16 and bf16 arithmetic: the exact result rounded once, checked with torch."""

import numpy as np
import pytest
import torch

from tests.ptxsim.kernels import as_double, elementwise, halves

TORCH = {"f16": torch.float16, "bf16": torch.bfloat16}


def rounded(x, kind):
    """fp64 to the bits of the half type. torch rounds fp64 to bf16 through fp32, so values are chosen that fit fp32."""
    return torch.from_numpy(np.asarray(x)).to(TORCH[kind]).view(torch.int16).numpy().view(np.uint16)


def same(got, expected, kind):
    nan = np.isnan(as_double(expected, kind))
    np.testing.assert_array_equal(np.isnan(as_double(got, kind)), nan)
    np.testing.assert_array_equal(got[~nan], expected[~nan])


@pytest.mark.parametrize("kind", ["f16", "bf16"])
def test_arithmetic(kind):
    rng = np.random.default_rng(1)
    a, b = (halves(rng, kind) for _ in range(2))
    x, y = as_double(a, kind), as_double(b, kind)
    with np.errstate(invalid="ignore"):
        for name, expected in {"add": x + y, "sub": x - y, "mul": x * y, "min": np.fmin(x, y), "max": np.fmax(x, y)}.items():
            same(elementwise(f"{name}.{kind}", [a, b], np.uint16), rounded(expected, kind), kind)
        same(elementwise(f"max.NaN.{kind}", [a, b], np.uint16), rounded(np.maximum(x, y), kind), kind)
        same(elementwise(f"neg.{kind}", [a], np.uint16), rounded(-x, kind), kind)
        same(elementwise(f"abs.{kind}", [a], np.uint16), rounded(np.abs(x), kind), kind)


@pytest.mark.parametrize("kind", ["f16", "bf16"])
def test_fma_rounds_once(kind):
    rng = np.random.default_rng(2)
    a, b = (halves(rng, kind) for _ in range(2))
    x, y = as_double(a, kind), as_double(b, kind)
    with np.errstate(invalid="ignore"):
        c = rounded(-x * y, kind)
        expected = x * y + as_double(c, kind)
    got = elementwise(f"fma.rn.{kind}", [a, b, c], np.uint16)
    # The rounding error of the product is a number of few bits.
    same(got, rounded(expected, kind), kind)
    assert (as_double(got, kind)[np.isfinite(expected)] != 0).any()


def test_fma_of_bf16_does_not_round_through_fp32():
    """15 · 19 = 285 and 15 · 21 = 315 are halfway between two bf16; fp32 would lose the 2^-20 that decides."""
    a, b, c = (
        (np.array(x, dtype=np.float32).view(np.uint32) >> 16).astype(np.uint16)
        for x in ([15, 15, 15, 15], [19, 19, 21, 21], [2.0**-20, -(2.0**-20), 2.0**-20, -(2.0**-20)])
    )
    got = elementwise("fma.rn.bf16", [a, b, c], np.uint16)
    assert as_double(got, "bf16").tolist() == [286, 284, 316, 314]


@pytest.mark.parametrize("kind", ["f16", "bf16"])
def test_pairs_are_two_numbers(kind):
    rng = np.random.default_rng(3)
    numbers = [np.stack([halves(rng, kind), halves(rng, kind)], axis=1) for _ in range(3)]
    words = [n.view(np.uint32)[:, 0] for n in numbers]
    for name, count in (("add", 2), ("sub", 2), ("mul", 2), ("min", 2), ("max", 2), ("fma.rn", 3), ("neg", 1), ("abs", 1)):
        got = elementwise(f"{name}.{kind}x2", words[:count], np.uint32)[:, None].view(np.uint16)
        for half in (0, 1):
            single = elementwise(f"{name}.{kind}", [n[:, half].copy() for n in numbers[:count]], np.uint16)
            np.testing.assert_array_equal(got[:, half], single)


def test_relu_and_saturation():
    a = np.array([-2, 0.5, 3, np.nan], dtype=np.float16)
    one, zero = np.ones(4, np.float16), np.zeros(4, np.float16)
    np.testing.assert_array_equal(elementwise("fma.rn.relu.f16", [a, one, zero], np.float16), [0, 0.5, 3, np.nan])
    np.testing.assert_array_equal(elementwise("fma.rn.sat.f16", [a, one, zero], np.float16), [0, 0.5, 1, 0])


def test_comparison_of_pairs():
    a = np.array([[1, 5], [3, 2]], dtype=np.float16)
    b = np.array([[2, 4], [2, 3]], dtype=np.float16)
    words = [x.view(np.uint32)[:, 0] for x in (a, b)]
    np.testing.assert_array_equal(elementwise("setp.lt.f16x2", words, np.uint32, predicate=True), [1, 0])
    got = elementwise("set.lt.f16x2.f16x2", words, np.uint32)[:, None].view(np.float16)
    np.testing.assert_array_equal(got, [[1, 0], [0, 1]])


@pytest.mark.parametrize("kind", ["f16", "bf16"])
def test_mixed_with_fp32(kind):
    """PTX 8.6: the half operands are widened exactly; the last one and the result are fp32."""
    rng = np.random.default_rng(5)
    a, b = (halves(rng, kind) for _ in range(2))
    c = rng.standard_normal(a.shape).astype(np.float32)
    x, y = as_double(a, kind), as_double(b, kind)
    with np.errstate(invalid="ignore", over="ignore"):
        cases = {"add.rn": ([a, c], x + c), "sub.rn": ([a, c], x - c), "fma.rn": ([a, b, c], x * y + c)}
        for name, (operands, expected) in cases.items():
            got = elementwise(f"{name}.f32.{kind}", operands, np.float32)
            np.testing.assert_array_equal(got, expected.astype(np.float32))
