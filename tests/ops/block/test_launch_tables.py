"""Tiles, strips and all tables of a column, as csrc/core/launch lays them out, against the statements in Python."""

from __future__ import annotations

import threading
from itertools import pairwise

import numpy as np
import pytest
import torch

from dcnn_fast import engine
from dcnn_fast.networks import Block, Column
from dcnn_fast.ops import CrossMapNorm, Pool
from dcnn_fast.ops.block.cuda.config import config_of, strip_cutter, strips_of
from dcnn_fast.ops.block.params import BlockOptions, BlockParams
from dcnn_fast.ops.block.triton.config import ForwardConfig
from dcnn_fast.ops.block.triton.forward_launch import tile_shape, tiles_of
from dcnn_fast.ops.records import OUTPUT, PIECE, REGION, SOURCE, STORE, STRIP, TILE
from dcnn_fast.ops.region import Piece, Region, RegionList, Store, held
from dcnn_fast.ops.tables import records
from dcnn_fast.plan import brute_force, share
from tests.ops.block import strips_statement

pytestmark = pytest.mark.needs_engine

COLUMN = Column(
    "warp", (Block(16, 5, stride=2, pool=Pool(), norm=CrossMapNorm()), Block(16, 3, padding=1), Block(16, 3, padding=1)), (4,),
    plane=96, window=64,
)  # fmt: skip
PLANE = (96, 120)
TABLES = ("programs", "regions", "pieces", "stores", "sources", "outputs")
RECORDS = {"regions": REGION, "pieces": PIECE, "stores": STORE, "sources": SOURCE, "outputs": OUTPUT}


def _plans():
    rng = np.random.default_rng(0)
    for count in (1, 2, 7, 50):
        windows = rng.integers(0, 33, (count, 2))
        yield share(COLUMN, windows, PLANE, "triton", always=True)
        yield brute_force(COLUMN, windows)


