"""The sharing plan gives every window brute force's results, and computes less."""

from __future__ import annotations

from collections import defaultdict
from itertools import combinations

import numpy as np
import pytest
import torch

from dcnn_fast import engine, networks, ops
from dcnn_fast.plan import brute_force, share
from dcnn_fast.plan.cost import MACS_PER_BYTE, costs_of, tiles_of
from tests.plan import reference_plan
from tests.plan.networks import cases, preset_columns


def run(column, plan, pixels, dtype, precision="ieee"):
    """The last block's output for each view. Values that no region stores are NaN, so that reading them would show."""
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


@pytest.mark.needs_engine
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


@pytest.mark.needs_engine
@pytest.mark.parametrize(("isa", "precision"), [("", "ieee"), *((isa, "bf16") for isa in engine.emulated_isas())])
def test_every_preset_is_bit_for_bit_what_brute_force_gives(isa, precision, monkeypatch):
    monkeypatch.setenv("DCNN_FAST_CPU_ISA", isa)
    monkeypatch.setenv("DCNN_FAST_BACKEND", "cpu")
    pixels = torch.randint(0, 256, (1, 3, 256, 256), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    windows = np.array([[0, 0], [8, 16], [8, 0], [3, 32]])
    for column in preset_columns():
        plan = share(column, windows, (256, 256), precision=precision)
        assert plan.name == "sharing"
        expected = run(column, brute_force(column, windows), pixels, torch.float32, precision)
        assert torch.equal(run(column, plan, pixels, torch.float32, precision), expected)


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_no_preset_costs_more_than_brute_force(backend):
    for column in preset_columns():
        for seed, reach in enumerate((1, 9, 33, 33, 300, 3000)):
            windows = _windows(seed, reach=reach)
            plane = (max(256, reach + 224), max(256, reach + 224))
            shared, alone = share(column, windows, plane, backend), brute_force(column, windows)
            costs = reference_plan.costs_of(column, tiles_of(column, backend, "ieee"), MACS_PER_BYTE[backend])
            for ours, theirs, cost in zip(shared.blocks, alone.blocks, costs, strict=True):
                assert cost.of(ours) <= cost.of(theirs)


@pytest.mark.needs_engine
@pytest.mark.parametrize(("backend", "least"), [("reference", (7.0, 1.8)), ("cpu", (8.5, 2.2))])
def test_fifty_windows_of_the_global_column_take_far_fewer_multiplications(backend, least):
    """Fewer than window by window as sums over taps, in blocks 1 and 2; tiles meet the counts of docs/engine-notes.md."""
    column = networks.preset("scnn-arch1").columns[0]
    counts = np.zeros((2, 4))
    for seed in range(20):
        shared, alone = share(column, _windows(seed), (256, 256), backend), brute_force(column, _windows(seed))
        counts[0] += [c.multiplications(b) for c, b in zip(costs_of(column, backend), shared.blocks, strict=True)]
        counts[1] += [c.multiplications(b) for c, b in zip(costs_of(column, "reference"), alone.blocks, strict=True)]
    first, second, *_ = counts[1] / counts[0]
    assert first > least[0]
    assert second > least[1]
    if backend == "cpu":
        layers = 50 * (column.features * column.fc[0] + column.fc[0] * column.fc[1])
        assert 2 * (counts[0].sum() / 20 + layers) < 26e9


def _touch(one, other):
    """Whether two regions of a class have convolution outputs in common, as when cut from overlapping groups."""
    down = one.lattice_top < other.lattice_top + other.rows and other.lattice_top < one.lattice_top + one.rows
    return down and one.lattice_left < other.lattice_left + other.cols and other.lattice_left < one.lattice_left + one.cols


@pytest.mark.needs_engine
@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_no_block_output_is_computed_twice_for_several_windows(backend):
    """Also where groups of windows overlap on a large photograph. The pixels where it starts identify an output."""
    touching = 0
    column = networks.preset("scnn-arch1").columns[0]
    for seed, reach in enumerate((33, 150, 250, 400, 700)):
        plane = (reach + 224, reach + 200 + 224)
        windows = _windows(seed, reach=reach)
        plan = share(column, windows, plane, backend)
        for number, (block, regions) in enumerate(zip(column.blocks, plan.blocks, strict=True)):
            seen, of_class = set(), defaultdict(list)
            for region in regions:
                if (region.window_height, region.window_width) != plane if number == 0 else region.source == 0:
                    continue  # a rim, or a window that does not share
                of_class[region.source, region.top % block.stride, region.left % block.stride].append(region)
                for piece in region.pieces:
                    step = block.stride * (block.pool.stride if block.pool else 1)
                    top, left = region.top + piece.top * block.stride, region.left + piece.left * block.stride
                    rows, cols = range(top, top + piece.rows * step, step), range(left, left + piece.cols * step, step)
                    outputs = {(region.source, row, col) for row in rows for col in cols}
                    assert len(outputs) == piece.rows * piece.cols
                    assert not outputs & seen, (reach, number)
                    seen |= outputs
            touching += any(_touch(*two) for same in of_class.values() for two in combinations(same, 2))
    assert touching, "no groups overlap: this test shows nothing"


@pytest.mark.needs_engine
def test_an_instruction_set_decides_what_its_windows_share(monkeypatch):
    """Both in one process: bfloat16 in a tile unit is summed output by output, elsewhere block 2 is computed in tiles."""
    column = networks.preset("scnn-arch1").columns[0]
    singly = share(column, _windows(), (256, 256), "reference").blocks[1].conv_outputs()
    for _ in range(2):
        for isa in (*engine.isas(), *engine.emulated_isas()):
            monkeypatch.setenv("DCNN_FAST_CPU_ISA", isa)
            for precision in ("ieee", "bf16"):
                second = share(column, _windows(), (256, 256), precision=precision).blocks[1].conv_outputs()
                one_by_one = precision == "bf16" and engine.has_tile_unit()
                assert (second == singly) == one_by_one


def test_far_apart_windows_are_not_made_to_share():
    column = networks.preset("scnn-arch1").columns[0]
    windows = np.array([[0, 0], [0, 2000], [2000, 0], [2000, 2000]])
    plan = share(column, windows, (2224, 2224))
    assert plan.name == "brute-force"
    assert [len(block) for block in plan.blocks] == [4] * 4


def test_equal_windows_are_computed_once():
    column = networks.preset("scnn-arch1").columns[0]
    plan = share(column, np.array([[5, 9]] * 50), (256, 256))
    assert [len(block) for block in plan.blocks] == [1] * 4
    assert plan.window_of.tolist() == [0] * 50


@pytest.mark.needs_engine
def test_the_plan_of_one_window_is_made_once():
    """Where a column's window is its plane, the plan is the same for every photograph and number of views."""
    column = networks.squeezenet_column()
    plans = [share(column, np.zeros((views, 2), np.int64), (227, 227)) for views in (50, 3)]
    assert [len(plan.window_of) for plan in plans] == [50, 3]
    assert plans[0].blocks is plans[1].blocks
    elsewhere = share(column, np.array([[4, 7]] * 3), (240, 240))
    assert [plan.blocks[0].regions[0, 6:8].tolist() for plan in (elsewhere, plans[0])] == [[4, 7], [0, 0]]


def test_the_order_of_views_changes_nothing_but_where_they_are_found():
    column = networks.preset("scnn-arch1").columns[0]
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
