"""The Triton block's forward over any list of regions: sources, windows, pieces, phases and stores are drawn by hypothesis.

What a kernel is compiled for comes from a short list, since each entry costs a compilation; everything else is drawn.
"""

from __future__ import annotations

from dataclasses import replace
from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dcnn_fast.networks import window_count
from dcnn_fast.ops import CrossMapNorm, Piece, Pool, Region, RegionList, SameMapNorm, Store
from dcnn_fast.ops.block import BACKENDS
from dcnn_fast.ops.block.triton import forward_launch as triton_forward
from dcnn_fast.ops.block.triton.config import forward_candidates
from tests.ops.block.problems import operands, problem, run_by, training_by
from tests.ops.guarded import assert_untouched, output, poisoned
from tests.ops.on_cpu import INTERPRETED, kernels_on_cpu

UINT8, FP32, FP16 = torch.uint8, torch.float32, torch.float16
BF16 = FP16 if INTERPRETED else torch.bfloat16
LAST, NORM_FIRST = "conv-pool-norm-relu", "conv-norm-pool"
AVERAGE = (120.5, 99.0, 80.25)


def _cross(size):
    return CrossMapNorm(size, 0.3, 0.75, 1.0)


def _same(size):
    return SameMapNorm(size, 0.3, 0.75)


def _averages(size, stride):
    return Pool(size, stride, "avg")


def _case(tile, source, dtype, channels, filters, size, **options):
    """A tile's name and a problem whose extents are ignored."""
    params = problem(1, channels, 1, 1, filters, size, **options)
    return tile, replace(params, dtype=source, weight_dtype=dtype, out_dtype=dtype)


CASES = [
    _case("small", FP32, FP32, 1, 1, 1),
    _case("small", FP16, FP16, 16, 33, 3, padding=2, rounding="down"),
    _case("small", FP32, FP32, 20, 40, 2, stride=2, padding=1, groups=4),
    _case("small", BF16, BF16, 32, 17, 4, padding=3, stride=3, norm=_cross(4)),
    _case("small", FP32, FP32, 16, 5, 3, stride=2, padding=1, norm=_cross(9)),
    _case("small", UINT8, FP32, 3, 8, 11, stride=4, padding=2, pool=Pool(3, 2), norm=_cross(5)),
    _case("small", FP16, FP16, 32, 40, 3, padding=1, groups=2),
    _case("small", FP32, FP32, 6, 80, 2, padding=1, norm=_cross(4)),
    _case("strip", UINT8, FP16, 3, 12, 5, stride=2, padding=4, pool=Pool(3, 2), norm=_cross(5)),
    _case("strip", UINT8, FP32, 3, 7, 3, padding=1, pool=Pool(2, 1), norm=_cross(2), order="conv-norm-pool"),
    _case("small", FP16, FP16, 32, 32, 3, padding=1, groups=2, pool=Pool(3, 3), norm=_cross(3)),
    _case("8x32", BF16, BF16, 32, 14, 3, padding=1, groups=2, pool=Pool(2, 2), norm=_cross(6), order="conv-norm-pool"),
    _case("16x16", FP16, FP16, 18, 16, 2, padding=1, pool=Pool(4, 3), rounding="down"),
    _case("small", FP32, FP32, 9, 12, 3, padding=1, stride=2, groups=3, pool=Pool(3, 1), norm=_cross(5)),
    _case("small", FP32, FP32, 5, 6, 2, padding=1, pool=Pool(2, 2), norm=_same(3)),
    _case("small", FP16, FP16, 16, 20, 3, padding=2, pool=Pool(3, 2), norm=_same(2)),
    _case("small", BF16, BF16, 4, 6, 3, stride=3, groups=2, pool=Pool(2, 1), norm=_same(4), order="conv-norm-pool"),
    _case("small", FP32, FP32, 2, 3, 2, stride=2, padding=1, norm=_same(4), rounding="down"),
    _case("strip", UINT8, FP16, 3, 7, 5, stride=2, padding=2, pool=_averages(3, 2), norm=_cross(5), order=LAST),
    _case("strip", FP32, FP32, 2, 6, 2, padding=1, pool=Pool(2, 1), norm=_cross(4), order=LAST),
    _case("small", FP16, FP16, 3, 5, 3, padding=1, pool=Pool(3, 2), norm=_same(3), order=LAST),
    _case("small", BF16, BF16, 3, 5, 2, pool=_averages(3, 3), norm=_same(2), order="conv-norm-pool-relu", rounding="down"),
    _case("small", FP32, FP32, 6, 8, 3, stride=2, padding=2, groups=2, pool=_averages(4, 3), norm=_cross(3), order=NORM_FIRST),
]
TIED = [
    _case("small", FP32, FP32, 3, 6, 3, padding=1, pool=Pool(3, 2), norm=_cross(4)),
    _case("small", FP16, FP16, 16, 10, 2, stride=2, padding=1, groups=2, pool=Pool(4, 3), rounding="down"),
    _case("small", FP32, FP32, 6, 9, 4, stride=3, padding=2, groups=3, pool=Pool(3, 3), norm=_same(2)),
    _case("small", BF16, BF16, 5, 20, 1, pool=Pool(2, 1), norm=_cross(3)),
]


