"""ops.mbconv on Triton alone, its PTX run in the simulator: how images are cut into programs, and counts of work."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch

from dcnn_fast import ops
from dcnn_fast.nets.backbone import params_of
from dcnn_fast.networks.efficientnet import LITES, lite_window
from dcnn_fast.ops.backend import BackendError
from dcnn_fast.ops.launch import launch
from dcnn_fast.ops.mbconv import BACKENDS, MbConvParams, MbConvWeights, same_padding, triton
from devtools.launches import collected
from tests.ops.guarded import assert_untouched, output
from tests.ops.mbconv.problems import MBCONV, PROBLEMS, PROGRAMS, weights_of, x_of
from tests.ops.on_cpu import kernels_on_cpu
from tests.ops.tester import TRITON

pytestmark = pytest.mark.gpu

CUDA = torch.device("cuda")


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def _run(params, x, weights):
    return MBCONV.run(TRITON, params, (x, weights))[0]


@pytest.mark.parametrize("precision", ["ieee", "bf16"])
@pytest.mark.parametrize("params", [PROGRAMS[0], PROGRAMS[1]], ids=str)
def test_bits_do_not_depend_on_how_an_image_is_cut(params, precision):
    params = replace(params, precision=precision)
    x, weights = MBCONV.operands(params)
    packed = triton.prepared(params, weights).weights
    cuts = {cut.tile: cut for cut in triton.cuts(params)}
    expected = _run(params, x, weights)
    assert len(cuts) > 5
    for cut in list(cuts.values())[:: len(cuts) // 3]:
        found, buffer = output(expected.shape)
        with kernels_on_cpu():
            launch(triton.launch_of(params, packed, x, found, cut))
        assert_untouched(buffer)
        assert torch.equal(found, expected), cut


@pytest.mark.parametrize("precision", ["ieee", "bf16"])
def test_bits_depend_on_what_an_output_sees_alone(precision):
    """A piece of an image has the image's outputs, except for those that see the piece's padding."""
    params = replace(PROGRAMS[0], precision=precision)
    x, weights = x_of(params), weights_of(params)
    whole = _run(params, x, weights)
    piece = _run(replace(params, height=13, width=11), x[:, :, 4:17, 9:20], weights)
    assert torch.equal(piece[:, :, 1:-1, 1:-1], whole[:, :, 5:16, 10:19])


def test_padding_is_zeros_of_the_expanded_maps():
    """The expansion is 5 everywhere: in a corner a filter of 0.1 sees four of nine, at an edge six, elsewhere nine."""
    params = MbConvParams(1, 1, 4, 4, 1, 1, 3)
    weights = MbConvWeights(
        (torch.zeros(1, 1), torch.full((1,), 5.0)), (torch.full((1, 3, 3), 0.1), torch.zeros(1)),
        (torch.ones(1, 1), torch.zeros(1)),
    )  # fmt: skip
    sees = torch.tensor([2.0, 3.0, 3.0, 2.0])
    assert torch.allclose(_run(params, torch.zeros(1, 1, 4, 4), weights)[0, 0], sees[:, None] * sees / 2)


@pytest.mark.parametrize("precision", ["ieee", "bf16"])
def test_one_launch_stores_nothing_but_the_result(precision):
    """The expanded maps never reach memory."""
    params = replace(PROBLEMS[2], precision=precision)
    x, weights = MBCONV.operands(params)
    with TRITON.running() as launches:
        found = ops.mbconv(x, weights, stride=params.stride, residual=params.residual, precision=precision)
    ((what, report),) = launches
    assert what.kernel.__name__ == "mbconv_kernel"
    assert report is None or report.global_store_bytes == found.numel() * found.itemsize


def test_what_it_cannot_run_is_refused_before_a_launch():
    params = PROBLEMS[2]
    with TRITON.running() as launches:
        with pytest.raises(BackendError, match="takes float32, not float64"):
            ops.mbconv(x_of(params).double(), weights_of(params, torch.float64))
        wide = torch.zeros(1).expand(1, params.channels, 1, 2**26)
        with pytest.raises(ValueError, match="counts pixels"):
            triton.launch_of(replace(params, images=1, height=1, width=2**26), {}, wide, wide)
    assert not launches


def test_a_programs_pixels_are_all_that_its_outputs_see():
    for extent, size, stride, pixels in itertools.product((1, 2, 7, 9, 14, 28, 33, 65), (1, 3, 5, 8), (1, 2, 3), (8, 16, 32)):
        if stride > size:
            continue
        before, _ = same_padding(extent, size, stride)
        outputs = -(-extent // stride)
        own = triton.owned(extent, size, stride, pixels, 32)
        assert 1 <= own <= outputs
        for output_ in range(outputs):
            begin = max(output_ // own * own * stride - before, 0)
            seen = range(output_ * stride - before, output_ * stride - before + size)
            assert all(begin <= pixel < begin + pixels for pixel in seen if 0 <= pixel < extent)


def test_whatever_is_not_refused_has_a_cut():
    size, filters = triton.LARGEST
    for precision, stride in itertools.product(("ieee", "bf16"), range(1, size + 1)):
        params = MbConvParams(1, 3, 40, 50, 18, filters, size, stride, precision=precision)
        assert BACKENDS["triton"].can_run(params, CUDA) is None
        cut = triton.cut_of(params)
        assert cut.own_rows <= cut.tile.out_rows and cut.own_cols <= cut.tile.out_cols


@pytest.mark.parametrize(("lite", "ieee", "bf16"), [("lite0", 1.54, 1.36), ("lite1", 1.44, 1.24), ("lite2", 2.72, 2.71)])
def test_the_kernels_documentation_counts_right(lite, ieee, bf16):
    """The ratio of the kernel's multiplications to the problem's, over all blocks at each variant's own window."""
    for precision, expected in (("ieee", ieee), ("bf16", bf16)):
        problems = list(params_of(lite, (), precision, lite_window(lite)).problems())
        counted = sum(triton.multiplications(params, triton.cut_of(params)) for params in problems)
        assert round(counted / sum(params.macs for params in problems), 2) == expected


def test_every_block_of_every_variant_runs_on_it():
    for lite, precision in itertools.product(LITES, ("ieee", "bf16")):
        for params in params_of(lite, (), precision, lite_window(lite)).problems():
            with collected(80):
                assert BACKENDS["triton"].can_run(params, torch.device("cpu")) is None
