"""A column's regions in the engine's memory, which planning makes and from which launches are laid out."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

from dcnn_fast import engine
from dcnn_fast.networks import Block, Column, Pool
from dcnn_fast.ops import region_rules
from dcnn_fast.ops.region import ColumnRegions, RegionList, held
from dcnn_fast.plan import share
from tests.ops.random_tables import damaged, random_tables

pytestmark = pytest.mark.needs_engine

COLUMN = Column("local", (Block(8, 5, stride=2, padding=2, pool=Pool(3, 2)), Block(8, 3, padding=1)), (4,), plane=64, window=48)
PLANE = (1, 80, 90)


def _plan():
    windows = np.random.default_rng(5).integers(0, 32, (12, 2))
    return share(COLUMN, windows, PLANE[1:], always=True)


def _tables(regions):
    return [(*of.arrays(), tuple(of.outputs)) for of in regions]


def _equal(a, b):
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def _geometries(stride=2):
    geometry = engine.native.RegionGeometry
    return [
        geometry(size=5, stride=stride, padding=2, rounding="up", pool=(3, 2)),
        geometry(size=3, stride=1, padding=1, rounding="up", pool=(1, 1)),
    ]


def test_lists_are_made_once_and_share_the_engines_memory():
    regions = _plan().blocks
    assert isinstance(regions, ColumnRegions)
    assert len(regions) == 2
    assert regions[0] is regions[0]
    assert [list(of) for of in regions] == [list(of) for of in regions[:2]]
    regions[0].regions[0, 0] = 77
    assert regions.held.tables(0)[0][0, 0] == 77


def test_memory_outlives_the_plan():
    first = _plan().blocks[0]
    kept = first.regions.clone()
    for _ in range(50):
        _plan()
    assert torch.equal(first.regions, kept)


def test_pickled_they_are_lists_of_the_same_tables():
    regions = _plan().blocks
    copies = pickle.loads(pickle.dumps(regions))
    assert isinstance(copies, tuple)
    assert all(_equal(a, b) for a, b in zip(_tables(regions), _tables(copies), strict=True))


def test_lists_from_elsewhere_are_copied():
    lists = tuple(_plan().blocks)
    found = held(lists)
    expected = _tables(lists)
    lists[0].regions[:] = -1
    for block, (regions, *others, outputs) in enumerate(expected[1:], 1):
        assert _equal(found.tables(block), (regions, *others, outputs))
        assert found.outputs(block) == list(outputs)
    assert (found.tables(0)[0] != -1).any()


def test_plans_keep_the_rules_of_their_own_plane_and_geometry_alone():
    regions = _plan().blocks.held
    regions.require(_geometries(), PLANE)
    with pytest.raises(ValueError, match="regions: region"):
        regions.require(_geometries(), (1, 40, 90))
    with pytest.raises(ValueError, match="regions: "):
        regions.require(_geometries(stride=3), PLANE)
    with pytest.raises(ValueError, match="geometries must be one a block, got 1"):
        regions.require(_geometries()[:1], PLANE)


def test_verdicts_are_those_of_the_rules():
    refused = 0
    for seed in range(600):
        rng = np.random.default_rng(seed)
        right = random_tables(rng)
        for tables in (right, damaged(rng, right)):
            if len(tables.sources) != 1:
                continue
            geometry = engine.native.RegionGeometry(
                size=tables.size, stride=tables.stride, padding=tables.padding, rounding=tables.rounding, pool=tables.pool
            )
            try:
                region_rules.require_regions(**tables.arguments())
            except ValueError as error:
                refused += 1
                with pytest.raises(ValueError) as found:  # noqa: PT011 - the whole message is compared
                    engine.native.ColumnRegions([(*tables.arrays(), tables.outputs)]).require([geometry], tables.sources[0])
                assert str(found.value) == str(error)
            else:
                engine.native.ColumnRegions([(*tables.arrays(), tables.outputs)]).require([geometry], tables.sources[0])
    assert refused > 100


def test_what_is_no_table_is_refused_by_name():
    good = next(iter(_plan().blocks))
    with pytest.raises(ValueError, match=r"pieces must be a contiguous table of int64 \[n, 6\]"):
        engine.native.ColumnRegions([(good.regions.numpy(), good.stores.numpy(), good.stores.numpy(), good.outputs)])
    with pytest.raises(ValueError, match="the table of stores must be int64"):
        held([RegionList(good.regions, good.pieces, good.pieces, good.outputs)])
    with pytest.raises(IndexError, match="no such block"):
        held([good]).tables(1)
