"""ops.mbconv on Triton, its PTX run in the simulator: the reference's values, and bits that belong to what an output sees."""

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
from dcnn_fast.ops.mbconv import BACKENDS, MbConvParams, MbConvWeights, prepare, reference, same_padding, triton
from devtools.launches import collected
from tests.ops.guarded import assert_untouched, output
from tests.ops.mbconv.problems import PROBLEMS, assert_reaches_what_sees_it_alone, weights_of
from tests.ops.on_cpu import kernels_on_cpu, triton_on_cpu  # noqa: F401 - a fixture

pytestmark = pytest.mark.gpu

CUDA = torch.device("cuda")
LARGER = [
    MbConvParams(1, 7, 20, 30, 42, 5, 3),  # several programs both ways, each with a rest
    MbConvParams(1, 6, 21, 17, 36, 10, 5, stride=2),
    MbConvParams(2, 17, 14, 10, 17, 20, 3, expands=False),
    MbConvParams(1, 16, 14, 14, 32, 48, 5, stride=2),  # of whole steps, and several parts of the filters
    MbConvParams(1, 40, 14, 14, 32, 40, 5, residual=True),
    MbConvParams(1, 3, 30, 20, 51, 4, 7, stride=3),
]


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def _x(params, seed=1):
    generator = torch.Generator().manual_seed(seed)
    x = 2 * torch.randn(params.images, params.channels, params.height, params.width, generator=generator)
    return x.contiguous(memory_format=torch.channels_last)


def _run(params, x, weights, cut=None, capability=80):
    """The block, cut out of poisoned memory, with memory around the result that must stay as it was."""
    params = replace(params, images=len(x))
    given, around = output(x.shape)
    given.copy_(x)
    result, buffer = output((params.images, params.filters, params.out_height, params.out_width))
    packed = triton.prepared(params, weights).weights
    with kernels_on_cpu(capability):
        launch(triton.launch_of(params, packed, given, result, cut))
    assert_untouched(around, buffer)
    return result


@pytest.mark.parametrize("precision", ["ieee", "bf16"])
@pytest.mark.parametrize("params", [*PROBLEMS, *LARGER], ids=str)
def test_values_are_the_references(params, precision):
    params = replace(params, precision=precision)
    x, weights = _x(params), weights_of(params)
    expected = reference.forward(params, x, weights)
    found = _run(params, x, weights)
    assert (found - expected).abs().max() <= params.tolerance() * expected.abs().max()


@pytest.mark.parametrize("capability", [86, 90, 120])
@pytest.mark.parametrize("precision", ["ieee", "bf16"])
def test_values_are_the_references_as_other_gpus_compute_them(precision, capability):
    params = replace(LARGER[1], precision=precision)
    x, weights = _x(params), weights_of(params)
    expected = reference.forward(params, x, weights)
    found = _run(params, x, weights, capability=capability)
    assert (found - expected).abs().max() <= params.tolerance() * expected.abs().max()


@pytest.mark.parametrize("precision", ["ieee", "bf16"])
@pytest.mark.parametrize("params", [PROBLEMS[2], LARGER[1]], ids=str)
def test_bits_depend_on_neither_batch_nor_place(params, precision):
    params = replace(params, images=3, precision=precision)
    x, weights = _x(params), weights_of(params)
    together = _run(params, x, weights)
    assert torch.equal(_run(params, x.flip(0), weights).flip(0), together)
    for i in range(3):
        assert torch.equal(_run(params, x[i : i + 1], weights)[0], together[i])


