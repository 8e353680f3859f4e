"""Features of the C++ block alone, on every instruction set of this processor: regions, bytes, scratch, bf16x3."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from dcnn_fast import engine, ops
from dcnn_fast.networks import ORDERS
from dcnn_fast.ops import Piece, Pool, Region, RegionList, Store
from dcnn_fast.ops.block import BACKENDS
from dcnn_fast.ops.block.whole import whole_images
from dcnn_fast.ops.region import of_windows, whole
from tests.ops.block.on_engine import regions
from tests.ops.block.problems import (
    AVERAGE,
    CROSS,
    SAME,
    SMALL,
    changed,
    geometry,
    operands,
    problem,
    run_by,
    stated,
    typed,
)  # fmt: skip
from tests.ops.block.tested import reaches
from tests.ops.block.variety import BF16, BF16X3, LATE, NORMS, VARIETY
from tests.ops.tester import Way

ISAS = (*engine.isas(), *engine.emulated_isas())
pytestmark = [pytest.mark.needs_engine, pytest.mark.parametrize("isa", ISAS)]


def test_a_pool_far_larger_than_its_input_takes_it_all(isa):
    params = problem(1, 3, 9, 9, 7, 3, torch.float32, pool=Pool(255, 255))
    x, weight, bias = operands(params)
    (result,) = regions(isa, [x], whole(1, 9, 9, **geometry(params)), weight, bias, params)
    everything = replace(params, options=replace(params.options, pool=Pool(7, 7)))
    (expected,) = regions(isa, [x], whole(1, 9, 9, **geometry(everything)), weight, bias, everything)
    assert torch.equal(result, expected)


@pytest.mark.parametrize("params", VARIETY[:14], ids=str)
def test_no_bias_is_a_zero_bias(isa, params):
    x, weight, bias = operands(params)
    table = whole_images(params)
    (without,) = regions(isa, [x], table, weight, None, params)
    (zero,) = regions(isa, [x], table, weight, torch.zeros_like(bias), params)
    assert torch.equal(without, zero)


@pytest.mark.parametrize("norm", NORMS, ids=str)
@pytest.mark.parametrize("order", ["conv-pool-norm", "conv-norm-pool"])
def test_bytes_windows_and_mean(isa, norm, order):
    """Windows of uint8 images, with pixels beyond the windows, corners included."""
    params = problem(2, 3, 40, 37, 20, 5, torch.uint8, stride=2, padding=2, pool=Pool(3, 2), norm=norm, order=order)
    params = replace(params, out_dtype=torch.float32)
    _, weight, bias = operands(replace(params, dtype=torch.float32))
    pixels = torch.randint(0, 256, (2, 3, 40, 37), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    windows = torch.tensor([[0, 0, 0], [0, 19, 16], [1, 7, 3], [1, 0, 16], [0, 19, 0]])
    table = of_windows(windows, 21, 21, **geometry(params))
    mean, scale = (120.25, 110.0, 99.5), 1 / 64
    expected = torch.empty(5, 20, *[table.outputs[0][1]] * 2, dtype=torch.float64)
    run_by("reference", [pixels], table, weight.double(), bias.double(), typed(params, torch.float64), mean, scale, [expected])
    for source in (pixels, pixels.contiguous(memory_format=torch.channels_last)):
        (result,) = regions(isa, [source], table, weight, bias, params, mean, scale)
        assert (result.double() - expected).abs().max() <= params.tolerance() * expected.abs().max()


@pytest.mark.parametrize("params", [*VARIETY[14:42:5], *VARIETY[-8::3], *LATE[-5:], *BF16[::4], *BF16X3[::4]], ids=str)
def test_what_others_left_in_the_scratch_changes_nothing(isa, params):
    if not reaches(Way("cpu", isa), params):
        return
    x, weight, bias = operands(params)
    table = whole_images(params)
    (expected,) = regions(isa, [x], table, weight, bias, params, threads=1)
    large = problem(1, 64, 70, 70, 8, 1, torch.float32)
    nans = torch.full((1, 64, 70, 70), 0x7FC07FC0, dtype=torch.int32).view(torch.float32)  # both halves too, as bfloat16
    nans = nans.contiguous(memory_format=torch.channels_last)
    regions(isa, [nans], whole(1, 70, 70, **geometry(large)), *operands(large)[1:], large, threads=1)
    (result,) = regions(isa, [x], table, weight, bias, params, threads=1)
    assert torch.equal(result, expected)


@pytest.mark.parametrize("norm", [None, CROSS], ids=str)
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("pool", [Pool(3, 2), AVERAGE], ids=["max", "avg"])
@pytest.mark.parametrize("precision", ["ieee", "bf16", "bf16x3"])
def test_a_shared_region_gives_its_windows_bit_for_bit(isa, norm, order, pool, precision):
    """Three windows from one region with three pool phases equal three windows computed alone, as sharing requires."""
    params = problem(1, 3, 30, 33, 24, 5, torch.float32, pool=pool, norm=norm, order=order, precision=precision)
    if not reaches(Way("cpu", isa), params):
        return
    x, weight, bias = operands(params)
    extent, rows = 21, 8  # a 21 x 21 window: conv 17 x 17, pooled 8 x 8
    offsets = ((0, 0), (5, 8), (8, 3))
    pieces = tuple(Piece(t, l, rows, rows, (Store(0, 0, rows, rows, i, 0, 0, 0),)) for i, (t, l) in enumerate(offsets))
    shared = RegionList.of([Region(0, 0, 0, 0, 30, 33, 0, 0, 26, 29, 0, 0, pieces)], [(1, rows, rows)] * 3)
    windows = of_windows(torch.tensor([[0, t, l] for t, l in offsets]), extent, extent, **geometry(params))
    (alone,) = regions(isa, [x], windows, weight, bias, params)
    for i, result in enumerate(regions(isa, [x], shared, weight, bias, params)):
        assert torch.equal(result[0], alone[i])


def test_pieces_with_a_halo_make_a_same_map_normed_whole(isa):
    params = problem(1, 3, 11, 9, 5, 3, torch.float32, pool=Pool(2, 2), norm=SAME)
    x, weight, bias = operands(params)
    (expected,) = regions(isa, [x], whole(1, 11, 9, **geometry(params)), weight, bias, params)
    _, _, rows, cols = expected.shape
    upper = Piece(0, 0, 3, cols, (Store(0, 0, 2, cols, 0, 0, 0, 0),))
    lower = Piece(2, 0, rows - 1, cols, (Store(1, 0, rows - 2, cols, 0, 0, 2, 0),))
    table = RegionList.of([Region(0, 0, 0, 0, 11, 9, 0, 0, 9, 7, 0, 0, (upper, lower))], [(1, rows, cols)])
    (result,) = regions(isa, [x], table, weight, bias, params)
    assert torch.equal(result, expected)


def test_bf16x3_errs_by_no_more_than_its_products_may(isa):
    """The error in float64: at most 2**-15 of each product's magnitude, plus float32 summation; bf16 errs far more."""
    params = problem(1, 64, 20, 17, 32, 5, torch.float32, padding=2, precision="bf16x3")
    if not reaches(Way("cpu", isa), params):
        return
    x, weight, _ = operands(params)
    table = whole(1, 20, 17, **geometry(params))
    exact = stated(x.double(), weight.double(), None, typed(params, torch.float64, precision="ieee"))
    magnitudes = stated(x.double().abs(), weight.double().abs(), None, typed(params, torch.float64, precision="ieee"))
    (result,) = regions(isa, [x], table, weight, None, params)
    (rounded,) = regions(isa, [x], table, weight, None, changed(params, precision="bf16"))
    error = (result.double() - exact).abs()
    assert (error <= 2.0**-15 * magnitudes + params.tolerance() * exact.abs().max()).all()
    assert error.max() * 50 < (rounded.double() - exact).abs().max()


