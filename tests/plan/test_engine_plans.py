"""The engine's plans are those of `reference_plan`, table by table, and its tiles those of its statement."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import product

import numpy as np
import pytest
import torch

from dcnn_fast import engine
from dcnn_fast.networks import Block, Column
from dcnn_fast.ops.block import OutputTile, output_tile
from dcnn_fast.plan import share
from dcnn_fast.plan.cost import MACS_PER_BYTE, tiles_of
from dcnn_fast.plan.share import planned, records
from tests.plan import reference_plan
from tests.plan.networks import preset_columns, random_column, random_windows

pytestmark = pytest.mark.needs_engine

PRESETS = preset_columns()
ISAS = (*engine.isas(), *engine.emulated_isas())
PARTS, PROBLEMS = 10, 1000
COLUMN = Column("warp", (Block(4, 3, 2, 1), Block(6, 3, groups=2)), (4,), plane=60, window=30)


def assert_equal(plan, expected, what):
    assert plan.name == expected.name, what
    assert np.array_equal(plan.window_of, expected.window_of), what
    for number, (ours, theirs) in enumerate(zip(plan.blocks, expected.blocks, strict=True), 1):
        assert ours.outputs == theirs.outputs, (what, number)
        for name in ("regions", "pieces", "stores"):
            assert torch.equal(getattr(ours, name), getattr(theirs, name)), (what, number, name)


def problem_of(rng):
    """A column, windows and a plane: a preset's on small and large photographs, or a random column's."""
    if rng.random() < 0.75:
        column = random_column(rng)
        plane = tuple(int(side) for side in column.window + rng.integers(0, 30, 2))
        return column, random_windows(rng, column, plane), plane
    column = PRESETS[rng.integers(len(PRESETS))]
    room, step = rng.choice([32, 100, 400, 2000]), int(rng.choice([1, 2, 4, 8, 24, 56]))
    plane = tuple(int(side) for side in column.window + rng.integers(0, room + 1, 2))
    windows = rng.integers(0, (np.array(plane) - column.window) // step + 1, (rng.integers(1, 51), 2)) * step
    if rng.random() < 0.4:  # a square plane with every window's mirror image shows how equal costs are decided
        plane, windows = (max(plane),) * 2, np.concatenate([windows, windows[:, ::-1]])
    return column, windows, plane


def random_tiles(rng, column):
    return tuple(
        OutputTile(int(rng.integers(1, 5)), block.size + int(rng.integers(0, 3)), float(block.size**2 * rng.choice([1, 0.3])))
        for block in column.blocks
    )


@pytest.mark.parametrize("part", range(PARTS))
def test_plans_are_the_references(part, monkeypatch):
    """10,000 problems under all tile rules: every backend's, every instruction set's in every precision, and random ones."""
    shared = cut = 0
    for seed in range(part * PROBLEMS, (part + 1) * PROBLEMS):
        rng = np.random.default_rng(seed)
        column, windows, plane = problem_of(rng)
        if rng.random() < 0.3:
            tiles, price, always = random_tiles(rng, column), float(rng.choice([9.0, 15.0, 0.0])), bool(rng.random() < 0.5)
            plan = planned(column, windows, plane, records(column, tiles), price, always)
        else:
            monkeypatch.setenv("DCNN_FAST_CPU_ISA", str(rng.choice(ISAS)))
            backend, precision = (
                rng.choice(["cpu", "cpu", "reference", "triton", "cuda"]),
                rng.choice(["ieee", "bf16", "bf16x3"]),
            )
            tiles, price, always = tiles_of(column, backend, precision), MACS_PER_BYTE[backend], False
            plan = share(column, windows, plane, backend, precision)
        assert_equal(plan, reference_plan.planned(column, windows, plane, tiles, price, always), seed)
        shared += plan.name == "sharing"
        cut += any(len(set(rows[rows[:, 4] > 0, 4])) > 1 for rows in _stores_by_piece(plan))
    assert shared > PROBLEMS // 3, "too few plans share for this test to show anything"
    assert cut > PROBLEMS // 100, "groups overlap in too few plans for this test to show anything"


def _stores_by_piece(plan):
    """The stores of each piece that has several."""
    for block in plan.blocks:
        stores = block.stores.numpy()
        yield from (stores[first : first + count] for *_, first, count in block.pieces.tolist() if count > 1)


@pytest.mark.parametrize("isa", ISAS)
def test_tiles_are_the_references(isa, monkeypatch):
    monkeypatch.setenv("DCNN_FAST_CPU_ISA", isa)
    tiled = 0
    for size, channels, filters, precision in product(range(1, 13), (1, 2, 3, 12, 64), (1, 33, 64), ("ieee", "bf16", "bf16x3")):
        for stride in range(1, size + 1):
            problem = {"size": size, "stride": stride, "channels": channels, "filters": filters, "precision": precision}
            tile = output_tile("cpu", **problem)
            assert tile == reference_plan.output_tile("cpu", **problem), problem
            tiled += tile.side > 1
    assert tiled > 100


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_windows(count):
    windows = np.array([[3, 4], [5, 6]])[:count]
    plan = share(COLUMN, windows, (60, 60))
    assert plan.window_of.tolist() == list(range(count))
    assert [block.outputs[0] for block in plan.blocks] == [(count, 16, 16), (count, 14, 14)]
    assert all(len(block) >= count for block in plan.blocks)


def test_the_same_plan_is_made_on_many_threads_at_once():
    draws = [np.random.default_rng(seed).integers(0, 30, (50, 2)) for seed in range(40)]
    expected = [share(COLUMN, windows, (60, 60)) for windows in draws]
    with ThreadPoolExecutor(8) as pool:
        for plan, one in zip(pool.map(lambda windows: share(COLUMN, windows, (60, 60)), draws), expected, strict=True):
            assert_equal(plan, one, "threads")


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("size", 0, "size must be at least stride"),
        ("stride", 0, "size must be at least stride"),
        ("stride", 2**31, "size must be at least stride"),
        ("padding", 3, "padding must be less"),
        ("padding", -1, "padding must be less"),
        ("groups", 3, "groups must divide"),
        ("filters", 0, "filters and groups must be"),
        ("pool_stride", 0, "the pool's size"),
        ("pool_size", 2**40, "the pool's size"),
        ("pool_size", 100, "it does not fit"),
        ("norm_size", 0, "the norm's size"),
        ("tile_side", 0, "tiles must be of 1"),
        ("tile_side", 2**62, "tiles must be of 1"),
        ("tile_size", 2, "tiles must be of 1"),
        ("tile_size", 2**62, "tiles must be of 1"),
        ("tile_macs", np.nan, "a tile's multiply-adds"),
    ],
)
def test_what_no_column_has_is_refused_by_name(field, value, rule):
    blocks = records(COLUMN, tiles_of(COLUMN, "reference", "ieee"))
    blocks[0][field] = value
    with pytest.raises(ValueError, match=f"block 1: .*{rule}"):
        planned(COLUMN, np.array([[0, 0]]), (60, 60), blocks, 9.0)


@pytest.mark.parametrize(
    ("windows", "plane", "price", "rule"),
    [
        ([[0, 2**31]], (60, 60), 9.0, "every window must lie in its plane"),
        ([[-(2**62), 0]], (60, 60), 9.0, "every window must lie in its plane"),
        ([[0, 0]], (0, 60), 9.0, "the plane must have"),
        ([[0, 0]], (60, 2**31), 9.0, "the plane must have"),
        ([[0, 0]], (60, 60), np.inf, "the price of a byte"),
        ([[0, 0, 0]], (60, 60), 9.0, r"windows must be \[n, 2\]"),
        ([0, 0], (60, 60), 9.0, r"windows must be \[n, 2\]"),
    ],
)
def test_windows_that_no_plane_has_are_refused_by_name(windows, plane, price, rule):
    with pytest.raises(ValueError, match=rule):
        planned(COLUMN, np.array(windows), plane, records(COLUMN, tiles_of(COLUMN, "reference", "ieee")), price)
