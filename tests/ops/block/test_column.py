"""A column's blocks in one call: the bits of the blocks one by one, and refusals by name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from dcnn_fast import engine, ops
from dcnn_fast.networks import Block, Column, CrossMapNorm, Pool, SameMapNorm
from dcnn_fast.ops.block import column_blocks
from dcnn_fast.ops.block.backend import Operands
from dcnn_fast.ops.block.params import problems_of
from dcnn_fast.ops.region import RegionList
from dcnn_fast.plan import share

BLOCKS = (
    Block(16, 5, stride=2, padding=2, pool=Pool(3, 2), norm=CrossMapNorm()),
    Block(24, 3, padding=1, groups=2, pool=Pool(3, 2), norm=SameMapNorm(3), order="conv-norm-pool"),
    Block(100, 3),  # more outputs than its input has values: overwriting the input would show
)
COLUMN = Column("local", BLOCKS, (4,), plane=96, window=64, mean=(120.0, 110.0, 100.0), scale=1 / 64)
PLANE = (1, 3, 96, 110)
ISAS = [*engine.isas(), *engine.emulated_isas()]


def _problems(column=COLUMN, precision="ieee"):
    problems = [replace(each, options=replace(each.options, precision=precision)) for each in problems_of(column)]
    return [replace(problems[0], dtype=torch.uint8), *problems[1:]]


def _operands(column=COLUMN, bias=True):
    make = torch.Generator().manual_seed(3)
    found, channels = [], column.channels
    for block in column.blocks:
        weight = 0.2 * torch.randn(block.filters, channels // block.groups, block.size, block.size, generator=make)
        found.append(Operands(weight, torch.randn(block.filters, generator=make) if bias else None))
        channels = block.filters
    return [replace(found[0], mean=column.mean, scale=column.scale), *found[1:]]


def _plane(seed=0):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, PLANE).astype(np.uint8))


def _regions(count=40, always=True):
    windows = np.random.default_rng(count).integers(0, 33, (count, 2))
    return share(COLUMN, windows, PLANE[2:], always=always).blocks


def _one_by_one(problems, operands, plane, regions):
    sources = [plane]
    for each, of, table in zip(problems, operands, regions, strict=True):
        o = each.options
        sources = ops.block_regions(
            sources, table, of.weight, of.bias, stride=o.stride, padding=o.padding, groups=o.groups, rounding=o.rounding,
            pool=o.pool, norm=o.norm, order=o.order, mean=of.mean, scale=of.scale, precision=o.precision,
        )  # fmt: skip
    return sources[0]


@pytest.mark.parametrize(
    ("isa", "precision"),
    [(isa, of) for isa in ISAS for of in ("ieee", "bf16", "bf16x3") if of != "bf16x3" or engine.native.has_tiles(isa)],
)
@pytest.mark.parametrize("always", [True, False])
def test_bits_are_those_of_the_blocks_one_by_one(isa, precision, always, monkeypatch):
    monkeypatch.setenv("DCNN_FAST_CPU_ISA", isa)
    problems, operands, plane, regions = _problems(precision=precision), _operands(), _plane(), _regions(always=always)
    assert not always or len(regions[0].outputs) > 1, "maps that several windows share lie beside the windows' own"
    expected = _one_by_one(problems, operands, plane, regions)
    for threads in (1, 3):
        with engine.use_threads(threads):
            found = column_blocks(problems, operands, plane, regions)
        assert torch.equal(found, expected)
        assert found.is_contiguous()


def test_the_reference_runs_the_blocks_one_by_one(monkeypatch):
    monkeypatch.setenv("DCNN_FAST_BACKEND", "reference")
    given = _problems(), _operands(), _plane(), _regions()
    assert torch.equal(column_blocks(*given), _one_by_one(*given))


@pytest.mark.needs_engine
def test_pixels_may_be_floats_and_biases_missing():
    problems = [replace(problem, dtype=torch.float32) for problem in _problems()]
    operands = [replace(of, mean=(), scale=1.0) for of in _operands(bias=False)]
    plane = _plane().float().contiguous(memory_format=torch.channels_last)
    regions = _regions()
    assert torch.equal(column_blocks(problems, operands, plane, regions), _one_by_one(problems, operands, plane, regions))


@pytest.mark.needs_engine
def test_a_weight_that_changes_between_calls_is_seen():
    problems, operands, plane, regions = _problems(), _operands(), _plane(), _regions()
    before = column_blocks(problems, operands, plane, regions)
    operands[1].weight.mul_(2)
    after = column_blocks(problems, operands, plane, regions)
    assert not torch.equal(before, after)
    assert torch.equal(after, _one_by_one(problems, operands, plane, regions))


@pytest.mark.needs_engine
def test_a_result_is_its_own_memory():
    problems, operands, regions = _problems(), _operands(), _regions()
    first = column_blocks(problems, operands, _plane(), regions)
    kept = first.clone()
    column_blocks(problems, operands, _plane(1), regions)
    assert torch.equal(first, kept)


def test_no_windows_give_no_maps():
    none = _regions(0)
    assert column_blocks(_problems(), _operands(), _plane(), none).shape[0] == 0


def _moved(table, field, value):
    regions = table.regions.clone()
    regions[0, field] = value
    return RegionList(regions, table.pieces, table.stores, table.outputs)


def test_what_does_not_fit_is_refused_by_name():
    problems, operands, plane, regions = _problems(), _operands(), _plane(), list(_regions())
    for block in range(3):
        wrong = list(regions)
        wrong[block] = _moved(regions[block], 0, 999)
        with pytest.raises(ValueError, match="regions: region 0: source must be 0 to"):
            column_blocks(problems, operands, plane, wrong)
    with pytest.raises(ValueError, match="weight must be"):
        column_blocks(problems, [*operands[:2], replace(operands[2], weight=operands[2].weight[:3])], plane, regions)
    with pytest.raises(ValueError, match="bias must be"):
        column_blocks(problems, [*operands[:2], replace(operands[2], bias=operands[2].bias[:3])], plane, regions)
    with pytest.raises((ValueError, TypeError), match="weight must"):
        column_blocks(problems, [*operands[:2], replace(operands[2], weight=operands[2].weight.half())], plane, regions)


@pytest.mark.needs_engine
def test_what_the_engine_is_given_is_one_column():
    from dcnn_fast.ops.block.cpu import run_column  # noqa: PLC0415 - there is an engine only here

    problems, operands, plane, regions = _problems(), _operands(), _plane(), list(_regions())
    with pytest.raises(ValueError, match="regions must be of the column's 3 blocks, at least one, got 2"):
        run_column(problems, operands, plane, regions[:2], 1)
    with pytest.raises(ValueError, match="regions must be of the column's 0 blocks"):
        run_column([], [], plane, [], 1)
    with pytest.raises(ValueError, match=r"blocks\[1\] must take the 16 channels that come to it, got 24"):
        run_column([problems[0], problems[2]], [operands[0], operands[2]], plane, regions[:2], 1)
    with pytest.raises(ValueError, match=r"blocks\[0\] must take the 2 channels"):
        run_column(problems, operands, plane[:, :2], regions, 1)
    with pytest.raises(ValueError, match=r"blocks\[1\]: weight must be \[24, 8, 3, 3\]"):
        run_column(problems, [operands[0], operands[2], operands[2]], plane, regions, 1)
    with pytest.raises(ValueError, match="plane must be"):
        run_column(problems, operands, plane[0], regions, 1)
    with pytest.raises(ValueError, match="threads"):
        run_column(problems, operands, plane, regions, 0)
    vast = RegionList(*(torch.zeros((0, n), dtype=torch.int64) for n in (14, 6, 8)), ((2**31 - 1, 2**31 - 1, 2**31 - 1),))
    with pytest.raises(ValueError, match=r"blocks\[2\]: its outputs take more than 64 GiB"):
        run_column(problems, operands, plane, [*regions[:2], vast], 1)
    negative = RegionList(vast.regions, vast.pieces, vast.stores, ((1, -1, 2),))
    with pytest.raises(ValueError, match=r"blocks\[2\]: outputs must have extents"):
        run_column(problems, operands, plane, [*regions[:2], negative], 1)
