"""Regions: any way of cutting the work gives the whole image's results; bad lists are refused before any launch."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from dcnn_fast import ops
from dcnn_fast.ops import Piece, Pool, Region, RegionList, SameMapNorm, Store
from dcnn_fast.ops.block.whole import whole_images
from dcnn_fast.ops.region import of_windows, whole
from tests.ops.block.problems import SMALL, geometry, keywords, operands, problem, runnable

WINDOWS = torch.tensor([[0, 0, 0], [0, 3, 5], [1, 6, 4], [1, 0, 7], [0, 3, 5]])


def _region_keywords(options):
    return {name: value for name, value in keywords(options).items() if name != "ties"}


@pytest.mark.parametrize("params", SMALL, ids=str)
def test_one_region_per_image_is_the_block(params, monkeypatch):
    x, weight, bias = operands(params)
    regions = whole_images(params)
    (result,) = ops.block_regions([x], regions, weight, bias, **_region_keywords(params.options))
    torch.testing.assert_close(result, ops.block(x, weight, bias, **keywords(params.options)), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("params", SMALL[1:], ids=str)
def test_a_window_sees_nothing_outside_itself(params):
    """A window of a larger source gives the results of the cut-out window, though the source has pixels beyond it."""
    x, weight, bias = operands(replace(params, images=2, height=params.height + 6, width=params.width + 7))
    regions = of_windows(WINDOWS, params.height, params.width, **geometry(params))
    (result,) = ops.block_regions([x], regions, weight, bias, **_region_keywords(params.options))
    for i, (image, top, left) in enumerate(WINDOWS.tolist()):
        cut = x[image : image + 1, :, top : top + params.height, left : left + params.width]
        expected = ops.block(cut, weight, bias, **keywords(params.options))
        torch.testing.assert_close(result[i : i + 1], expected, rtol=1e-12, atol=1e-13)


def test_pixels_enter_less_their_mean_times_the_scale_and_padding_stays_zero():
    params = problem(1, 3, 12, 11, 4, 3, torch.float64, padding=1, pool=Pool(3, 2))
    _, weight, bias = operands(params)
    pixels = torch.randint(0, 256, (1, 3, 12, 11), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    mean, scale = (120.5, 99.0, 80.25), 0.125
    regions = whole(1, 12, 11, **geometry(params))
    (result,) = ops.block_regions([pixels], regions, weight, bias, mean=mean, scale=scale, **_region_keywords(params.options))
    entered = (pixels.double() - torch.tensor(mean, dtype=torch.float64).reshape(1, 3, 1, 1)) * scale
    expected = ops.block(entered, weight, bias, **keywords(params.options))
    torch.testing.assert_close(result, expected, rtol=1e-12, atol=1e-12)


def test_one_region_emits_several_pool_phases():
    """Windows at offsets (0, 0), (1, 2) and (3, 1) of a stride-1 conv share one region, as in sharing plans."""
    params = problem(1, 2, 14, 15, 3, 3, pool=Pool(3, 2), norm=ops.CrossMapNorm(3, 0.4))
    x, weight, bias = operands(params)
    extent, rows = 9, 3  # a 9 x 9 window: conv 7 x 7, pooled 3 x 3
    offsets = ((0, 0), (1, 2), (3, 1))
    pieces = tuple(Piece(t, l, rows, rows, (Store(0, 0, rows, rows, i, 0, 0, 0),)) for i, (t, l) in enumerate(offsets))
    region = Region(0, 0, 0, 0, 14, 15, 0, 0, 12, 13, 0, 0, pieces)
    table = RegionList.of([region], [(1, rows, rows)] * 3)
    assert list(table) == [region]
    results = ops.block_regions([x], table, weight, bias, **_region_keywords(params.options))
    for result, (top, left) in zip(results, offsets, strict=True):
        cut = x[:, :, top : top + extent, left : left + extent]
        torch.testing.assert_close(result, ops.block(cut, weight, bias, **keywords(params.options)), rtol=1e-12, atol=1e-13)


def test_two_half_pieces_with_a_halo_make_a_same_map_normed_whole():
    params = problem(1, 2, 11, 9, 3, 3, pool=Pool(2, 2), norm=SameMapNorm(3, 0.5))
    x, weight, bias = operands(params)
    expected = ops.block(x, weight, bias, **keywords(params.options))
    _, _, rows, cols = expected.shape
    upper = Piece(0, 0, 3, cols, (Store(0, 0, 2, cols, 0, 0, 0, 0),))
    lower = Piece(2, 0, rows - 1, cols, (Store(1, 0, rows - 2, cols, 0, 0, 2, 0),))
    region = Region(0, 0, 0, 0, 11, 9, 0, 0, 9, 7, 0, 0, (upper, lower))
    (result,) = ops.block_regions(
        [x], RegionList.of([region], [(1, rows, cols)]), weight, bias, **_region_keywords(params.options)
    )
    torch.testing.assert_close(result, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("backend", ["reference", pytest.param("cpu", marks=pytest.mark.needs_engine)])
def test_outputs_can_be_given_and_what_nothing_is_stored_to_stays(backend, monkeypatch):
    monkeypatch.setenv("DCNN_FAST_BACKEND", backend)
    params = replace(SMALL[1], dtype=torch.float32, out_dtype=torch.float32)
    x, weight, bias = operands(params)
    table = whole(2, 7, 5, **geometry(params))
    only_first = RegionList(table.regions[:1], table.pieces[:1], table.stores[:1], table.outputs)
    (expected,) = ops.block_regions([x], table, weight, bias, **_region_keywords(params.options))
    out = torch.full_like(expected, float("nan"))
    (result,) = ops.block_regions([x], only_first, weight, bias, out=[out], **_region_keywords(params.options))
    assert result is out
    assert torch.equal(result[0], expected[0])
    assert result[1].isnan().all()


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ([torch.zeros(1, 3, 4, 4)], "must be contiguous in channels_last memory"),
        ([torch.zeros(1, 3, 4, 5)], r"out must have shapes \[\(1, 3, 4, 4\)\], got \[\(1, 3, 4, 5\)\]"),
        ([], "out must have shapes"),
        ([torch.zeros(1, 3, 4, 4).double()], "must be torch.float32 on cpu, got torch.float64"),
        ([None], r"out\[0\] must be a torch.Tensor, got NoneType"),
    ],
)
def test_outputs_that_do_not_fit_are_refused(out, message):
    with pytest.raises((TypeError, ValueError), match=message):
        ops.block_regions(
            [torch.zeros(1, 2, 8, 8)],
            RegionList.of([GOOD], [(1, 4, 4)]),
            torch.zeros(3, 2, 3, 3),
            padding=1,
            pool=(3, 2),
            out=out,
        )


def test_several_sources_of_different_sizes():
    params = problem(1, 3, 8, 8, 4, 3, torch.float32, padding=1, pool=Pool(3, 2))
    _, weight, bias = operands(params)
    generator = torch.Generator().manual_seed(3)
    sources = [torch.randint(0, 256, (1, 3, *shape), dtype=torch.uint8, generator=generator) for shape in ((8, 20), (13, 9))]
    windows = torch.tensor([[1, 0, 5, 1], [0, 0, 0, 12]])
    regions = of_windows(windows, 8, 8, **geometry(params))
    kw = _region_keywords(params.options)
    for backend in runnable(replace(params, dtype=torch.uint8)):
        (result,) = ops.block_regions(sources, regions, weight, bias, **kw)
        first = ops.block(sources[1][:, :, 5:13, 1:9].float(), weight, bias, **kw)
        second = ops.block(sources[0][:, :, :, 12:].float(), weight, bias, **kw)
        torch.testing.assert_close(result, torch.cat([first, second]), msg=backend)


def test_no_regions_for_no_outputs_give_none():
    table = RegionList.of([], [])
    for out in (None, []):
        assert ops.block_regions([torch.zeros(1, 2, 8, 8)], table, torch.zeros(3, 2, 3, 3), out=out) == []


def test_conv_outputs_are_counted():
    assert whole(2, 224, 224, size=11, stride=2, padding=0, rounding="up", pool=Pool(3, 2)).conv_outputs() == 2 * 108**2


def test_opcheck_of_regions():
    params = SMALL[2]
    x, weight, bias = operands(params)
    table = whole(1, params.height, params.width, **geometry(params))
    outputs = list(table.outputs[0])
    arguments = (
        [x],
        table.regions,
        table.pieces,
        table.stores,
        outputs,
        weight,
        bias,
        *params.options.flat(),
        [],
        1.0,
        torch.float64,
    )
    torch.library.opcheck(torch.ops.dcnn_fast.block_regions, arguments)


GOOD = Region(0, 0, 0, 0, 8, 8, -1, -1, 8, 8, 0, 0, (Piece(0, 0, 4, 4, (Store(0, 0, 4, 4, 0, 0, 0, 0),)),))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": 1}, "region 0: source must be 0 to 0"),
        ({"source": -1}, "region 0: source must be 0 to 0"),
        ({"image": 1}, "image must lie in its source"),
        ({"window_height": 9}, "window must lie in its source"),
        ({"window_top": -1}, "window must lie in its source"),
        ({"rows": 0}, "rows and cols must be at least 1"),
        ({"top": -2}, "top and left must not pass the window by more than the padding 1"),
        ({"rows": 9}, "the last receptive field must not pass the window"),
        ({"piece": {"rows": 0}}, "piece 0: rows and cols must be at least 1"),
        ({"piece": {"top": 2}}, "every pool window must start inside its region"),
        ({"piece": {"left": -1}}, "every pool window must start inside its region"),
        ({"store": {"width": 0}}, "store 0: height and width must be at least 1"),
        ({"store": {"height": 5}}, "store 0: the rectangle must lie in its piece"),
        ({"store": {"output": 1}}, "output must be 0 to 0"),
        ({"store": {"out_left": 1}}, "the rectangle must lie in its output"),
        ({"store": {"image": 1}}, "the rectangle must lie in its output"),
    ],
)
def test_bad_regions_are_refused_by_name(change, message):
    store = replace(GOOD.pieces[0].stores[0], **change.pop("store", {}))
    piece = replace(GOOD.pieces[0], stores=(store,), **change.pop("piece", {}))
    table = RegionList.of([replace(GOOD, pieces=(piece,), **change)], [(1, 4, 4)])
    with pytest.raises(ValueError, match=message):
        ops.block_regions([torch.zeros(1, 2, 8, 8)], table, torch.zeros(3, 2, 3, 3), padding=1, pool=(3, 2))


def test_uint8_sources_take_weights_of_any_dtype():
    table = RegionList.of([GOOD], [(1, 4, 4)])
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (1, 2, 8, 8), dtype=torch.uint8, generator=generator)
    weight = torch.randn(3, 2, 3, 3, generator=generator)
    (expected,) = ops.block_regions([pixels], table, weight, padding=1, pool=(3, 2))
    for dtype in (torch.float64, torch.float16):
        (result,) = ops.block_regions([pixels], table, weight.to(dtype), padding=1, pool=(3, 2), out_dtype=torch.float32)
        torch.testing.assert_close(result, expected, rtol=1e-2, atol=1.0)


@pytest.mark.parametrize(
    "change", [{"top": -(2**63)}, {"left": 2**63 - 1}, {"store": {"image": 2**63 - 1}}, {"piece": {"rows": 2**40}}]
)
def test_values_that_could_overflow_are_refused(change):
    store = replace(GOOD.pieces[0].stores[0], **change.pop("store", {}))
    piece = replace(GOOD.pieces[0], stores=(store,), **change.pop("piece", {}))
    table = RegionList.of([replace(GOOD, pieces=(piece,), **change)], [(1, 4, 4)])
    with pytest.raises(ValueError, match="must hold values of less than 2\\*\\*31"):
        ops.block_regions([torch.zeros(1, 2, 8, 8)], table, torch.zeros(3, 2, 3, 3), padding=1, pool=(3, 2))


def test_the_good_region_is_accepted():
    ops.block_regions(
        [torch.zeros(1, 2, 8, 8)], RegionList.of([GOOD], [(1, 4, 4)]), torch.zeros(3, 2, 3, 3), padding=1, pool=(3, 2)
    )


def test_bad_arguments_of_block_regions_are_named():
    table, weight = RegionList.of([GOOD], [(1, 4, 4)]), torch.zeros(3, 2, 3, 3)
    x = torch.zeros(1, 2, 8, 8)
    with pytest.raises(ValueError, match="sources must hold at least one"):
        ops.block_regions([], table, weight, padding=1, pool=(3, 2))
    with pytest.raises(TypeError, match="sources must all be uint8 or all have weight's dtype"):
        ops.block_regions([x.double()], table, weight, padding=1, pool=(3, 2))
    with pytest.raises(ValueError, match="mean must be empty or have one value"):
        ops.block_regions([x], table, weight, padding=1, pool=(3, 2), mean=(1.0,))
    with pytest.raises(RuntimeError, match="block_regions has no backward"):
        ops.block_regions([x], table, weight.clone().requires_grad_(), padding=1, pool=(3, 2))
    with pytest.raises(ValueError, match="too small for a block"):
        whole(1, 1, 1, size=3, stride=1, padding=0, rounding="up", pool=None)


def test_a_table_that_was_right_is_checked_again_where_it_or_its_sources_are_others():
    weight = torch.zeros(3, 2, 3, 3)
    table = RegionList.of([GOOD], [(1, 4, 4)])
    for _ in range(2):
        ops.block_regions([torch.zeros(1, 2, 8, 8)], table, weight, padding=1, pool=(3, 2))
    with pytest.raises(ValueError, match="window must lie in its source"):
        ops.block_regions([torch.zeros(1, 2, 7, 8)], table, weight, padding=1, pool=(3, 2))
    with pytest.raises(ValueError, match="top and left must not pass"):
        ops.block_regions([torch.zeros(1, 2, 8, 8)], table, weight, padding=0, pool=(3, 2))
    table.stores[0, 5] = 1  # the image's index; there is only image 0
    with pytest.raises(ValueError, match="the rectangle must lie in its output"):
        ops.block_regions([torch.zeros(1, 2, 8, 8)], table, weight, padding=1, pool=(3, 2))


def test_tables_made_in_inference_mode_are_checked_every_time():
    weight = torch.zeros(3, 2, 3, 3)
    with torch.inference_mode():
        table = RegionList.of([GOOD], [(1, 4, 4)])
        ops.block_regions([torch.zeros(1, 2, 8, 8)], table, weight, padding=1, pool=(3, 2))
        table.stores[0, 5] = 1
        with pytest.raises(ValueError, match="the rectangle must lie in its output"):
            ops.block_regions([torch.zeros(1, 2, 8, 8)], table, weight, padding=1, pool=(3, 2))
