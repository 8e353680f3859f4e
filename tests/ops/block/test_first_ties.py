"""A training step whose pools give the first of equal maxima their gradient: the C++ engine computes it in tiles."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from dcnn_fast import engine, ops
from dcnn_fast.ops import Pool
from dcnn_fast.ops.block import cpu
from tests.ops import guarded
from tests.ops.block import on_engine
from tests.ops.block.problems import AVERAGE, CROSS, POOL, SAME, grad_of, gradients_by, keywords, operands, problem

ISAS = (*engine.isas(), *engine.emulated_isas())
# every kind of tile, groups, filters and channels that do not fill a vector, fewer outputs than a tile
CONVOLUTIONS = [
    problem(2, channels, height, width, filters, size, torch.float32, stride=stride, padding=padding, groups=groups)
    for channels, filters, size, stride, padding, groups in (
        (64, 64, 5, 1, 2, 1), (13, 5, 3, 1, 1, 1), (3, 40, 11, 2, 0, 1), (3, 20, 11, 4, 0, 1), (48, 42, 5, 1, 2, 3),
        (26, 34, 3, 1, 2, 2), (6, 34, 6, 2, 1, 2),
    )
    for height, width in ((size + 4, size + 2), (17, 30))
]  # fmt: skip
TAILS = [(POOL, CROSS, "conv-pool-norm"), (None, None, "conv-pool-norm"), (Pool(2, 2), SAME, "conv-norm-pool")]
TAILS += [(AVERAGE, CROSS, "conv-norm-pool-relu")]
FIRST = [
    replace(each, options=replace(each.options, pool=pool, norm=norm, order=order, ties="first"))
    for number, each in enumerate(CONVOLUTIONS)
    for pool, norm, order in (TAILS if number == 1 else [TAILS[number % 4 if number > 3 else 0]])
]
HIT = [each for each in FIRST if each.kept.hits]

pytestmark = [pytest.mark.needs_engine, pytest.mark.parametrize("isa", ISAS)]


def _gradients(isa, grad, x, weight, bias, params, threads=2):
    """The engine's gradients after its own training forward, and the values and hits it kept."""
    _, values, hits = on_engine.training(isa, x, weight, bias, params, threads)
    made = [guarded.output(tensor.shape) for tensor in (x, weight, bias)]
    wanted = tuple(tensor for tensor, _ in made)
    cpu.run_backward(isa, grad, x, weight, bias, values, hits, params, wanted, threads)
    guarded.assert_untouched(*(buffer for _, buffer in made))
    return wanted, values, hits


@pytest.mark.parametrize("params", FIRST, ids=str)
def test_gradients_are_the_references_of_what_was_kept(isa, params):
    """Rounding may decide between nearly equal outputs, so the float64 reference is given the engine's hits."""
    operand, grad = operands(params), grad_of(params)
    found, values, hits = _gradients(isa, guarded.poisoned(grad), guarded.poisoned(operand[0]), *operand[1:], params)
    wide = replace(params, dtype=torch.float64, out_dtype=torch.float64)
    values = None if values is None else values.double()
    expected = gradients_by("reference", grad.double(), *(each.double() for each in operand), values, hits, wide)
    for mine, theirs, tolerance in zip(found, expected, params.gradient_tolerances(), strict=True):
        assert (mine.double() - theirs).abs().max() <= tolerance * theirs.abs().max().clamp_min(1e-3)


@pytest.mark.parametrize("params", FIRST, ids=str)
def test_the_result_has_the_bits_of_one_without_gradients(isa, params):
    x, weight, bias = operands(params)
    result, _, _ = on_engine.training(isa, x, weight, bias, params)
    assert torch.equal(result, on_engine.result(isa, x, weight, bias, params))


