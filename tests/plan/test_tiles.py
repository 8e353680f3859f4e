"""Plans are exact where convolutions are computed in tiles: sharing gives brute force's numbers and reads nothing undefined."""

from __future__ import annotations

import numpy as np
import pytest

from dcnn_fast.ops.block import OutputTile
from dcnn_fast.plan import brute_force
from dcnn_fast.plan.share import planned, records
from tests.plan import reference_plan
from tests.plan.networks import cases, preset_columns
from tests.plan.tiles import run_block

pytestmark = pytest.mark.needs_engine

MACS_PER_BYTE = 9.0


def tiles_of(column, tile_of):
    """The tile of every block, by its size and stride."""
    return tuple(tile_of(block.size, block.stride) for block in column.blocks)


def share(column, windows, plane, tile_of, always=False):
    """The plan. always: share all that can be shared in every block, whether or not it pays."""
    return planned(column, windows, plane, records(column, tiles_of(column, tile_of)), MACS_PER_BYTE, always)


def random_tiles(seed):
    rng = np.random.default_rng(seed)
    sides, more = rng.integers(1, 5, (6, 4)), rng.integers(0, 3, (6, 4))
    return lambda size, stride: OutputTile(int(sides[size, stride]), size + int(more[size, stride]), float(size**2))


def winograd(size, stride):
    """The tiles of the C++ engine for the presets' blocks, whatever their channels."""
    side, reach = {(5, 1): (4, 5), (3, 1): (4, 3), (11, 2): (3, 12), (11, 4): (4, 12)}[size, stride]
    return OutputTile(side, reach, 0.3 * size**2)


def run(column, plan, tile_of, plane, seed):
    """The last block's output for each view. seed: random content of memory that no store covers."""
    poison = np.random.default_rng(seed)
    sources = [plane]
    for block, regions in zip(column.blocks, plan.blocks, strict=True):
        sources = run_block(sources, regions, block, tile_of(block.size, block.stride), poison)
    return sources[0][plan.window_of]


def random_plane(shape):
    return np.random.default_rng(0).integers(0, 2**64, (1, *shape), dtype=np.uint64)


@pytest.mark.parametrize("part", range(4))
def test_sharing_gives_what_brute_force_gives(part):
    shared = deep = 0
    for seed, column, windows, plane, _ in cases(range(part * 1000, part * 1000 + 60)):
        tile_of = random_tiles(seed)
        plan = share(column, windows, plane, tile_of, always=True)
        shared += plan.name == "sharing"
        deep += any(len(block.outputs) > 1 for block in plan.blocks)  # a map: the next block shares too
        expected = run(column, brute_force(column, windows), tile_of, random_plane(plane), 1)
        assert np.array_equal(run(column, plan, tile_of, random_plane(plane), 2), expected), seed
    assert shared > 20, "too few plans share for this test to show anything"
    assert deep > 10, "too few plans share in two blocks for this test to show anything"


@pytest.mark.parametrize("number", range(len(preset_columns())))
def test_sharing_gives_what_brute_force_gives_for_presets(number):
    column = preset_columns()[number]
    windows = np.array([[9, 3], [25, 35], [41, 3], [25, 3], [25, 4]])
    plane = (column.window + 41, column.window + 35)
    plan = share(column, windows, plane, winograd)
    assert plan.name == "sharing"
    expected = run(column, brute_force(column, windows), winograd, random_plane(plane), 1)
    assert np.array_equal(run(column, plan, winograd, random_plane(plane), 2), expected)


def test_a_plan_never_costs_more_than_brute_force():
    for seed, column, windows, plane, _ in cases(range(5000, 5200)):
        tile_of = random_tiles(seed)
        plan, brute = share(column, windows, plane, tile_of), brute_force(column, windows)
        costs = reference_plan.costs_of(column, tiles_of(column, tile_of), MACS_PER_BYTE)
        for number, (ours, theirs, price) in enumerate(zip(plan.blocks, brute.blocks, costs, strict=True)):
            assert price.of(ours) <= price.of(theirs), (seed, number)
