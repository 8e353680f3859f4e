"""Sums as measured on tensor cores, compared with the published scheme in exact fractions, element by element."""

import math
from fractions import Fraction

import numpy as np
import pytest
from ptxsim.tensorcores import MEASURED, measured

from ptxsim import launch
from tests.ptxsim.kernels import kernel
from tests.ptxsim.test_warpgroup import product
from tests.ptxsim.warpgroups import BYTES, encoded, fragment_of_a

LEAST = {"f16": -14, "bf16": -126, "tf32": -126}
BLOCKS = {"sm_80": {"f16": 8, "bf16": 8, "tf32": 4}, "sm_90": {"f16": 16, "bf16": 16, "tf32": 8}}
BITS = {"sm_80": 1, "sm_90": 2}


def rounded(value, bits, least, *, nearest):
    """A fraction with this many bits after the leading one, but none below 2^(least - bits)."""
    if value == 0:
        return Fraction(0)
    size = abs(value)
    exponent = max(size.numerator.bit_length() - size.denominator.bit_length(), least)
    while Fraction(2) ** exponent > size and exponent > least:
        exponent -= 1
    unit = Fraction(2) ** (exponent - bits)
    steps = round(size / unit) if nearest else math.floor(size / unit)
    return steps * unit * (1 if value > 0 else -1)


def element(row, column, old, kind, target, *, half=False):
    """One element of D: block after block, truncated relative to the largest exponent."""
    width, least = BLOCKS[target][kind], LEAST[kind]
    total = Fraction(float(old))
    for start in range(0, len(row), width):
        pairs = [(float(x), float(y)) for x, y in zip(row[start : start + width], column[start : start + width], strict=True)]
        exponents = [max(math.frexp(x)[1] - 1, least) + max(math.frexp(y)[1] - 1, least) for x, y in pairs if x * y]
        terms = [Fraction(x) * Fraction(y) for x, y in pairs if x * y]
        if total:
            exponents.append(max(math.frexp(float(total))[1] - 1, -126))
            terms.append(total)
        if not terms:
            continue
        unit = Fraction(2) ** (max(exponents) - 23 - BITS[target])
        cut = [math.floor(abs(t) / unit) * (1 if t > 0 else -1) for t in terms]
        bits, lowest = (10, -14) if half else (23, -126)
        total = rounded(sum(cut) * unit, bits, lowest, nearest=half)
    return float(total)


def numbers(rng, kind, *shape, spread=6):
    """Numbers of many magnitudes, as the type holds them."""
    x = rng.standard_normal(shape) * 2.0 ** rng.integers(-spread, spread, shape)
    if kind == "f16":
        return x.astype(np.float16).astype(np.float64)
    cut = np.uint32(0xFFFF0000 if kind == "bf16" else 0xFFFFE000)
    return (x.astype(np.float32).view(np.uint32) & cut).view(np.float32).astype(np.float64)


@pytest.mark.parametrize(("kind", "result"), [("f16", "f32"), ("f16", "f16"), ("bf16", "f32"), ("tf32", "f32")])
def test_wgmma_is_rounded_as_on_hopper(kind, result):
    rng = np.random.default_rng(3)
    k = 32 // BYTES[kind]
    spread = 2 if result == "f16" else 6
    old = numbers(rng, "f16" if result == "f16" else "tf32", 64, 16, spread=spread)
    data = (numbers(rng, kind, 64, k, spread=spread), numbers(rng, kind, 16, k, spread=spread), old)
    found, a, b, old, _ = product(kind, 16, None, 32, result=result, data=data, rounding="hardware")
    expected = [
        [element(x, y, old[i, j], kind, "sm_90", half=result == "f16") for j, y in enumerate(b)] for i, x in enumerate(a)
    ]
    np.testing.assert_array_equal(found, expected)
    exact = product(kind, 16, None, 32, result=result, data=data)[0]
    assert (found != exact).any()
    # The README's bound on the difference, for fp32.
    if result == "f32":
        terms = np.abs(a) @ np.abs(b).T + np.abs(old)
        assert (np.abs(found - (a @ b.T + old)) <= 2.0**-22 * terms).all()