@st.composite
def lists(draw, params):
    """Sources' extents and a list of regions on them: each store is an image of its own, somewhere in a larger output."""
    options, size = params.options, params.size
    pool = options.pool or Pool(1, 1)

    def number(least, most):
        return draw(st.integers(least, max(least, most)))

    sources = [(number(1, 2), number(1, 26), number(1, 34)) for _ in range(number(1, 2))]
    regions, counts, extents = [], [0, 0], [[1, 1], [1, 1]]
    for _ in range(number(1, 3)):
        source = number(0, len(sources) - 1)
        images, height, width = sources[source]
        axes = []  # for each axis: the window's start and extent, the region's first pixel and its outputs
        for extent in (height, width):
            # Mostly nearly the whole extent, since small windows meet fewer edges of tiles.
            window = extent - number(0, min(4, extent - 1))
            start = number(0, extent - window)
            skipped = number(0, 3)
            most = window_count(window + 2 * options.padding - skipped, size, options.stride, options.rounding)
            if most < 1:
                skipped, most = 0, window_count(window + 2 * options.padding, size, options.stride, options.rounding)
            axes.append((start, window, start - options.padding + skipped, most - number(0, min(3, most - 1))))
        if min(axis[3] for axis in axes) < 1:
            continue
        pieces = []
        for _ in range(number(0, 2)):
            corner, counted = [], []
            for axis in axes:
                first = number(0, min(axis[3] - 1, 4))
                most = (axis[3] - 1 - first) // pool.stride + 1
                corner.append(first)
                counted.append(most - number(0, min(2, most - 1)))
            stores = []
            for _ in range(number(1, 2)):
                skip = [number(0, min(2, count - 1)) for count in counted]
                taken = [count - s - number(0, min(1, count - s - 1)) for count, s in zip(counted, skip, strict=True)]
                to, place = number(0, 1), [number(0, 2), number(0, 2)]
                stores.append(Store(*skip, *taken, to, counts[to], *place))
                counts[to] += 1
                extents[to] = [max(e, p + t + 1) for e, p, t in zip(extents[to], place, taken, strict=True)]
            pieces.append(Piece(*corner, *counted, tuple(stores)))
        (wt, wh, top, rows), (wl, ww, left, cols) = axes
        regions.append(Region(source, number(0, images - 1), wt, wl, wh, ww, top, left, rows, cols, 0, 0, tuple(pieces)))
    outputs = [(max(count, 1), *extent) for count, extent in zip(counts, extents, strict=True)]
    return sources, RegionList.of(regions, outputs), number(0, 2**31 - 1)


def examples(strategy, count):
    """Call a function of one argument on `count` examples, the same ones every time."""

    def run(check):
        torch.set_num_threads(1)
        settings(derandomize=True, deadline=None, max_examples=count, database=None)(given(strategy)(check))()

    return run


