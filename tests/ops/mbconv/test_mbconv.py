"""ops.mbconv on every instruction set of the engine and on Triton: the reference's values, bits independent of other images."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from dcnn_fast import engine, ops
from dcnn_fast.ops.mbconv import BACKENDS, MbConvParams, MbConvWeights
from tests.ops import tester
from tests.ops.mbconv.problems import MBCONV, PROBLEMS, PROGRAMS, STRIPS, WIDE, in_both, weights_of, x_of
from tests.ops.tester import CUDA, ENGINE, REFERENCE, TRITON, Way

pytestmark = pytest.mark.gpu

PACKING = [TRITON, *([Way("cpu", engine.isa())] if ENGINE else [])]
PUBLIC = [REFERENCE, *PACKING]
OTHER_GPUS = [Way("triton", capability=capability) for capability in (86, 90, 120)]


@pytest.mark.parametrize("way", ENGINE, ids=str)
@pytest.mark.parametrize("params", in_both([*PROBLEMS, *WIDE, *STRIPS]), ids=str)
def test_values_on_the_engine(params, way):
    tester.values(MBCONV, way, params)


@pytest.mark.parametrize("params", in_both([*PROBLEMS, *PROGRAMS]), ids=str)
def test_values_on_triton(params):
    tester.values(MBCONV, TRITON, params)


@pytest.mark.parametrize("way", OTHER_GPUS, ids=str)
@pytest.mark.parametrize("params", in_both(PROGRAMS[1:2]), ids=str)
def test_values_as_other_gpus_compute_them(params, way):
    tester.values(MBCONV, way, params)


@pytest.mark.parametrize("way", [*ENGINE, TRITON], ids=str)
@pytest.mark.parametrize("params", in_both(PROBLEMS[:3]), ids=str)
def test_nothing_beside_the_operands_is_read(params, way):
    tester.memory(MBCONV, way, params)


@pytest.mark.parametrize("way", ENGINE, ids=str)
@pytest.mark.parametrize("params", in_both([*PROBLEMS[:3], *WIDE, *STRIPS], images=3), ids=str)
def test_bits_depend_on_neither_batch_nor_place_nor_threads(params, way):
    tester.bits(MBCONV, way, params, threads=(3, 7))


@pytest.mark.parametrize("params", in_both([PROBLEMS[2], PROGRAMS[1]], images=3), ids=str)
def test_bits_on_triton_depend_on_neither_batch_nor_place(params):
    tester.bits(MBCONV, TRITON, params)


# NaNs that careless rounding would turn into an infinity and minus zero.
NANS = torch.tensor([0x7F800001, 0x7FFFFFFF], dtype=torch.int32).view(torch.float32)


@pytest.mark.parametrize("way", ENGINE, ids=str)
@pytest.mark.parametrize(
    "params", in_both(MbConvParams(1, *maps, 3, 3) for maps in ((5, 12, 11, 21), (18, 12, 11, 34), (31, 12, 11, 63))), ids=str
)
def test_what_is_no_number_reaches_what_sees_it_and_nothing_else(params, way):
    tester.not_a_number(MBCONV, way, params, at=(0, 2, 6, 4), spoilt=[torch.nan, torch.inf, -torch.inf, *NANS])


@pytest.mark.parametrize("params", in_both([MbConvParams(1, 5, 12, 11, 21, 3, 3)]), ids=str)
def test_what_is_no_number_reaches_what_sees_it_on_triton(params):
    """The maps do not fill whole steps: the missing ones must not turn an infinity into NaN."""
    tester.not_a_number(MBCONV, TRITON, params, at=(0, 2, 6, 4))


@pytest.mark.parametrize("way", [*ENGINE, TRITON], ids=str)
def test_what_is_no_number_passes_where_nothing_is_expanded(way):
    tester.not_a_number(MBCONV, way, MbConvParams(1, 5, 7, 6, 5, 3, 3, expands=False), at=(0, 2, 3, 3))


def _public(params, weights):
    return lambda x: ops.mbconv(x, weights, stride=params.stride, residual=params.residual, precision=params.precision)


@pytest.mark.parametrize("way", PUBLIC, ids=str)
@pytest.mark.parametrize("params", in_both([PROBLEMS[2]]), ids=str)
def test_the_operation_is_the_backends_wherever_images_lie(params, way):
    x, weights = MBCONV.operands(params)
    with way.running():
        found = _public(params, weights)(x)
        tester.layouts(_public(params, weights), x)
    assert found.is_contiguous(memory_format=torch.channels_last)
    tester.assert_same([found], MBCONV.run(way, params, (x, weights)))


@pytest.mark.parametrize("way", PACKING, ids=str)
@pytest.mark.parametrize("params", [PROBLEMS[1], MbConvParams(1, 16, 8, 8, 16, 16, 3, expands=False)], ids=str)
def test_what_is_prepared_keeps_its_weights_and_takes_any_extents(params, way):
    """The second problem has whole steps, where packing might share the caller's memory."""

    def prepared(weights):
        return BACKENDS[way.backend].prepare(params, weights).run

    with way.running():
        wider = prepared(weights_of(params))(x_of(replace(params, height=17, width=20)))
        assert wider.shape == (1, params.filters, -(-17 // params.stride), -(-20 // params.stride))
        tester.keeps_its_weights(prepared, weights_of(params), x_of(params))


@pytest.mark.parametrize("way", PUBLIC, ids=str)
def test_no_images_give_no_results(way):
    params = replace(PROBLEMS[0], images=0)
    with way.running() as launches:
        assert _public(params, weights_of(params))(x_of(params)).shape == (0, params.filters, params.height, params.width)
    assert not launches


def _operator_arguments(params):
    weights = weights_of(params)
    expand = (None, None) if weights.expand is None else weights.expand
    return (*expand, *weights.depthwise, *weights.project, params.stride, params.residual, params.precision)


@pytest.mark.parametrize("params", PROBLEMS[:2], ids=str)
def test_the_registration(params):
    tester.registered(torch.ops.dcnn_fast.mbconv, x_of(params), *_operator_arguments(params))


def test_compiled_it_gives_the_same():
    x, weights = MBCONV.operands(PROBLEMS[2])
    tester.compiled(lambda x: 2 * ops.mbconv(x, weights, residual=True), x)


def test_vmap_gives_each_sample_its_own_result():
    weights = weights_of(PROBLEMS[2])
    samples = torch.stack([x_of(PROBLEMS[2], seed) for seed in range(3)])
    found = torch.func.vmap(lambda x: ops.mbconv(x, weights, residual=True))(samples)
    assert torch.equal(found, torch.stack([ops.mbconv(x, weights, residual=True) for x in samples]))


def test_derivatives_are_refused_by_name_in_transforms():
    x, weights = MBCONV.operands(PROBLEMS[2])
    with pytest.raises(RuntimeError, match="mbconv has no backward"):
        torch.func.grad(lambda x: ops.mbconv(x, weights).sum())(x)
    with pytest.raises(RuntimeError, match="mbconv has no derivative in forward mode"):
        torch.func.jvp(lambda x: ops.mbconv(x, weights), (x,), (x,))


def test_autocast_changes_nothing():
    x, weights = MBCONV.operands(PROBLEMS[2])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(ops.mbconv(x, weights), ops.mbconv(x, weights))
        found = ops.mbconv(x.bfloat16(), weights)
    assert torch.equal(found, ops.mbconv(x.bfloat16().float(), weights))


def _layer(name, change):
    """A function that changes a layer's weight and bias."""
    return lambda weights: replace(weights, **{name: change(*getattr(weights, name))})


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        ({"stride": 6}, ValueError, "stride must be 1 to the filters' size 5"),
        ({"precision": "fp16"}, ValueError, "precision must be ieee or bf16"),
        ({"precision": "fp8"}, ValueError, "precision must be ieee or bf16"),
        ({"residual": True, "stride": 2}, ValueError, "residual needs stride 1"),
        ({"x": lambda x: x[0]}, ValueError, r"x must have shape \[N, channels, height, width\]"),
        ({"x": lambda x: x[:, :4]}, ValueError, r"weights.expand must have shape \[30, 4\]"),
        ({"x": None}, TypeError, "x must be a torch.Tensor"),
        ({"x": lambda x: x.clone().requires_grad_()}, RuntimeError, "mbconv has no backward"),
        ({"weights": _layer("project", lambda w, b: (w, b[1:]))}, ValueError, "weights.project's bias must have shape"),
        ({"weights": _layer("depthwise", lambda w, b: (w.double(), b))}, TypeError, "weights.depthwise must have x's dtype"),
        ({"weights": lambda w: MbConvWeights(None, w.depthwise, w.project)}, ValueError, "where nothing is expanded"),
    ],
)
@pytest.mark.parametrize("way", PUBLIC, ids=str)
def test_bad_operands_are_refused_by_name(change, error, sentence, way):
    given = dict(zip(("x", "weights"), MBCONV.operands(PROBLEMS[2]), strict=True))
    with way.running():
        tester.refused(ops.mbconv, given, change, error, sentence)


@pytest.mark.parametrize(
    ("change", "sentence"),
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
def test_triton_refuses_in_a_sentence(change, sentence):
    tester.cannot_run(BACKENDS["triton"], PROBLEMS[0], change, sentence, CUDA)
    assert "on cuda, not on cpu" in BACKENDS["triton"].can_run(PROBLEMS[0], tester.CPU)
