"""The sharing plan gives every window what brute force gives it, and computes less."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dcnn_fast import engine, ops, spec
from dcnn_fast.ops.block import output_tile
from dcnn_fast.plan import brute_force, share
from dcnn_fast.spec import Block, Column, CrossMapNorm, Pool, SameMapNorm

NORMS = (
    SameMapNorm(1, 0.4),
    None,
    CrossMapNorm(3, 0.3),
    CrossMapNorm(4, 0.5, 0.5, 2.0),
    SameMapNorm(3, 0.4),
    SameMapNorm(2, 0.4),
    SameMapNorm(4, 0.4),
)


def random_column(rng):
    """Up to four blocks of any kind that fit a window of 20 to 50 pixels."""
    while True:
        blocks = []
        for _ in range(rng.integers(1, 5)):
            size = int(rng.integers(1, 6))
            pool_size = int(rng.integers(1, 4))
            pool = Pool(pool_size, int(rng.integers(1, pool_size + 1))) if rng.random() < 0.6 else None
            blocks.append(
                Block(
                    int(rng.integers(1, 4)) * 2, size, int(rng.integers(1, min(size, 3) + 1)), int(rng.integers(0, size)),
                    groups=1 if not blocks or rng.random() < 0.7 else 2, pool=pool, norm=NORMS[rng.integers(len(NORMS))],
                    order="conv-pool-norm" if rng.random() < 0.6 else "conv-norm-pool",
                )
            )  # fmt: skip
        try:
            return Column(
                "warp", tuple(blocks), (4,), plane=60, window=int(rng.integers(20, 50)), mean=(3.0, 2.0, 1.0), scale=0.5,
                rounding="up" if rng.random() < 0.5 else "down",
            )  # fmt: skip
        except ValueError:
            continue


def random_windows(rng, column, plane):
    """Windows close together, on a grid, far apart, or all alike."""
    room = np.array(plane) - column.window
    count = int(rng.integers(1, 13))
    reach = np.minimum(room, int(rng.choice([0, 3, 8, 100])))
    step = int(rng.choice([1, 1, 2, 4]))
    return rng.integers(0, reach // step + 1, (count, 2)) * step


def run(column, plan, pixels, dtype, precision="ieee"):
    """The last block's output for each view. What no region stores is NaN, so that reading it would show."""
    sources, mean, scale, channels = [pixels], column.mean, column.scale, column.channels
    for i, (block, regions) in enumerate(zip(column.blocks, plan.blocks, strict=True)):
        generator = torch.Generator().manual_seed(i)
        shape = (block.filters, channels // block.groups, block.size, block.size)
        weight = torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) / shape[1]
        bias = torch.randn(shape[0], generator=generator, dtype=torch.float64).to(dtype)
        out = [
            torch.full((images, rows, cols, block.filters), float("nan"), dtype=dtype).permute(0, 3, 1, 2)
            for images, rows, cols in regions.outputs
        ]
        sources = ops.block_regions(
            sources, regions, weight, bias, stride=block.stride, padding=block.padding, groups=block.groups,
            rounding=column.rounding, pool=block.pool, norm=block.norm, order=block.order, mean=mean, scale=scale,
            precision=precision, out=out,
        )  # fmt: skip
        mean, scale, channels = (), 1.0, block.filters
    return sources[0][torch.from_numpy(plan.window_of)]


def cases(seeds):
    for seed in seeds:
        rng = np.random.default_rng(seed)
        column = random_column(rng)
        plane = tuple(column.window + rng.integers(0, 30, 2))
        pixels = torch.from_numpy(rng.integers(0, 256, (1, 3, *plane)).astype(np.uint8))
        yield seed, column, random_windows(rng, column, plane), plane, pixels


@pytest.mark.parametrize("part", range(4))
def test_every_window_gets_what_brute_force_gives_it(part, monkeypatch):
    monkeypatch.setenv("DCNN_FAST_BACKEND", "reference")
    shared = 0
    for seed, column, windows, plane, pixels in cases(range(part * 100, part * 100 + 60)):
        plan = share(column, windows, plane)
        shared += plan.name == "sharing"
        expected = run(column, brute_force(column, windows), pixels, torch.float64)
        result = run(column, plan, pixels, torch.float64)
        torch.testing.assert_close(result, expected, rtol=1e-12, atol=1e-13, msg=lambda m, s=seed: f"seed {s}: {m}")
    assert shared > 10


WAYS = [(isa, precision) for isa in engine.isas() for precision in ("ieee", "bf16")]
WAYS += [(isa, precision) for isa in engine.emulated_isas() for precision in ("bf16", "bf16x3")]


@pytest.mark.needs_engine
@pytest.mark.parametrize(("isa", "precision"), WAYS)
def test_bit_for_bit_on_the_engine(isa, precision, monkeypatch):
    monkeypatch.setenv("DCNN_FAST_CPU_ISA", isa)
    monkeypatch.setenv("DCNN_FAST_BACKEND", "cpu")
    shared = 0
    for seed, column, windows, plane, pixels in cases(range(1000, 1200)):
        plan = share(column, windows, plane, precision=precision)
        shared += plan.name == "sharing"
        expected = run(column, brute_force(column, windows), pixels, torch.float32, precision)
        assert torch.equal(run(column, plan, pixels, torch.float32, precision), expected), seed
    assert shared > 30