def multiplied(a, b, c, kind, target, **options):
    """One mma.m16n8k16 or m16n8k8 by a warp: a (16, k), b (k, 8), c (16, 8)."""
    k = len(b)
    rows = np.concatenate([encoded(a, kind)] * 4)  # a warpgroup's fragments are those of four of these
    registers = np.zeros((32, 4), dtype=np.uint32)
    registers[:] = [fragment_of_a(rows, lane) for lane in range(32)]
    lane = np.arange(32)
    columns = encoded(b, kind)
    if kind == "tf32":
        right = np.stack([columns[lane % 4 + 4 * i, lane // 4] for i in (0, 1)], axis=1)
    else:
        pair = [[columns[lane % 4 * 2 + 8 * i + e, lane // 4].astype(np.uint32) for e in (0, 1)] for i in (0, 1)]
        right = np.stack([low | high << 16 for low, high in pair], axis=1)
    i = np.arange(4)[None]
    places = (lane[:, None] // 4 + i // 2 * 8, lane[:, None] % 4 * 2 + i % 2)
    held, out = c[places].astype(np.float32), np.zeros((32, 4), dtype=np.float32)
    body = f"""mad.wide.u32 %rd10, %r1, 16, %rd0;
ld.global.v4.b32 {{%r10, %r11, %r12, %r13}}, [%rd10];
mad.wide.u32 %rd10, %r1, 8, %rd1;
ld.global.v2.b32 {{%r14, %r15}}, [%rd10];
mad.wide.u32 %rd10, %r1, 16, %rd2;
ld.global.v4.b32 {{%r20, %r21, %r22, %r23}}, [%rd10];
mma.sync.aligned.m16n8k{k}.row.col.f32.{kind}.{kind}.f32 {{%r24, %r25, %r26, %r27}}, {{%r10, %r11, %r12, %r13}}, \
{{%r14, %r15}}, {{%r20, %r21, %r22, %r23}};
mad.wide.u32 %rd10, %r1, 16, %rd3;
st.global.v4.b32 [%rd10], {{%r24, %r25, %r26, %r27}};"""
    ptx = kernel(body, 4).replace("sm_80", target)
    launch(ptx, "k", 1, 32, [registers, np.ascontiguousarray(right), held, out], **options)
    found = np.zeros((16, 8))
    found[places] = out
    return found


@pytest.mark.parametrize("target", ["sm_80", "sm_90"])
@pytest.mark.parametrize("kind", ["f16", "bf16", "tf32"])
def test_mma_is_rounded_as_on_the_targets_gpu(kind, target):
    rng = np.random.default_rng(4)
    k = 32 // BYTES[kind]
    a, b, c = numbers(rng, kind, 16, k), numbers(rng, kind, k, 8), numbers(rng, "tf32", 16, 8)
    c[0], a[1], b[:, 2] = 0, 0, 0
    found = multiplied(a, b, c, kind, target, rounding="hardware")
    expected = [[element(a[i], b[:, j], c[i, j], kind, target) for j in range(8)] for i in range(16)]
    np.testing.assert_array_equal(found, expected)
    exact = (a @ b + c).astype(np.float32)
    np.testing.assert_array_equal(multiplied(a, b, c, kind, target), exact)  # the default
    assert (found != exact).any()


def one(values, old, target, kind="bf16"):
    """The sum of products `values` · 1 and `old`."""
    a, b, c = np.zeros((16, 16)), np.zeros((16, 8)), np.zeros((16, 8))
    a[0, : len(values)], b[:, 0], c[0, 0] = values, 1, old
    return multiplied(a, b, c, kind, target, rounding="hardware")[0, 0]


def test_what_was_measured_by_hand():
    """Fasi et al.: no rounding to nearest, and bits below the last of the largest are lost; how many is known by GPU."""
    for target, bits in BITS.items():
        last = 2.0 ** -(23 + bits)
        assert one([last] * 4, 1, target) == 1 + (2.0**-23 if bits == 2 else 2 * 2.0**-23)
        assert one([last / 2] * 8, 1, target) == 1  # each is truncated, though together they exceed a bit
        assert one([2.0**-24 * 1.5], 1, target) == 1  # towards zero
        assert one([-(2.0**-24) * 1.5], -1, target) == -1
        assert one([1, -1], 2.0**-30, target) == 0  # the largest cancel, and the bits that they cut off do not come back
    # A subnormal factor counts as one with the least exponent.
    assert one([2.0**-24], 2.0**-40, "sm_90", "f16") == 2.0**-24 and one([2.0**-24], 2.0**-40, "sm_90") > 2.0**-24
    # Ampere's blocks have eight products: the ninth does not truncate the others.
    assert one([2.0**-26] * 8 + [1], 0, "sm_80") == 1 + 2.0**-23
    assert one([2.0**-26] * 8 + [1], 0, "sm_90") == 1


def test_what_is_not_finite_or_too_large():
    largest = float(np.finfo(np.float32).max)
    assert one([2.0**127, 2.0**127], 0, "sm_90") == np.inf
    assert one([largest - 2.0**120], 0, "sm_80") < np.inf
    assert math.isnan(one([np.inf, -np.inf], 0, "sm_80"))
    assert one([np.inf], 5, "sm_90") == np.inf


def test_other_targets_are_refused_by_name():
    assert set(MEASURED) == {"sm_80", "sm_86", "sm_89", "sm_90"} and measured("sm_90a") is MEASURED["sm_90"]
    zeros = np.zeros((16, 16)), np.zeros((16, 8)), np.zeros((16, 8))
    with pytest.raises(ValueError, match="not for sm_120"):
        multiplied(*zeros, "f16", "sm_120", rounding="hardware")
    with pytest.raises(ValueError, match="rounding is 'exact' or 'hardware'"):
        multiplied(*zeros, "f16", "sm_80", rounding="nearest")
