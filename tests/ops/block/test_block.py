"""ops.block: values, gradients, registration and refusals, over every backend that runs here."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dcnn_fast import ops
from dcnn_fast.ops.block import BACKENDS, BlockOptions, Pool, params_of
from tests.ops import statements, tester
from tests.ops.block.problems import POOL, SMALL, keywords, operands, preset_problems, problem, runnable

PRESETS = preset_problems()


def _stated(x, weight, bias, options):
    pool = options.pool and (options.pool.size, options.pool.stride, options.pool.kind)
    arguments = {
        "stride": options.stride, "padding": options.padding, "groups": options.groups, "rounding": options.rounding,
        "pool_": pool, "norm_": options.norm, "order": options.order,
    }  # fmt: skip
    return np.stack([statements.block(image, weight.numpy(), bias.numpy(), **arguments) for image in x.numpy()])


@pytest.mark.parametrize("params", SMALL, ids=str)
def test_reference_is_what_the_loops_say(params):
    x, weight, bias = operands(params)
    result = ops.block(x, weight, bias, **keywords(params.options))
    assert tuple(result.shape) == params.out_shape
    assert result.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_allclose(result.numpy(), _stated(x, weight, bias, params.options), rtol=1e-12, atol=1e-13)


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


@pytest.mark.parametrize("params", SMALL[:8], ids=str)
def test_any_memory_layout_gives_the_same_values(params, monkeypatch):
    params = replace(params, dtype=torch.float32, out_dtype=torch.float32)
    x, weight, bias = operands(params)
    big = torch.full((x.shape[0] + 2, x.shape[1] + 1, x.shape[2] + 3, 2 * x.shape[3] + 1), float("nan"))
    view = big[1:-1, 1:, 2:-1, 1::2]
    view.copy_(x)
    for backend in runnable(params):
        monkeypatch.setenv("DCNN_FAST_BACKEND", backend)
        expected = ops.block(x.contiguous(memory_format=torch.channels_last), weight, bias, **keywords(params.options))
        for variant in (view, x.contiguous(), x.transpose(2, 3).contiguous().transpose(2, 3)):
            result = ops.block(variant, weight.transpose(0, 1).contiguous().transpose(0, 1), bias, **keywords(params.options))
            exact = 0 if backend == "cpu" else params.tolerance()  # torch picks another algorithm for another layout
            assert (result - expected).abs().max() <= exact * expected.abs().max(), backend


def test_an_image_has_the_same_bits_alone_and_in_a_batch(monkeypatch):
    params = problem(5, 3, 31, 29, 8, 5, torch.float32, stride=2, padding=2, pool=POOL, norm=ops.CrossMapNorm())
    x, weight, bias = operands(params)
    for backend in set(runnable(params)) - {"reference"}:
        monkeypatch.setenv("DCNN_FAST_BACKEND", backend)
        together = ops.block(x, weight, bias, **keywords(params.options))
        for i in range(5):
            alone = ops.block(x[i : i + 1], weight, bias, **keywords(params.options))
            assert torch.equal(alone[0], together[i])


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


X, W, B = torch.zeros(1, 4, 8, 8), torch.zeros(6, 2, 3, 3), torch.zeros(6)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: ops.block(X[0], W, groups=2), ValueError, r"x must have shape \[N, C, H, W\], got \[4, 8, 8\]"),
        (lambda: ops.block(X, W), ValueError, "x must have weight.shape.1. . groups = 2 . 1 channels, got 4"),
        (lambda: ops.block(X, W[..., :2], groups=2), ValueError, "weight must have shape"),
        (lambda: ops.block(X, W[:5], groups=2), ValueError, "groups must divide the 5 filters, got 2"),
        (lambda: ops.block(X, W, B[:5], groups=2), ValueError, r"bias must be \[6\]"),
        (lambda: ops.block(X, W.double(), groups=2), TypeError, "weight must have x's dtype"),
        (lambda: ops.block(X.int(), W.int(), groups=2), TypeError, "x must be float64"),
        (lambda: ops.block(X, W.to("meta"), groups=2), ValueError, "must be on one device"),
        (lambda: ops.block(X, W, groups=2, stride=0), ValueError, "stride must be an integer of at least 1, got 0"),
        (lambda: ops.block(X, W, groups=2, stride=4), ValueError, "stride must not exceed the filter size 3, got 4"),
        (lambda: ops.block(X, W, groups=2, padding=3), ValueError, "padding must be less than the filter size 3"),
        (lambda: ops.block(X, W, groups=2, pool=(2, 3)), ValueError, "stride must not exceed size"),
        (lambda: ops.block(X, W, groups=2, pool=3), ValueError, "pool must be None"),
        (lambda: ops.block(X, W, groups=2, norm="lrn"), ValueError, "norm must be None"),
        (lambda: ops.block(X, W, groups=2, order="pool-norm"), ValueError, "order must be one of"),
        (lambda: ops.block(X, W, groups=2, ties="last"), ValueError, "ties must be one of"),
        (lambda: ops.block(X, W, groups=2, rounding="near"), ValueError, "rounding must be one of"),
        (lambda: ops.block(X, W, groups=2, precision="fp8"), ValueError, "precision must be one of"),
        (lambda: ops.block(X[:, :, :1], W, groups=2), ValueError, "x must be large enough for one output"),
    ],
)
def test_bad_operands_are_named_with_the_rule_and_what_came(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_every_backend_answers_yes_or_one_sentence():
    for params in (*SMALL, *PRESETS):
        for device in ("cpu", "cuda"):
            for backend in BACKENDS.values():
                answer = backend.can_run(params, torch.device(device))
                assert answer is None or (len(answer) > 10 and "\n" not in answer)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pool": ()}, r"pool must be None, \(size, stride\) or Pool, got \(\)"),
        ({"pool": (3, 2, 1)}, "pool must be None"),
        ({"pool": (2**40, 2**40)}, "size must be at most 255"),
        ({"x": [1.0]}, "x must be a torch.Tensor, got list"),
        ({"bias": 0.5}, "bias must be a torch.Tensor, got float"),
    ],
)
def test_arguments_of_wrong_kinds_are_named(change, message):
    arguments = {"x": torch.zeros(1, 2, 8, 8), "weight": torch.zeros(3, 2, 3, 3), "bias": None, **change}
    with pytest.raises((TypeError, ValueError), match=message):
        ops.block(arguments.pop("x"), arguments.pop("weight"), arguments.pop("bias"), **arguments)