def _windows(seed=0, count=50, reach=33):
    return np.random.default_rng(seed).integers(0, reach, (count, 2))


def _preset_columns():
    """Every different column of every preset, in both geometries."""
    found = {}
    for name in spec.preset_names():
        for geometry in spec.GEOMETRIES:
            for column in spec.preset(name, geometry).columns:
                found[str((column.blocks, column.rounding))] = column
    return list(found.values())


@pytest.mark.needs_engine
@pytest.mark.parametrize(("isa", "precision"), [("", "ieee"), *((isa, "bf16") for isa in engine.emulated_isas())])
def test_every_preset_is_bit_for_bit_what_brute_force_gives(isa, precision, monkeypatch):
    monkeypatch.setenv("DCNN_FAST_CPU_ISA", isa)
    monkeypatch.setenv("DCNN_FAST_BACKEND", "cpu")
    pixels = torch.randint(0, 256, (1, 3, 256, 256), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    windows = np.array([[0, 0], [8, 16], [8, 0], [3, 32]])
    for column in _preset_columns():
        plan = share(column, windows, (256, 256), precision=precision)
        first = column.blocks[0]
        in_tiles = output_tile("cpu", size=first.size, stride=first.stride, channels=3, precision=precision).side > 1
        assert plan.name == ("brute-force" if in_tiles else "sharing")
        expected = run(column, brute_force(column, windows), pixels, torch.float32, precision)
        assert torch.equal(run(column, plan, pixels, torch.float32, precision), expected)


def test_no_preset_multiplies_more_than_by_brute_force():
    for column in _preset_columns():
        for seed, reach in enumerate((1, 9, 33, 33, 300, 3000)):
            windows = _windows(seed, reach=reach)
            plane = (max(256, reach + 224), max(256, reach + 224))
            shared, alone = share(column, windows, plane), brute_force(column, windows)
            for ours, theirs in zip(shared.blocks, alone.blocks, strict=True):
                assert ours.conv_outputs() <= theirs.conv_outputs()


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_fifty_windows_of_the_global_column_share_most_of_block_1(backend):
    """Block 2 is shared where its outputs are computed one by one; the engine computes it in tiles."""
    column = spec.preset("scnn-arch1").columns[0]
    ratios = []
    for seed in range(20):
        shared, alone = share(column, _windows(seed), (256, 256), backend), brute_force(column, _windows(seed))
        ratios.append([a.conv_outputs() / s.conv_outputs() for s, a in zip(shared.blocks, alone.blocks, strict=True)])
    first, second, *_ = np.mean(ratios, axis=0)
    assert first > 7
    if backend == "cpu":
        assert second == 1
    else:
        assert second > 1.8


@pytest.mark.needs_engine
def test_an_instruction_set_decides_what_its_windows_share(monkeypatch):
    """In one process, one after the other: bfloat16 in a tile unit is summed one by one, elsewhere block 2 is in tiles."""
    column = spec.preset("scnn-arch1").columns[0]
    alone = brute_force(column, _windows()).blocks[1].conv_outputs()
    for _ in range(2):
        for isa in (*engine.isas(), *engine.emulated_isas()):
            monkeypatch.setenv("DCNN_FAST_CPU_ISA", isa)
            for precision in ("ieee", "bf16"):
                second = share(column, _windows(), (256, 256), precision=precision).blocks[1].conv_outputs()
                one_by_one = precision == "bf16" and engine.has_tile_unit()
                assert (second * 1.8 < alone) if one_by_one else (second == alone)


def test_far_apart_windows_are_not_made_to_share():
    column = spec.preset("scnn-arch1").columns[0]
    windows = np.array([[0, 0], [0, 2000], [2000, 0], [2000, 2000]])
    plan = share(column, windows, (2224, 2224))
    assert plan.name == "brute-force"
    assert [len(block) for block in plan.blocks] == [4] * 4


def test_equal_windows_are_computed_once():
    column = spec.preset("scnn-arch1").columns[0]
    plan = share(column, np.array([[5, 9]] * 50), (256, 256))
    assert [len(block) for block in plan.blocks] == [1] * 4
    assert plan.window_of.tolist() == [0] * 50


def test_the_order_of_views_changes_nothing_but_where_they_are_found():
    column = spec.preset("scnn-arch1").columns[0]
    windows = _windows()
    order = np.random.default_rng(1).permutation(50)
    one, other = share(column, windows, (256, 256)), share(column, windows[order], (256, 256))
    for a, b in zip(one.blocks, other.blocks, strict=True):
        assert a.outputs == b.outputs
        assert torch.equal(a.regions, b.regions)
        assert torch.equal(a.pieces, b.pieces)
        assert torch.equal(a.stores, b.stores)
    assert one.window_of[order].tolist() == other.window_of.tolist()


def test_nothing_is_stored_twice_and_the_last_block_is_whole():
    for _seed, column, windows, plane, _pixels in cases(range(2000, 2060)):
        plan = share(column, windows, plane)
        for number, block in enumerate(plan.blocks, 1):
            counts = [np.zeros(shape, int) for shape in block.outputs]
            for region in block:
                for piece in region.pieces:
                    for s in piece.stores:
                        counts[s.output][s.image, s.out_top : s.out_top + s.height, s.out_left : s.out_left + s.width] += 1
            assert all(count.max() <= 1 for count in counts)
            assert all((count == 1).all() for count in counts[1:])
            assert number < len(plan.blocks) or (counts[0] == 1).all()
