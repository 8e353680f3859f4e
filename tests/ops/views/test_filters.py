"""Filters: the engine's weights equal those of the numpy statement and are near the exact ones."""

from __future__ import annotations

import numpy as np
import pytest

from dcnn_fast import engine
from dcnn_fast.ops.views import filters, reference

SIDES = [1, 2, 3, 5, 31, 63, 64, 65, 255, 256, 257, 300, 1023, 1025, 4000, 6001, 65_537]
TARGETS = [1, 2, 3, 7, 64, 224, 255, 256, 257, 1024, 1025]


def _assert_same(found, right):
    for field in right.entries.dtype.names:
        np.testing.assert_array_equal(found.entries[field], right.entries[field], field)
    np.testing.assert_array_equal(found.quads, right.quads)
    assert (found.entries.dtype, found.quads.dtype) == (right.entries.dtype, right.quads.dtype)


@pytest.mark.needs_engine
@pytest.mark.parametrize("target", TARGETS)
def test_the_engines_weights_are_those_of_the_statement(target):
    random = np.random.default_rng(target)
    for size in [*SIDES, *random.integers(1, 20_000, 30).tolist()]:
        if size > 1000 * target:
            continue  # numpy takes seconds for its many taps
        right = filters.by_numpy(size, target, 0, target)
        _assert_same(filters.Filter(*engine.load().bilinear_filter(size, target, 0, target)), right)


@pytest.mark.needs_engine
@pytest.mark.parametrize("size", [2**24, 2**24 + 1, 2**24 + 2, 2**24 + 3, 2**25 + 5])
def test_sides_that_pillows_floats_do_not_hold(size):
    for start in (0, 30_000, 65_500):
        right = filters.by_numpy(size, 2**16, start, start + 36)
        _assert_same(filters.Filter(*engine.load().bilinear_filter(size, 2**16, start, start + 36)), right)


@pytest.mark.parametrize(("size", "target"), [(300, 256), (17, 64), (4000, 3000), (1000, 5000), (700, 1025)])
def test_a_part_of_the_outputs_is_that_part_of_all(size, target):
    whole = filters.by_numpy(size, target, 0, target)
    for outputs in (range(target), range(1), range(target - 1, target), range(target // 3, target // 2)):
        filter_, start = filters.bilinear(size, target, outputs)
        assert start <= outputs.start
        assert outputs.stop <= start + len(filter_.entries)
        for i in outputs:
            mine, all_ = filter_.entries[i - start], whole.entries[i]
            assert (mine["first"], mine["taps"], mine["quads"]) == (all_["first"], all_["taps"], all_["quads"])
            weights = filter_.quads[mine["weights"] : mine["weights"] + mine["quads"]]
            np.testing.assert_array_equal(weights, whole.quads[all_["weights"] : all_["weights"] + all_["quads"]])


@pytest.mark.parametrize(("size", "target"), [(300, 256), (256, 300), (5000, 256), (3, 256), (1000, 1)])
def test_weights_are_the_exact_ones_rounded(size, target):
    exact = reference.weights(size, target)
    filter_, _ = filters.bilinear(size, target, range(target))
    found = np.zeros_like(exact)
    for row, (first, taps, weights, quads) in zip(found, filter_.entries.tolist(), strict=True):
        values = filter_.quads[weights : weights + quads].ravel()
        assert (values[taps:] == 0).all()
        row[first : first + taps] = values[:taps]
    assert np.abs(found - exact * 2**filters.FRACTION).max() <= 0.5 + 1e-6


@pytest.mark.needs_engine
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 4, 0, 4), "a side must be from 1"),
        ((-3, 4, 0, 4), "a side must be from 1"),
        ((2**31, 4, 0, 4), "a side must be from 1 to 2\\*\\*31 - 1, got 2147483648"),
        ((4, 0, 0, 4), "a resized side must be from 1"),
        ((4, 2**63 - 1, 0, 4), "a resized side must be from 1"),
        ((4, 4, -1, 4), "outputs must be some of those"),
        ((4, 4, 0, 5), "outputs must be some of those"),
        ((4, 4, 2, 2), "outputs must be some of those"),
        ((4, 4, -(2**63), 2**63 - 1), "outputs must be some of those"),
        ((2**31 - 1, 1, 0, 1), "takes too many weights"),
        ((2**31 - 1, 2**31 - 1, 0, 2**31 - 1), "takes too many weights"),
        ((2**30, 2**20, 0, 2**20), "takes too many weights"),
    ],
)
def test_sizes_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        engine.load().bilinear_filter(*arguments)


@pytest.mark.needs_engine
@pytest.mark.parametrize("arguments", [(2**70, 4, 0, 4), (4.5, 4, 0, 4), ("4", 4, 0, 4), (4, 4, 0), (None, 4, 0, 4)])
def test_what_is_no_size_is_refused(arguments):
    with pytest.raises(TypeError):
        engine.load().bilinear_filter(*arguments)