@pytest.mark.parametrize("params", HIT, ids=str)
def test_hits_are_the_outputs_that_equal_the_maximum(isa, params):
    x, weight, bias = operands(params)
    _, values, hits = on_engine.training(isa, x, weight, bias, params)
    outputs = on_engine.result(isa, x, weight, bias, replace(params, options=replace(params.options, pool=None, norm=None)))
    size, stride = params.options.pool.size, params.options.pool.stride
    expected, best = torch.zeros_like(hits), torch.zeros(params.out_shape)
    windows = []
    for bit in range(size * size):
        window = torch.full(params.out_shape, -1.0)
        part = outputs[:, :, bit // size :: stride, bit % size :: stride][:, :, : window.shape[2], : window.shape[3]]
        window[:, :, : part.shape[2], : part.shape[3]] = part
        windows.append(window)
        best = torch.maximum(best, window)
    for bit, window in enumerate(windows):
        expected |= ((window == best) & (best > 0)).to(torch.int16) << bit
    assert torch.equal(hits, expected)
    assert values is None or torch.equal(values, best)


@pytest.mark.parametrize("params", [FIRST[0], FIRST[4], FIRST[-3], FIRST[-1]], ids=str)
def test_bits_do_not_depend_on_threads_or_batch(isa, params):
    params = replace(params, images=18)
    x, weight, bias = operands(params)
    grad = grad_of(params)
    one, _, _ = _gradients(isa, grad, x, weight, bias, params, threads=1)
    for threads in (2, 5):
        for mine, other in zip(one, _gradients(isa, grad, x, weight, bias, params, threads)[0], strict=True):
            assert torch.equal(mine, other)
    alone, _, _ = _gradients(isa, grad[7:8], x[7:8], weight, bias, replace(params, images=1))
    assert torch.equal(alone[0][0], one[0][7])


@pytest.mark.parametrize("size", [3, 5])
def test_of_equal_outputs_one_takes_the_gradient(isa, size):
    """On a flat image rounding decides which output of a window is largest, but each gradient is given once."""
    params = problem(1, 16, 24, 20, 40, size, torch.float32, rounding="down", pool=Pool(2, 2), ties="first")
    _, weight, bias = operands(params)
    x = torch.full((1, 16, 24, 20), 0.7310585)
    result, _, hits = on_engine.training(isa, x, weight, bias, params)
    assert torch.equal(hits != 0, result > 0)
    (_, _, grad_bias), _, _ = _gradients(isa, torch.ones_like(result), x, weight, bias, params)
    assert torch.equal(grad_bias, (result > 0).sum(dim=(0, 2, 3)).float())


@pytest.mark.parametrize(
    ("channels", "size", "stride", "largest"), [(64, 5, 1, 7e-6), (64, 3, 1, 2e-6), (3, 11, 2, 1.2e-5), (3, 11, 4, 2e-6)]
)
def test_the_error_is_what_the_documents_say(isa, channels, size, stride, largest):
    """The error of the weights' gradient, relative to the largest; plain sums over positions err by 2e-7 to 4e-7 here."""
    params = problem(2, channels, 60, 60, 64, size, torch.float32, stride=stride, rounding="down", ties="first")
    x, weight, bias = operands(params)
    x, grad = x.relu() if channels == 64 else 40 * x, grad_of(params)
    (_, mine, _), values, _ = _gradients(isa, grad, x, weight, bias, params)
    wide = replace(params, dtype=torch.float64, out_dtype=torch.float64)
    given = (each.double() for each in (grad, x, weight, bias, values))
    _, theirs, _ = gradients_by("reference", *given, None, wide)
    assert (mine.double() - theirs).abs().max() <= largest * theirs.abs().max()


def test_through_the_public_function(isa, monkeypatch):
    monkeypatch.setenv("DCNN_FAST_CPU_ISA", isa)
    monkeypatch.setenv("DCNN_FAST_BACKEND", "cpu")
    params = FIRST[0]
    operand, grad = [tensor.requires_grad_() for tensor in operands(params)], grad_of(params)
    expected, _, _ = _gradients(isa, grad, *(tensor.detach() for tensor in operand), params)
    ops.block(*operand, **keywords(params.options)).backward(grad)
    for tensor, theirs in zip(operand, expected, strict=True):
        assert torch.equal(tensor.grad, theirs)