def test_bf16x3_splits_operands_into_what_they_round_to_and_what_is_left(isa):
    """A product with one is bit for bit the sum of both parts, which float32 holds exactly."""
    params = problem(1, 1, 64, 64, 1, 1, torch.float32, precision="bf16x3")
    if not reaches(Way("cpu", isa), params):
        return
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        bits = torch.randint(64 << 23, 254 << 23, (1, 1, 64, 64), dtype=torch.int32, generator=generator)
        ends = torch.tensor([0x3F804040, 0x3F808000, 0x3F818000, 0x3F7FFFFF, 0x7F7F7FFF], dtype=torch.int32)
        bits.view(-1)[: len(ends)] = ends
        values = bits.view(torch.float32)
        high = values.bfloat16().float()
        parts = high + (values - high).bfloat16().float()
        one = torch.ones(1, 1, 1, 1)
        (pixels,) = regions(isa, [values], whole(1, 64, 64, **geometry(params)), one, None, params)
        assert torch.equal(pixels, parts)
        many = replace(params, height=1, width=1, filters=4096)
        (weights,) = regions(isa, [one], whole(1, 1, 1, **geometry(many)), values.view(4096, 1, 1, 1), None, many)
        assert torch.equal(weights.view(-1), parts.view(-1))


@pytest.mark.parametrize("precision", ["ieee", "bf16", "bf16x3"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("rows", "cols"), [(40, 3), (3, 40), (3, 3), (17, 5), (33, 1), (1, 33), (9, 29)])
def test_narrow_regions_have_the_bits_of_the_whole(isa, rows, cols, precision, stride):
    """A region of a convolution equals the whole bit for bit, however positions are cut into tiles."""
    size = 4 if stride == 1 else 7  # sizes never computed in tiles, where all inputs of a tile decide bits
    params = problem(1, 9 if stride == 1 else 2, 95, 91, 40, size, torch.float32, stride=stride, precision=precision)
    if not reaches(Way("cpu", isa), params):
        return
    x, weight, bias = operands(params)
    (expected,) = regions(isa, [x], whole(1, 95, 91, **geometry(params)), weight, bias, params)
    top, left = 2, 1
    piece = Piece(0, 0, rows, cols, (Store(0, 0, rows, cols, 0, 0, 0, 0),))
    region = Region(0, 0, 0, 0, 95, 91, top * stride, left * stride, rows, cols, 0, 0, (piece,))
    (result,) = regions(isa, [x], RegionList.of([region], [(1, rows, cols)]), weight, bias, params)
    assert torch.equal(result, expected[:, :, top : top + rows, left : left + cols])


def test_weights_of_another_dtype_are_refused(isa):
    params = problem(1, 3, 9, 9, 4, 3, torch.uint8)
    for weight_dtype in (torch.float64, torch.float16):
        asked = replace(params, out_dtype=torch.float32, weight_dtype=weight_dtype)
        assert "weights in float32" in BACKENDS["cpu"].can_run(asked, torch.device("cpu"))


def test_the_public_function_uses_the_forced_instruction_set(isa, monkeypatch):
    monkeypatch.setenv("DCNN_FAST_CPU_ISA", isa)
    monkeypatch.setenv("DCNN_FAST_BACKEND", "cpu")
    params = replace(SMALL[2], dtype=torch.float32, out_dtype=torch.float32)
    x, weight, bias = operands(params)
    table = whole(1, params.height, params.width, **geometry(params))
    (expected,) = regions(isa, [x], table, weight, bias, params)
    result = ops.block(x, weight, bias, padding=1, pool=(3, 2), norm=CROSS)
    assert torch.equal(result, expected)
