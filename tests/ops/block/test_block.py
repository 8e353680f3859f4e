"""ops.block: values, gradients, registration and refusals, over every backend that runs here."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from dcnn_fast import ops
from dcnn_fast.ops.block import BACKENDS, BlockOptions, Pool, params_of
from tests.ops import tester
from tests.ops.block.problems import POOL, SMALL, keywords, operands, preset_problems, problem, runnable
from tests.ops.block.tested import BLOCK, BY_LOOPS, reaches
from tests.ops.block.variety import BF16, BF16X3, LATE, VARIETY
from tests.ops.tester import ENGINE, REFERENCE, TRITON, WAYS

PRESETS = preset_problems()
SINGLE = [replace(params, dtype=torch.float32, out_dtype=torch.float32, weight_dtype=torch.float32) for params in SMALL]


WIDE = [*VARIETY, *LATE, *PRESETS, *BF16, *BF16X3]
ONE_OF_SEVERAL = [replace(params, images=5) for params in (*VARIETY[14:42:3], *LATE[::7], *BF16[5:14:3], *BF16X3[3:12:3])]
EACH_ISA = pytest.mark.parametrize("way", ENGINE, ids=str)
EACH_WAY = pytest.mark.parametrize("way", WAYS, ids=str)


@pytest.mark.parametrize("params", SMALL, ids=str)
def test_values_of_the_reference_are_those_of_loops(params):
    tester.values(BY_LOOPS, REFERENCE, params)


@EACH_WAY
@pytest.mark.parametrize("params", SINGLE[::5], ids=str)
def test_values_of_every_way_are_those_of_loops(params, way):
    tester.values(BY_LOOPS, way, params)


@EACH_ISA
@pytest.mark.parametrize("params", WIDE, ids=str)
def test_values(params, way):
    if reaches(way, params):
        tester.values(BLOCK, way, params)
        return
    with pytest.raises(ValueError, match="no tile unit for bf16x3"):
        BLOCK.run(way, params, BLOCK.operands(params))


@EACH_WAY
@pytest.mark.parametrize("params", SINGLE[2:9:3], ids=str)
def test_nothing_beside_the_operands_is_read(params, way):
    tester.memory(BLOCK, way, params)


@EACH_ISA
@pytest.mark.parametrize("params", ONE_OF_SEVERAL, ids=str)
def test_an_image_has_the_same_bits_alone_anywhere_and_on_any_number_of_threads(params, way):
    if reaches(way, params):
        tester.bits(BLOCK, way, params, threads=(2, 5, 16), alone=[3])


def test_an_image_has_the_same_bits_alone_and_in_a_batch_by_triton():
    tester.bits(BLOCK, TRITON, replace(SINGLE[2], images=3))


@EACH_WAY
@pytest.mark.parametrize("precision", ["ieee", "bf16", "bf16x3"])
def test_nan_reaches_the_results_that_see_it_and_no_other(precision, way):
    params = problem(1, 1, 17, 15, 3, 3, torch.float32, pool=POOL, precision=precision)
    if (way.backend == "cpu" and reaches(way, params)) or precision == "ieee":
        tester.not_a_number(BLOCK, way, params, at=(0, 0, 4, 4), spoilt=[torch.nan])


@pytest.mark.parametrize("params", SMALL, ids=str)
def test_the_result_of_whole_images_lies_in_channels_last_memory(params):
    result = ops.block(*operands(params), **keywords(params.options))
    assert tuple(result.shape) == params.out_shape
    assert result.is_contiguous(memory_format=torch.channels_last)
    tester.assert_same([result], BLOCK.run(REFERENCE, params, operands(params)))


@pytest.mark.parametrize("params", SMALL, ids=str)
def test_gradcheck_of_the_reference(params):
    tester.gradients(lambda *t: ops.block(*t, **keywords(params.options)), *operands(params))


def test_gradients_are_torchs_where_the_semantics_coincide():
    params = problem(2, 4, 15, 13, 6, 3, stride=2, padding=1, groups=2, rounding="down", pool=POOL, ties="first",
                     norm=ops.CrossMapNorm(5, 0.3, 0.75, 2.0))  # fmt: skip
    ours = [tensor.requires_grad_() for tensor in operands(params)]
    torchs = [tensor.detach().clone().requires_grad_() for tensor in ours]
    y = F.conv2d(*torchs, stride=2, padding=1, groups=2).relu()
    y = F.local_response_norm(F.max_pool2d(y, 3, 2), 5, alpha=0.3, beta=0.75, k=2.0)
    result = ops.block(*ours, **keywords(params.options))
    torch.testing.assert_close(result, y, rtol=1e-12, atol=1e-13)
    grad = torch.randn(y.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(9))
    y.backward(grad)
    result.backward(grad)
    for mine, theirs in zip(ours, torchs, strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("ties", ["all", "first"])
def test_tie_rules_differ_on_a_flat_image_by_the_number_of_equal_maxima(ties):
    x = torch.ones(1, 1, 6, 6, dtype=torch.float64, requires_grad=True)
    weight = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    ops.block(x, weight, pool=(3, 3), ties=ties).sum().backward()
    assert x.grad.sum() == {"all": 36, "first": 4}[ties]


@pytest.mark.parametrize("params", PRESETS, ids=str)
def test_every_backend_meets_its_tolerance_on_every_presets_blocks(params, monkeypatch):
    x, weight, bias = operands(params)
    wide = (x.double(), weight.double(), bias.double())
    expected = ops.block(*wide, **keywords(params.options))
    for backend in runnable(params):
        monkeypatch.setenv("DCNN_FAST_BACKEND", backend)
        result = ops.block(x, weight, bias, **keywords(params.options))
        error = (result.double() - expected).abs().max() / expected.abs().max()
        assert error <= params.tolerance(), f"{backend}: {error:.2e}"


def test_a_large_error_would_be_noticed():
    params = PRESETS[0]
    assert params.tolerance() < 2e-5


@pytest.mark.parametrize("way", [REFERENCE, *ENGINE], ids=str)
@pytest.mark.parametrize("params", SINGLE[:8], ids=str)
def test_operands_may_lie_in_memory_as_they_like(params, way):
    x, weight, bias = operands(params)
    weight = weight.transpose(0, 1).contiguous().transpose(0, 1)
    exact = 0.0 if way.backend == "cpu" else params.tolerance()  # torch picks another algorithm for another layout
    with way.running():
        tester.layouts(lambda images: ops.block(images, weight, bias, **keywords(params.options)), x, exact)


@pytest.mark.parametrize("precision", ["tf32", "bf16", "fp16"])
def test_the_reference_rounds_operands_to_the_named_precision(precision, monkeypatch):
    monkeypatch.setenv("DCNN_FAST_BACKEND", "reference")
    x = torch.tensor([[[[1.0 + 2.0**-9]]]])
    small = {"tf32": 1 + 2.0**-9, "bf16": 1.0, "fp16": 1 + 2.0**-9}[precision]
    assert ops.block(x, torch.ones(1, 1, 1, 1), precision=precision).item() == small
    x = torch.tensor([[[[1.0 + 2.0**-12]]]])
    assert ops.block(x, torch.ones(1, 1, 1, 1), precision=precision).item() == 1.0
    assert ops.block(x, torch.ones(1, 1, 1, 1), precision="ieee").item() == 1 + 2.0**-12


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_result_and_gradients_have_the_operands_dtype(dtype):
    params = problem(1, 3, 9, 9, 4, 3, dtype, pool=POOL, norm=ops.CrossMapNorm())
    x, weight, bias = (tensor.requires_grad_() for tensor in operands(params))
    result = ops.block(x, weight, bias, **keywords(params.options))
    result.sum().backward()
    assert {result.dtype, x.grad.dtype, weight.grad.dtype, bias.grad.dtype} == {dtype}


def test_gradients_are_skipped_where_they_are_not_needed():
    params = SMALL[2]
    x, weight, _ = operands(params)
    weight.requires_grad_()
    ops.block(x, weight, None, **keywords(params.options)).sum().backward()
    assert x.grad is None
    assert weight.grad is not None


@pytest.mark.parametrize("params", SMALL[2:6], ids=str)
def test_opcheck(params):
    x, weight, bias = operands(params)
    flat = params.options.flat()
    tester.registered(torch.ops.dcnn_fast.block, x, weight, bias, *flat, [], 1.0)
    tester.registered(torch.ops.dcnn_fast.block_training, x, weight, bias, *flat, [], 1.0)
    result, values, hits = torch.ops.dcnn_fast.block_training(x, weight, bias, *flat, [], 1.0)
    values = result if params.kept.result else values
    grad = torch.randn(params.out_shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for needs in ([True, True, True], [False, True, False]):
        tester.registered(torch.ops.dcnn_fast.block_backward, grad, x, weight, bias, values, hits, *flat, needs, [], 1.0)


@pytest.mark.parametrize("dynamic", [False, True])
def test_compiles_whole_with_gradients(dynamic):
    params = SMALL[6]
    kw = keywords(params.options)
    x, weight, bias = (tensor.requires_grad_() for tensor in operands(params))
    compiled = torch.compile(
        lambda *t: ops.block(*t, **kw).square().sum(), fullgraph=True, dynamic=dynamic, backend="aot_eager"
    )
    compiled(x, weight, bias).backward()
    got = [tensor.grad.clone() for tensor in (x, weight, bias)]
    for tensor in (x, weight, bias):
        tensor.grad = None
    ops.block(x, weight, bias, **kw).square().sum().backward()
    for mine, theirs in zip(got, (x, weight, bias), strict=True):
        torch.testing.assert_close(mine, theirs.grad)


def test_options_survive_flattening():
    for params in SMALL:
        assert BlockOptions.from_flat(*params.options.flat()) == params.options


def test_params_count_what_the_facts_count():
    x, weight = torch.empty(1, 3, 224, 224), torch.empty(64, 3, 11, 11)
    params = params_of(x, weight, BlockOptions(stride=2, pool=Pool(3, 2)))
    assert params.conv_shape == (1, 64, 108, 108)
    assert params.out_shape == (1, 64, 54, 54)
    assert round(params.macs / 1e6) == 271  # docs/paper.md#sizes
    assert params.bytes == 4 * (3 * 224 * 224 + 64 * (363 + 1) + 64 * 54 * 54)


GOOD = {"x": torch.zeros(1, 4, 8, 8), "weight": torch.zeros(6, 2, 3, 3), "bias": torch.zeros(6), "groups": 2}
WHOLE = {"x": torch.Tensor.int, "weight": torch.Tensor.int, "bias": None}


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        ({"x": lambda x: x[0]}, ValueError, r"x must have shape \[N, C, H, W\], got \[4, 8, 8\]"),
        ({"groups": 1}, ValueError, "x must have weight.shape.1. . groups = 2 . 1 channels, got 4"),
        ({"weight": lambda weight: weight[..., :2]}, ValueError, "weight must have shape"),
        ({"weight": lambda weight: weight[:5], "bias": None}, ValueError, "groups must divide the 5 filters, got 2"),
        ({"bias": lambda bias: bias[:5]}, ValueError, r"bias must be \[6\]"),
        ({"weight": torch.Tensor.double}, TypeError, "weight must have x's dtype"),
        (WHOLE, TypeError, "x must be float64"),
        ({"weight": lambda weight: weight.to("meta"), "bias": None}, ValueError, "must be on one device"),
        ({"stride": 0}, ValueError, "stride must be an integer of at least 1, got 0"),
        ({"stride": 4}, ValueError, "stride must not exceed the filter size 3, got 4"),
        ({"padding": 3}, ValueError, "padding must be less than the filter size 3"),
        ({"pool": (2, 3)}, ValueError, "stride must not exceed size"),
        ({"pool": 3}, ValueError, "pool must be None"),
        ({"pool": ()}, ValueError, r"pool must be None, \(size, stride\) or Pool, got \(\)"),
        ({"pool": (3, 2, 1)}, ValueError, "pool must be None"),
        ({"pool": (2**40, 2**40)}, ValueError, "size must be at most 255"),
        ({"norm": "lrn"}, ValueError, "norm must be None"),
        ({"order": "pool-norm"}, ValueError, "order must be one of"),
        ({"ties": "last"}, ValueError, "ties must be one of"),
        ({"rounding": "near"}, ValueError, "rounding must be one of"),
        ({"precision": "fp8"}, ValueError, "precision must be one of"),
        ({"x": lambda x: x[:, :, :1]}, ValueError, "x must be large enough for one output"),
        ({"x": [1.0]}, TypeError, "x must be a torch.Tensor, got list"),
        ({"bias": 0.5}, TypeError, "bias must be a torch.Tensor, got float"),
    ],
)
def test_bad_operands_are_refused_by_name(change, error, sentence):
    tester.refused(ops.block, GOOD, change, error, sentence)


def test_every_backend_answers_yes_or_one_sentence():
    for params in (*SMALL, *PRESETS):
        for device in ("cpu", "cuda"):
            for backend in BACKENDS.values():
                answer = backend.can_run(params, torch.device(device))
                assert answer is None or (len(answer) > 10 and "\n" not in answer)