def _pixels(shape, dtype, generator):
    if dtype == UINT8:
        return torch.randint(0, 256, shape, dtype=UINT8, generator=generator)
    return torch.randn(shape, generator=generator).to(dtype)


def check_list(backend, params, drawn):
    """Assert that a backend gives the reference's results for a list drawn from `lists` and writes nothing else."""
    shapes, table, seed = drawn
    generator = torch.Generator().manual_seed(seed)
    sources = [_pixels((images, params.channels, *extent), params.dtype, generator) for images, *extent in shapes]
    _, weight, bias = operands(replace(params, dtype=params.weight_dtype), seed)
    mean, scale = (AVERAGE, 1 / 64) if params.dtype == UINT8 else ((), 1.0)
    made = [output((images, params.filters, *extent), params.out_dtype) for images, *extent in table.outputs]
    results = [tensor for tensor, _ in made]
    with kernels_on_cpu():
        assert BACKENDS[backend].can_run(params, torch.device("cpu")) is None
        run_by(backend, [poisoned(source) for source in sources], table, weight, bias, params, mean, scale, results)
    assert_untouched(*(buffer for _, buffer in made))
    wide = replace(params, weight_dtype=torch.float64, out_dtype=torch.float64)
    expected = [torch.full(result.shape, float("nan"), dtype=torch.float64) for result in results]
    run_by("reference", sources, table, weight.double(), bias.double(), wide, mean, scale, expected)
    for result, right in zip(results, expected, strict=True):
        assert torch.equal(result.isnan(), right.isnan())
        # Operands are made so that a convolution's output is about 1, which bounds the terms where a few outputs do not.
        largest = max(float(right.nan_to_num(0).abs().max()), 1.0)
        assert (result.double() - right).nan_to_num(0).abs().max() <= params.tolerance() * largest


def _check(tile, params, drawn):
    with mock.patch.object(triton_forward, "forward_config", lambda p, *_: forward_candidates(p)[tile]):
        check_list("triton", params, drawn)


@pytest.mark.parametrize(("tile", "params"), CASES, ids=str)
def test_any_list_of_regions(tile, params):
    late = params.options.averages or params.options.relu_last
    examples(lists(params), 5 if late else 9)(lambda drawn: _check(tile, params, drawn))


def _check_hits(tile, params, shape, seed):
    params = replace(params, images=shape[0], height=shape[1], width=shape[2])
    if min(params.out_shape[2:]) < 1:
        return
    generator = torch.Generator().manual_seed(seed)
    # Sums of small integers are exact, and most windows have ties.
    x = torch.randint(-1, 3, (shape[0], params.channels, *shape[1:]), generator=generator).to(params.dtype)
    weight = torch.randint(
        -1, 2, (params.filters, params.channels // params.options.groups, *[params.size] * 2), generator=generator
    ).to(params.dtype)
    bias = torch.randint(-2, 3, (params.filters,), generator=generator).to(params.dtype)
    with kernels_on_cpu():
        result, values, hits = training_by("triton", poisoned(x), weight, bias, params)
    wide = replace(params, dtype=torch.float64, weight_dtype=torch.float64, out_dtype=torch.float64)
    right, wide_values, wide_hits = training_by("reference", x.double(), weight.double(), bias.double(), wide)
    assert torch.equal(hits, wide_hits)
    assert (values is None) == (wide_values is None)
    if values is not None:
        assert torch.equal(values.double(), wide_values)
    assert (result.double() - right).abs().max() <= params.tolerance() * max(float(right.abs().max()), 1.0)


@pytest.mark.parametrize(("tile", "params"), TIED, ids=str)
def test_ties_are_hits(tile, params):
    shapes = st.tuples(st.integers(1, 2), st.integers(1, 24), st.integers(1, 30))
    examples(st.tuples(shapes, st.integers(0, 2**31 - 1)), 5)(lambda drawn: _check_hits(tile, params, *drawn))
