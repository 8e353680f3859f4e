"""Window offsets: keyed by picture, seed and column; the same on every machine; uniform; on the grid."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from scipy.stats import chisquare

from dcnn_fast import engine
from dcnn_fast.ops.views import cut, draw_windows, offsets

DIGEST = "ab" * 32
GOLDEN_WARP = [[8, 18], [29, 19], [9, 11], [29, 18]]  # computed once with Python integers from the definition
GOLDEN_LOCAL = [[82, 162], [271, 49], [229, 165], [35, 81]]


def _draw(views=50, *, digest=DIGEST, seed=0, key="warp:0", view="warp", shape=(256, 256), **options):
    return draw_windows(digest, seed, key, views, view=view, plane_shape=shape, **options)


def test_golden_values_notice_a_change_of_the_generator():
    assert _draw(4).tolist() == GOLDEN_WARP
    assert _draw(4, key="local:0", view="local", shape=(600, 800)).tolist() == GOLDEN_LOCAL


def test_more_views_begin_with_the_same_ones():
    many = _draw(300)
    for count in (1, 7, 50, 299):
        np.testing.assert_array_equal(_draw(count), many[:count])


def test_seed_picture_and_column_each_change_the_draws():
    draws = [_draw(), _draw(seed=1), _draw(digest="cd" * 32), _draw(key="warp:1")]
    for i, one in enumerate(draws):
        for other in draws[:i]:
            assert (one != other).mean() > 0.8


@pytest.mark.parametrize("grid", [1, 2, 4, 8])
def test_offsets_are_uniform_over_the_grid_from_zero_to_the_largest(grid):
    offsets = _draw(20_000, grid=grid)
    for axis in (0, 1):
        values, counts = np.unique(offsets[:, axis], return_counts=True)
        assert values.tolist() == list(range(0, 33, grid))
        assert chisquare(counts).pvalue > 1e-3
    pairs = offsets[:, 0] // grid * 33 + offsets[:, 1] // grid
    assert chisquare(np.unique(pairs, return_counts=True)[1]).pvalue > 1e-3


@pytest.mark.parametrize(("grid", "height", "width"), [(1, 256, 261), (4, 259, 300), (8, 263, 256), (8, 264, 271)])
def test_local_adds_a_crop_within_the_last_full_multiple(grid, height, width):
    offsets = _draw(20_000, key="local:0", view="local", shape=(height, width), grid=grid)
    assert (offsets % grid == 0).all()
    for axis, side in ((0, height), (1, width)):
        largest = (side - 256) // grid * grid + 32
        assert (offsets[:, axis].min(), offsets[:, axis].max()) == (0, largest)
        assert largest + 224 <= side


def test_large_planes_need_all_the_bits():
    offsets = _draw(5000, key="local:0", view="local", shape=(2**31 - 1, 300))
    assert offsets[:, 0].max() > 2**30
    assert len(np.unique(offsets[:, 0] % 2**16)) > 4500


def test_cut_gives_the_windows():
    plane = np.arange(9 * 8 * 3, dtype=np.int64).reshape(9, 8, 3)
    windows = np.array([[0, 0], [4, 3], [2, 1]])
    result = cut(plane, windows, 5)
    for image, (top, left) in zip(result, windows, strict=True):
        np.testing.assert_array_equal(image, plane[top : top + 5, left : left + 5])
    for bad in ([[5, 0]], [[0, 4]], [[-1, 0]], [[0, 0, 0]]):
        with pytest.raises(ValueError, match="windows must be"):
            cut(plane, np.array(bad), 5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"views": 0}, "samples must be an integer of at least 1, got 0"),
        ({"seed": -1}, "seed must be an integer of at least 0, got -1"),
        ({"seed": True}, "seed must be an integer"),
        ({"grid": 0}, "grid must be an integer of at least 1, got 0"),
        ({"window": 257}, "window must not exceed plane, got 257 and 256"),
        ({"shape": (255, 256)}, r"plane_shape must be \(256, 256\) for view warp"),
        ({"view": "local", "shape": (255, 300)}, "plane_shape must be at least plane = 256 on both sides"),
        ({"view": "left"}, "view must be one of"),
    ],
)
def test_bad_arguments_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        _draw(**change)


def _block(key, counter):
    """Four words of Philox4x64-10, in Python's integers (Salmon et al. 2011)."""
    key, words, mask = list(key), [counter, 0, 0, 0], 2**64 - 1
    for _ in range(10):
        a, b = 0xD2E7470EE14C6C93 * words[0], 0xCA5A826395121157 * words[2]
        words = [b >> 64 ^ words[1] ^ key[0], b & mask, a >> 64 ^ words[3] ^ key[1], a & mask]
        key = [key[0] + 0x9E3779B97F4A7C15 & mask, key[1] + 0xBB67AE8584CAA73B & mask]
    return words


