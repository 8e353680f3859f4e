"""Convolutions in tiles (csrc/cpu/winograd_impl.h): their error, and which inputs and tiles decide an output's bits."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from dcnn_fast import engine
from dcnn_fast.ops import Piece, Pool, Region, RegionList, Store
from dcnn_fast.ops.block import cpu, output_tile
from dcnn_fast.ops.block.whole import whole_images
from tests.ops.block.problems import CROSS, operands, problem, stated

ISAS = (*engine.isas(), *engine.emulated_isas())
TILED = [
    problem(1, channels, height, width, filters, size, torch.float32, stride=stride, padding=padding, groups=groups, pool=pool)
    for channels, filters, size, stride, padding, groups in (
        (64, 64, 5, 1, 2, 1), (64, 64, 3, 1, 1, 1), (3, 64, 11, 2, 0, 1), (3, 96, 11, 4, 0, 1), (12, 20, 3, 1, 0, 1),
        (13, 5, 5, 1, 4, 1), (48, 42, 5, 1, 2, 3), (5, 33, 6, 2, 1, 1), (26, 34, 3, 1, 2, 2), (6, 34, 6, 2, 1, 2),
    )
    for height, width, pool in ((size, size, None), (23, 31, Pool(3, 2)))
]  # fmt: skip

pytestmark = [pytest.mark.needs_engine, pytest.mark.parametrize("isa", ISAS)]


def _tile(params):
    options = params.options
    channels, filters = params.channels // options.groups, params.filters // options.groups
    return output_tile("cpu", size=params.size, stride=options.stride, channels=channels, filters=filters)


def _run(isa, x, table, weight, bias, params):
    outputs = [
        torch.full((images, params.filters, rows, cols), torch.nan).contiguous(memory_format=torch.channels_last)
        for images, rows, cols in table.outputs
    ]
    cpu.run(isa, [x], table, weight, bias, params, (), 1.0, outputs, 2)
    return outputs


@pytest.mark.parametrize("params", TILED, ids=str)
def test_values_are_the_references(isa, params):
    assert _tile(params).side > 1
    x, weight, bias = operands(params)
    expected = stated(x.double(), weight.double(), bias.double(), replace(params, dtype=torch.float64, out_dtype=torch.float64))
    (result,) = _run(isa, x, whole_images(params), weight, bias, params)
    assert (result.double() - expected).abs().max() <= params.tolerance() * expected.abs().max()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("channels", "size", "stride", "largest"), [(64, 5, 1, 7e-6), (64, 3, 1, 2e-6), (3, 11, 2, 5e-6), (3, 11, 4, 2e-6)]
)
def test_the_error_is_what_the_documents_say(isa, channels, size, stride, largest, seed):
    """The error relative to the largest output; fp32's plain sum errs by 2e-7 to 8e-7 here."""
    params = problem(2, channels, 60, 60, 64, size, torch.float32, stride=stride, rounding="down")
    x, weight, bias = operands(params, seed)
    x = x.relu() if channels == 64 else 40 * x
    expected = torch.nn.functional.conv2d(x.double(), weight.double(), bias.double(), stride).relu()
    (result,) = _run(isa, x, whole_images(params), weight, bias, params)
    assert (result.double() - expected).abs().max() <= largest * expected.max()


@pytest.mark.parametrize("lattice", [(0, 0), (1, 2), (5, 3)])
@pytest.mark.parametrize("params", TILED[1::2], ids=str)
def test_a_tiles_inputs_and_no_others_decide_an_outputs_bits(isa, params, lattice):
    """The kernel keeps to `OutputTile`, on which a plan's exactness rests."""
    params = replace(params, options=replace(params.options, pool=None))
    tile, stride, padding = _tile(params), params.options.stride, params.options.padding
    x, weight, bias = operands(params)
    table = whole_images(params)
    table.regions[:, 10], table.regions[:, 11] = lattice
    (before,) = _run(isa, x, table, weight, bias, params)
    row, col = params.height // 2, params.width // 3
    changed = x.clone()
    changed[:, :, row, col] += 1e3
    (after,) = _run(isa, changed, table, weight, bias, params)
    moved = (before != after).any(dim=1)[0]
    for axis, (place, start) in enumerate(((row, lattice[0]), (col, lattice[1]))):
        first = torch.arange(moved.shape[axis])
        first = first - (first + start) % tile.side  # the first output of its tile
        reads = first * stride - padding
        seen = (reads <= place) & (place < reads + stride * (tile.side - 1) + tile.size)
        assert not moved.movedim(axis, 0)[~seen].any()
        assert moved.movedim(axis, 0)[seen].any()


@pytest.mark.parametrize("params", TILED[1::2], ids=str)
def test_an_output_has_the_same_bits_in_every_region_with_its_tile(isa, params):
    params = replace(params, options=replace(params.options, norm=CROSS))
    options, side = params.options, _tile(params).side
    x, weight, bias = operands(params)
    pool = options.pool
    (everything,) = _run(isa, x, whole_images(params), weight, bias, params)
    _, _, rows, cols = params.conv_shape
    for top, left in ((0, 0), (pool.stride, 0), (pool.stride, 2 * pool.stride)):
        height, width = rows - top - 1, cols - left - 2
        out_rows, out_cols = (height - pool.size) // pool.stride + 1, (width - pool.size) // pool.stride + 1
        if min(out_rows, out_cols) < 1:
            continue
        piece = Piece(0, 0, out_rows, out_cols, (Store(0, 0, out_rows, out_cols, 0, 0, 0, 0),))
        corner = top * options.stride - options.padding, left * options.stride - options.padding
        region = Region(0, 0, 0, 0, params.height, params.width, *corner, height, width, top, left, (piece,))
        (part,) = _run(isa, x, RegionList.of([region], [(1, out_rows, out_cols)]), weight, bias, params)
        first_row, first_col = top // pool.stride, left // pool.stride
        assert torch.equal(part, everything[:, :, first_row : first_row + out_rows, first_col : first_col + out_cols])
        if side > 2 and top:
            elsewhere = replace(region, lattice_top=top + 1)
            (other,) = _run(isa, x, RegionList.of([elsewhere], [(1, out_rows, out_cols)]), weight, bias, params)
            assert not torch.equal(part, other), "the lattice has no effect: this test shows nothing"


@pytest.mark.parametrize("precision", ["ieee", "bf16"])
@pytest.mark.parametrize("operand", ["weight", "bias"])
def test_what_is_changed_in_place_is_packed_anew(isa, operand, precision):
    """A change of the weight or of the bias alone must be noticed."""
    params = replace(TILED[0], options=replace(TILED[0].options, precision=precision))
    x, weight, bias = operands(params)
    (before,) = _run(isa, x, whole_images(params), weight, bias, params)
    (weight if operand == "weight" else bias).data[0] += 1
    (after,) = _run(isa, x, whole_images(params), weight, bias, params)
    assert not torch.equal(before[:, 0], after[:, 0])
    assert torch.equal(before[:, 1:], after[:, 1:])