def _random_regions(rng):
    """Regions that need not come from a plan: any extents, any phases, no or several pieces."""
    regions = []
    for _ in range(int(rng.integers(0, 12))):
        rows, cols = map(int, rng.integers(1, 70, 2))
        pieces = []
        for _ in range(int(rng.integers(0, 4))):
            top, left = int(rng.integers(0, min(rows, 3))), int(rng.integers(0, min(cols, 3)))
            height, width = -(-(rows - top) // 2), -(-(cols - left) // 2)
            pieces.append(Piece(top, left, height, width, (Store(0, 0, height, width, 0, 0, 0, 0),)))
        regions.append(Region(0, 0, 0, 0, 200, 200, 0, 0, rows, cols, 0, 0, tuple(pieces)))
    return RegionList.of(regions, [(1, 40, 40)])


def _configs():
    for channels, filters, size, stride, pool in ((3, 64, 11, 2, Pool()), (64, 64, 5, 1, Pool()), (16, 48, 3, 1, None)):
        options = BlockOptions(stride=stride, pool=pool, norm=CrossMapNorm())
        half = {"dtype": torch.float16, "out_dtype": torch.float16, "weight_dtype": torch.float16}
        yield config_of(BlockParams(1, channels, 64, 64, filters, size, options, **half))


def test_strips_are_those_of_the_statement():
    rng, shared = np.random.default_rng(1), 0
    made = [_random_regions(rng) for _ in range(40)]
    for config in _configs():
        pooled = config.pool > 1
        found = [of for plan in _plans() for of in (plan.blocks[:1] if pooled else plan.blocks[1:])] + made
        for cols in range(1, 130):
            assert config.rows_of(cols) == strips_statement.rows_of(config, cols), (config, cols)
        for number, regions in enumerate(found):
            for blocks in (1, 7, 216):
                strips = strips_of(regions, config, blocks)
                expected = strips_statement.strips_of(regions, config, blocks)
                assert torch.equal(strips, expected), (config, number, blocks)
                shared += len(set(strips[:, 0].tolist())) < len(strips)
    assert shared > 100  # regions of several strips


@pytest.mark.parametrize(
    ("tile", "flat"), [((8, 16, 0, 2), False), ((8, 16, 2, 2), False), ((16, 32, 0, 2), False), ((4, 32, 0, 0), True)]
)
def test_tiles_cover_every_regions_outputs_once_and_in_order(tile, flat):
    rows, cols, before, after = tile
    config = ForwardConfig(rows, cols, 64, 1, 16, before, after, flat, False, 4, 2)
    rng = np.random.default_rng(2)
    for regions in [regions for plan in _plans() for regions in plan.blocks] + [_random_regions(rng) for _ in range(20)]:
        expected = []
        for number, region in enumerate(regions.rows()):
            if flat:
                expected += [(number, first, 0) for first in range(0, int(region["rows"] * region["cols"]), rows * cols)]
            else:
                step = rows - before - after, cols - before - after
                expected += [
                    (number, row, col) for row in range(0, region["rows"], step[0]) for col in range(0, region["cols"], step[1])
                ]
        assert tiles_of(regions, config).tolist() == [list(row) for row in expected]


def _shapes(kind):
    """The engine's record of each of the column's blocks and the configuration that cuts its programs."""
    made = []
    for block in COLUMN.blocks:
        if kind == "tiles":
            config = ForwardConfig(8, 16, 16, 1, 16, 0, 2, False, False, 4, 2)
            made.append((engine.load().BlockShape.tiles(tile_shape(config), filters=block.filters, item=2), config))
        else:
            config = next(of for of in _configs() if (of.pool > 1) == (block.pool is not None))
            shape = engine.load().BlockShape.strips(strip_cutter(config), programs=7, filters=block.filters, item=2)
            made.append((shape, config))
    return made


def _laid(tables, plan, source=(4096, 5, 6, 7, 8)):
    return tables.lay(held(plan.blocks), source)


def _read(memory, tables, block):
    """A block's tables in the memory, by name."""
    found = {}
    for name, (first, size) in zip(TABLES, tables.places(block), strict=True):
        found[name] = memory[first : first + size]
    return found


def _rows(memory, record):
    """The whole rows of a table whose memory may be larger than needed."""
    return memory[: len(memory) // record.itemsize * record.itemsize].view(record)


@pytest.mark.parametrize("kind", ["tiles", "strips"])
@pytest.mark.parametrize("again", [False, True])
def test_a_columns_tables_are_those_of_its_blocks_one_by_one(kind, again):
    shapes = _shapes(kind)
    tables = engine.load().ColumnTables([shape for shape, _ in shapes], again)
    for plan in _plans():
        size, maps, last, programs, _ = _laid(tables, plan)
        memory = np.full(size + 64, 0xAB, np.uint8)
        tables.write(memory, 1 << 40, 1 << 41)
        assert (memory[size:] == 0xAB).all()
        ends = {1 << 40: (1 << 40) + maps, 1 << 41: (1 << 41) + last}
        made, taken = [], []
        for number, (regions, (_, config)) in enumerate(zip(plan.blocks, shapes, strict=True)):
            found = _read(memory, tables, number)
            for name in ("regions", "pieces", "stores"):
                expected = getattr(regions, name).numpy().tobytes()
                assert found[name].tobytes()[: len(expected)] == expected, name
            empty = _rows(found["regions"], REGION)[len(regions)]  # for idle programs
            assert empty["rows"] == 0 and empty["cols"] == 1 and empty["count"] == 0
            sources = _rows(found["sources"], SOURCE)
            if number == 0:
                assert sources[0].tolist() == (4096, 5, 6, 7, 8)
            else:
                assert [row["address"] for row in sources[: len(made)]] == [address for address, *_ in made]
                for row, (_, rows, cols) in zip(sources, made, strict=False):
                    assert row.tolist()[1:] == (rows * cols * 16, cols * 16, 16, 1)
            outputs = _rows(found["outputs"], OUTPUT)[: len(regions.outputs)]
            made = [tuple(row) for row in outputs.tolist()]
            base = 1 << 41 if number == len(shapes) - 1 else 1 << 40
            for (address, rows, cols), shape in zip(made, regions.outputs, strict=True):
                assert (rows, cols) == shape[1:] and address % 256 == 0
                taken.append((address, address + 2 * 16 * shape[0] * rows * cols))
                assert base <= address and taken[-1][1] <= ends[base]
            kept = found["programs"][: programs[number] * (STRIP if kind == "strips" else TILE).itemsize].view(np.int64)
            kept = kept.reshape(programs[number], -1)
            wanted = strips_of(regions, config, 7) if kind == "strips" else tiles_of(regions, config)
            assert (kept[kept[:, 0] != len(regions)] == wanted.numpy()).all()
            assert again or len(kept) == len(wanted)
        taken.sort()
        assert all(end <= first for (_, end), (first, _) in pairwise(taken))


def test_tables_stay_where_they_lie_until_one_is_larger_than_any_before():
    tables = engine.load().ColumnTables([shape for shape, _ in _shapes("tiles")], True)
    plans = [brute_force(COLUMN, np.array([[i, i] for i in range(count)])) for count in (20, 17, 1, 20, 33, 20)]
    places, moves = [], []
    for plan in plans:
        moves.append(_laid(tables, plan)[-1])
        places.append([tables.places(block) for block in range(3)])
    assert moves == [True, False, False, False, True, False]
    assert all(place == places[0] for place in places[:4]) and places[4] == places[5] != places[0]
    assert all(first % 128 == 0 for place in places for block in place for first, _ in block)


def test_programs_without_work_make_few_different_numbers_of_them():
    tables = engine.load().ColumnTables([_shapes("tiles")[0][0]], True)
    counts = []
    for count in range(1, 600):
        regions = RegionList.of([Region(0, 0, 0, 0, 9, 9, 0, 0, 4, 4, 0, 0, ())] * count, [(1, 4, 4)])
        *_, (programs,), _ = tables.lay(held([regions]), (0,) * 5)
        assert count <= programs < max(1.125 * count, count + 1)
        counts.append(programs)
    assert counts == sorted(counts) and len(set(counts)) <= 16 + 6 * 8


@pytest.mark.parametrize("count", [0, 1, 4, 5, 6, 23, 40])
def test_every_thread_block_keeps_its_strips_when_idle_ones_come_between(count):
    config = next(iter(_configs()))
    shape = engine.load().BlockShape.strips(strip_cutter(config), programs=5, filters=16, item=2)
    tables = engine.load().ColumnTables([shape], True)
    piece = Piece(0, 0, 2, 2, (Store(0, 0, 2, 2, 0, 0, 0, 0),))
    regions = RegionList.of([Region(0, 0, 0, 0, 20, 20, 0, 0, 5, 5, 0, 0, (piece,))] * count, [(1, 4, 4)])
    size, _, _, (programs,), _ = tables.lay(held([regions]), (0,) * 5)
    memory = np.zeros(size, np.uint8)
    tables.write(memory, 0, 0)
    found = torch.from_numpy(memory[: programs * STRIP.itemsize].view(np.int64).reshape(programs, len(STRIP.names)))
    strips = strips_statement.strips_of(regions, config, 5)
    blocks = min(5, 1 << max(len(strips) - 1, 0).bit_length())
    assert torch.equal(found, strips_statement.shared_out(strips, blocks, len(regions)))
    for block in range(blocks):
        own = found[programs * block // blocks : programs * (block + 1) // blocks]
        assert torch.equal(own[own[:, 0] != count], strips[len(strips) * block // blocks : len(strips) * (block + 1) // blocks])


def test_bad_tables_are_refused():
    load = engine.load()
    for wrong in ({"height": 0}, {"width": -1}, {"height": 2**31}):
        with pytest.raises(ValueError, match="must be from 1 to 2\\*\\*31 - 1"):
            load.TileShape(**{"height": 8, "width": 8, "flat": False, **wrong})
    config = next(iter(_configs()))
    good = next(_plans()).blocks[0]
    with pytest.raises(ValueError, match="the table of regions must be int64"):
        load.tiles(good.pieces.numpy(), load.TileShape(height=8, width=8, flat=False))
    for name, value in (("rows", -1), ("rows", 2**40), ("first", -1), ("first", 10**6), ("count", 2**62), ("count", -1)):
        regions = RegionList(good.regions.clone(), good.pieces, good.stores, good.outputs)
        records(regions.regions, REGION)[-1:][name] = value
        with pytest.raises(ValueError, match=r"tables: region \d+ (is too large|has pieces)"):
            strips_of(regions, config, 7)
    pieces = good.pieces.clone()
    records(pieces, PIECE)["rows"][0] = 2**40
    with pytest.raises(ValueError, match="lie outside"):
        strips_of(RegionList(good.regions, pieces, good.stores, good.outputs), config, 7)
    tables = load.ColumnTables([_shapes("tiles")[0][0]], True)
    with pytest.raises(ValueError, match="nothing has been laid out"):
        tables.write(np.zeros(10, np.uint8), 0, 0)
    with pytest.raises(ValueError, match="another number of blocks"):
        _laid(tables, next(_plans()))
    with pytest.raises(ValueError, match="nothing has been laid out"):
        tables.write(np.zeros(10**6, np.uint8), 0, 0)
    one = [(good.regions.numpy(), good.pieces.numpy(), good.stores.numpy(), good.outputs)]
    size, *_ = tables.lay(load.ColumnRegions(one), (0,) * 5)
    with pytest.raises(ValueError, match="too small"):
        tables.write(np.zeros(size - 1, np.uint8), 0, 0)
    with pytest.raises(ValueError, match=r"an output must have sizes whose product is below 2\*\*63"):
        tables.lay(load.ColumnRegions([(*one[0][:3], ((2**40, 2**40, 1),))]), (0,) * 5)


@pytest.mark.parametrize("kind", ["tiles", "strips"])
def test_what_is_written_is_what_was_checked(kind):
    """The caller, or another thread, may change the regions' arrays while or after they are laid out."""
    tables = engine.load().ColumnTables([shape for shape, _ in _shapes(kind)], True)
    regions = held(next(_plans()).blocks)
    size, *_ = tables.lay(regions, (0,) * 5)
    before, after = np.zeros(size, np.uint8), np.zeros(size, np.uint8)
    tables.write(before, 1 << 40, 1 << 41)
    good = regions.tables(0)[0].copy()
    regions.tables(0)[0][:] = 2**40
    tables.write(after, 1 << 40, 1 << 41)
    assert np.array_equal(before, after)
    with pytest.raises(ValueError, match="too large"):
        tables.lay(regions, (0,) * 5)
    stop = threading.Event()

    def change():
        while not stop.is_set():
            regions.tables(0)[0][:] = 2**40
            regions.tables(0)[0][:] = good

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(3000):
            try:
                tables.lay(regions, (0,) * 5)
            except ValueError as error:
                assert "tables: region" in str(error)
                continue
            tables.write(after, 1 << 40, 1 << 41)
            assert np.array_equal(before, after)
    finally:
        stop.set()
        thread.join()