def _stated(key, samples, windows, crops, grid):
    """The offsets by docs/design.md#scores, draw by draw."""
    found = []
    for i in range(samples):
        words = _block(key, i + 1)
        draws = [word * (most // grid + 1) // 2**64 * grid for word, most in zip(words, (*windows, *crops), strict=True)]
        found.append([draws[0] + draws[2], draws[1] + draws[3]])
    return found


def _problems(count):
    """Keys of every kind, the smallest and largest limits and grids, and where both meet."""
    random = np.random.default_rng(5)
    for case in range(count):
        key = tuple(int(word) for word in random.integers(0, 2**64, 2, dtype=np.uint64))
        key = [key, (0, 0), (2**64 - 1, 2**64 - 1), (0, 2**63)][case % 4 if case < 8 else 0]
        limits = [int(2 ** random.uniform(0, 31)) - 1 if random.random() < 0.8 else 2**31 - 1 for _ in range(4)]
        grids = [1, 2, 3, 4, 8, 1000, int(2 ** random.uniform(0, 31)), limits[0] or 1, limits[0] + 1, 2**31 - 1]
        grid = grids[random.integers(len(grids))]
        yield key, int(random.integers(1, 80)), tuple(limits[:2]), tuple(limits[2:]), min(grid, 2**31 - 1)


@pytest.mark.needs_engine
def test_the_engine_and_numpy_draw_what_the_definition_says():
    for number, problem in enumerate(_problems(600)):
        drawn = engine.load().window_offsets(*problem)
        assert (drawn.dtype, drawn.shape) == (np.int64, (problem[1], 2))
        np.testing.assert_array_equal(drawn, offsets.by_numpy(*problem), str(problem))
        if number % 10 == 0:
            assert drawn.tolist() == _stated(*problem), problem


def test_the_public_draws_are_of_the_key_that_is_documented():
    random = np.random.default_rng(6)
    for i in range(60):
        height, width = (int(side) for side in random.integers(256, 9000, 2)) if i % 2 else (256, 256)
        seed, samples, grid = (
            int(random.integers(2**62)) ** (i % 5),
            int(random.integers(1, 90)),
            [1, 2, 4, 8, 1000, 10**30][i % 6],
        )
        drawn = _draw(samples, seed=seed, key=f"k{i}", view="local" if i % 2 else "warp", shape=(height, width), grid=grid)
        key = hashlib.sha256(f"dcnn_fast views 1|{seed}|{DIGEST}|k{i}".encode()).digest()
        words = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:16], "little")
        assert drawn.tolist() == _stated(words, samples, (32, 32), (height - 256, width - 256), grid)


@pytest.mark.needs_engine
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (((1, 2), 0, (0, 0), (0, 0), 1), ValueError, "number of samples"),
        (((1, 2), -(2**63), (0, 0), (0, 0), 1), ValueError, "number of samples"),
        (((1, 2), 2**62, (0, 0), (0, 0), 1), ValueError, "number of samples"),
        (((1, 2), 3, (-1, 0), (0, 0), 1), ValueError, "a limit must be from 0"),
        (((1, 2), 3, (0, 0), (0, 2**31), 1), ValueError, "a limit must be from 0"),
        (((1, 2), 3, (0, 2**63 - 1), (0, 0), 1), ValueError, "a limit must be from 0"),
        (((1, 2), 3, (0, 0), (0, 0), 0), ValueError, "the grid must be from 1"),
        (((1, 2), 3, (0, 0), (0, 0), 2**31), ValueError, "the grid must be from 1"),
        (((-1, 2), 3, (0, 0), (0, 0), 1), TypeError, "incompatible"),
        (((2**64, 2), 3, (0, 0), (0, 0), 1), TypeError, "incompatible"),
        (((1, 2), 3.5, (0, 0), (0, 0), 1), TypeError, "incompatible"),
        (((1, 2), 3, (0,), (0, 0), 1), TypeError, "incompatible"),
    ],
)
def test_the_engine_refuses_what_is_out_of_range(arguments, error, message):
    with pytest.raises(error, match=message):
        engine.load().window_offsets(*arguments)