@pytest.mark.parametrize("precision", ["ieee", "bf16"])
@pytest.mark.parametrize("params", [LARGER[0], LARGER[1]], ids=str)
def test_bits_do_not_depend_on_how_an_image_is_cut(params, precision):
    params = replace(params, precision=precision)
    x, weights = _x(params), weights_of(params)
    cuts = {cut.tile: cut for cut in triton.cuts(params)}
    expected = _run(params, x, weights)
    assert len(cuts) > 5
    for cut in list(cuts.values())[:: len(cuts) // 3]:
        assert torch.equal(_run(params, x, weights, cut), expected), cut


@pytest.mark.parametrize("precision", ["ieee", "bf16"])
def test_bits_depend_on_what_an_output_sees_alone(precision):
    """A piece of an image has the image's outputs, but for those that see the piece's padding."""
    params = replace(LARGER[0], precision=precision)
    x, weights = _x(params), weights_of(params)
    whole = _run(params, x, weights)
    piece = _run(replace(params, height=13, width=11), x[:, :, 4:17, 9:20], weights)
    assert torch.equal(piece[:, :, 1:-1, 1:-1], whole[:, :, 5:16, 10:19])


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("precision", ["ieee", "bf16"])
def test_what_is_no_number_reaches_what_sees_it_and_nothing_else(precision, value):
    """As many maps as no whole steps have: those that there are not must not turn an infinity into NaN."""
    params = MbConvParams(1, 5, 12, 11, 21, 3, 3, precision=precision)
    x, weights = _x(params), weights_of(params)
    clean = _run(params, x, weights)
    x[0, 2, 6, 4] = value
    expected, found = reference.forward(params, x, weights), _run(params, x, weights)
    assert_reaches_what_sees_it_alone(params, found, expected, clean)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_what_is_no_number_passes_where_nothing_is_expanded(value):
    params = MbConvParams(1, 5, 7, 6, 5, 3, 3, expands=False)
    x, weights = _x(params), weights_of(params)
    x[0, 2, 3, 3] = value
    expected, found = reference.forward(params, x, weights), _run(params, x, weights)
    assert torch.equal(found.isnan(), expected.isnan())
    finite = expected.isfinite()
    assert (found - expected)[finite].abs().max() <= params.tolerance() * expected[finite].abs().max()


def test_padding_is_zeros_of_the_expanded_maps():
    """An expansion to 5 everywhere: in a corner a filter of 0.1 sees four of nine, at an edge six, elsewhere nine."""
    params = MbConvParams(1, 1, 4, 4, 1, 1, 3)
    weights = MbConvWeights(
        (torch.zeros(1, 1), torch.full((1,), 5.0)), (torch.full((1, 3, 3), 0.1), torch.zeros(1)),
        (torch.ones(1, 1), torch.zeros(1)),
    )  # fmt: skip
    sees = torch.tensor([2.0, 3.0, 3.0, 2.0])
    assert torch.allclose(_run(params, torch.zeros(1, 1, 4, 4), weights)[0, 0], sees[:, None] * sees / 2)


@pytest.mark.parametrize("precision", ["ieee", "bf16"])
def test_the_operation_is_the_kernels(precision, triton_on_cpu):  # noqa: F811 - the fixture
    params = replace(PROBLEMS[2], precision=precision)
    x, weights = _x(params), weights_of(params)
    expected = _run(params, x, weights)
    for given in (x, x.contiguous(), x.repeat(1, 1, 1, 2)[..., :6]):
        found = ops.mbconv(given, weights, stride=params.stride, residual=params.residual, precision=precision)
        assert found.is_contiguous(memory_format=torch.channels_last) and torch.equal(found, expected)
    for what, report in triton_on_cpu:
        assert what.kernel.__name__ == "mbconv_kernel"
        if report is not None:  # the wide maps never reach memory: nothing does but the result
            assert report.global_store_bytes == expected.numel() * expected.itemsize
    assert len(triton_on_cpu) == 3


def test_what_is_prepared_keeps_its_weights_and_takes_any_extents(triton_on_cpu):  # noqa: F811 - the fixture
    params = MbConvParams(1, 16, 8, 8, 16, 16, 3, expands=False)  # of whole steps, where packing could be sharing
    x, weights = _x(params), weights_of(params)
    prepared = prepare(params, weights)
    before = prepared.run(x)
    for tensor in (*weights.depthwise, *weights.project):
        tensor.zero_()
    assert torch.equal(prepared.run(x), before)
    assert prepared.run(_x(replace(params, height=17, width=20))).shape == (1, 16, 17, 20)


def test_no_images_give_no_results(triton_on_cpu):  # noqa: F811 - the fixture
    params = replace(PROBLEMS[0], images=0)
    assert ops.mbconv(_x(params), weights_of(params)).shape == (0, params.filters, params.height, params.width)
    assert not triton_on_cpu


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dtype": torch.float64}, "takes float32, not float64"),
        ({"precision": "tf32"}, "multiplies in ieee or bf16, not in tf32"),
        ({"size": 9}, "up to 512 filters and depthwise filters of 8 x 8, not 6 and 9 x 9"),
        ({"filters": 513}, "not 513 and 3 x 3"),
        ({"width": 2**26}, "counts pixels, weights and the values of 32 rows below 2**31"),
        ({"expanded": 2**30}, "counts pixels, weights"),
        ({"images": 2**26}, "counts pixels, weights"),
    ],
)
def test_what_it_cannot_run_is_refused_by_name(change, words):
    params = replace(PROBLEMS[0], **change)
    assert words in BACKENDS["triton"].can_run(params, CUDA)
    assert BACKENDS["triton"].can_run(PROBLEMS[0], CUDA) is None
    assert "on cuda, not on cpu" in BACKENDS["triton"].can_run(PROBLEMS[0], torch.device("cpu"))


def test_bad_input_is_refused_by_name(triton_on_cpu):  # noqa: F811 - the fixture
    params = PROBLEMS[2]
    x, weights = _x(params), weights_of(params)
    with pytest.raises(BackendError, match="takes float32, not float64"):
        ops.mbconv(x.double(), weights_of(params, torch.float64))
    with pytest.raises(ValueError, match=r"weights.expand must have shape \[30, 4\]"):
        ops.mbconv(x[:, :4], weights)
    with pytest.raises(ValueError, match="residual needs stride 1"):
        ops.mbconv(x, weights, stride=2, residual=True)
    wide = torch.zeros(1).expand(1, params.channels, 1, 2**26)
    with pytest.raises(ValueError, match="counts pixels"):
        triton.launch_of(replace(params, images=1, height=1, width=2**26), {}, wide, wide)
    assert not triton_on_cpu


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
    """Multiplications over those of the problem, of all blocks at the variant's own window."""
    for precision, expected in (("ieee", ieee), ("bf16", bf16)):
        problems = list(params_of(lite, (), precision, lite_window(lite)).problems())
        counted = sum(triton.multiplications(params, triton.cut_of(params)) for params in problems)
        assert round(counted / sum(params.macs for params in problems), 2) == expected


def test_every_block_of_every_variant_runs_on_it():
    for lite, precision in itertools.product(LITES, ("ieee", "bf16")):
        for params in params_of(lite, (), precision, lite_window(lite)).problems():
            with collected(80):
                assert BACKENDS["triton"].can_run(params, torch.device("cpu")) is None
