"""The backward of the block on the C++ engine, on every instruction set of this processor, against the reference in fp64."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
import torch

from dcnn_fast import engine, ops
from dcnn_fast.ops import Pool
from dcnn_fast.ops.backend import BackendError
from tests.ops import guarded
from tests.ops.block import on_engine
from tests.ops.block.problems import (
    AVERAGE,
    CROSS,
    POOL,
    SAME,
    changed,
    grad_of,
    gradients_by,
    keywords,
    operands,
    preset_problems,
    problem,
    require_gradients,
    tied_operands,
    training_by,
    typed,
)  # fmt: skip

ISAS = (*engine.isas(), *engine.emulated_isas())
NORMS = [None, CROSS, SAME, ops.CrossMapNorm(4, 0.3, 0.5, 2.0), ops.SameMapNorm(4, 0.3), ops.SameMapNorm(1000, 0.3)]
SHAPES = [
    problem(2, 3, height, width, 7, size, torch.float32, stride=stride, padding=padding, rounding=rounding, pool=pool)
    for height, width, size, stride, padding, pool in (
        (1, 1, 1, 1, 0, None), (7, 63, 5, 2, 2, Pool(3, 2)), (23, 9, 3, 1, 1, Pool(2, 2)), (19, 31, 11, 4, 0, Pool(3, 1)),
        (15, 22, 4, 3, 2, Pool(5, 4)),
    )
    for rounding in ("up", "down")
]  # fmt: skip
VARIETY = [
    replace(shape, options=replace(shape.options, norm=norm, order=order))
    for shape in SHAPES
    for norm in NORMS
    for order in (("conv-pool-norm",) if norm is None else ("conv-pool-norm", "conv-norm-pool"))
]
VARIETY += [
    problem(1, channels, 17, 12, filters, size, torch.float32, stride=stride, padding=1, groups=groups, pool=POOL, norm=norm)
    for channels, filters, groups, size, stride in ((6, 6, 2, 3, 1), (6, 48, 3, 6, 2), (32, 64, 2, 5, 1), (24, 9, 3, 3, 1))
    for norm in (CROSS, SAME)
]
VARIETY += [
    problem(1, 16, 9, 11, 20, 3, torch.float32, padding=1, norm=norm)
    for norm in (CROSS, SAME)  # convolutions in tiles, without a pool
]
VARIETY += [problem(1, 4, 14, 11, 6, 3, torch.float32, pool=Pool(4, 3), norm=CROSS)]  # all sixteen bits of a hit mask
VARIETY += [problem(17, 2, 8, 9, 5, 3, torch.float32, pool=Pool(4, 3), norm=CROSS, order="conv-norm-pool")]

# averages, and the ReLU last
LATE = [
    replace(
        shape,
        options=replace(
            shape.options, norm=norm, order=order, pool=shape.options.pool and replace(shape.options.pool, kind=kind)
        ),
    )
    for shape, norm in zip(SHAPES, [None, CROSS, SAME, *NORMS[1:5], None, CROSS, SAME], strict=True)
    for order in ("conv-pool-norm-relu", "conv-norm-pool-relu", "conv-norm-pool")
    for kind in ("max", "avg")
    if order.endswith("relu") or kind == "avg"
]
LATE += [
    problem(
        1, 6, 17, 12, filters, 3, torch.float32, padding=1, groups=groups, pool=AVERAGE, norm=CROSS, order="conv-norm-pool-relu"
    )
    for filters, groups in ((6, 2), (48, 3), (9, 3))
]

# one of each kind: the ReLU alone, both norms, both orders, rounding down, groups, in tiles, recomputed
SOME = [VARIETY[i] for i in (0, 23, 36, 48, 62, -6, -4, -1)] + LATE[-1:]

pytestmark = [pytest.mark.needs_engine, pytest.mark.parametrize("isa", ISAS)]


def _stated(grad, x, weight, bias, params):
    """The reference's gradients in float64."""
    wide = typed(params, torch.float64)
    x, weight, bias = (None if tensor is None else tensor.double() for tensor in (x, weight, bias))
    result, values, hits = training_by("reference", x, weight, bias, wide)
    values = result if params.kept.result else values
    return gradients_by("reference", grad.double(), x, weight, bias, values, hits, wide, (True, True, True))


@cache
def _case(params):
    """Seeded operands and a gradient of the result, and the reference's gradients: the same for every instruction set."""
    x, weight, bias = operands(params)
    grad = grad_of(params)
    return x, weight, bias, grad, _stated(grad, x, weight, bias, params)


@pytest.mark.parametrize("params", [*VARIETY, *LATE, *preset_problems()], ids=str)
def test_gradients_are_the_references(isa, params):
    x, weight, bias, grad, expected = _case(params)
    found = on_engine.gradients(isa, guarded.poisoned(grad), guarded.poisoned(x), weight, bias, params)
    require_gradients(found, expected, params.gradient_tolerances())


BF16 = [changed(params, precision="bf16") for params in VARIETY[3:-12:9] + VARIETY[-12:] + LATE[::6]]


@pytest.mark.parametrize("params", BF16, ids=str)
def test_gradients_of_rounded_operands_are_the_references(isa, params):
    x, weight, bias, grad, expected = _case(params)
    require_gradients(on_engine.gradients(isa, grad, x, weight, bias, params), expected, params.gradient_tolerances())


TIED = [
    problem(2, channels, 13, 16, filters, 3, torch.float32, padding=1, stride=stride, rounding=rounding, pool=pool)
    for channels, filters, stride in ((2, 5, 1), (16, 33, 1), (3, 7, 2))
    for rounding in ("up", "down")
    for pool in (Pool(3, 2), Pool(4, 3), Pool(5, 3))
]
TIED += [changed(params, ties="first") for params in TIED if params.channels < 12]  # problems in tiles: test_first_ties.py


@cache
def _tied_case(params, seed):
    x, weight, bias = tied_operands(params, seed)
    grad = torch.randint(-3, 4, params.out_shape, generator=torch.Generator().manual_seed(seed)).float()
    _, _, hits = training_by("reference", x, weight, bias, params)
    return x, weight, bias, grad, hits, _stated(grad, x, weight, bias, params)


@pytest.mark.parametrize("params", TIED, ids=str)
def test_ties_are_the_references_bit_for_bit(isa, params):
    for seed in range(3):
        x, weight, bias, grad, expected_hits, expected = _tied_case(params, seed)
        _, _, hits = on_engine.training(isa, x, weight, bias, params)
        if params.kept.hits:
            assert torch.equal(hits, expected_hits)
            assert (hits & (hits - 1)).any(), "no ties: this test shows nothing"
        found = on_engine.gradients(isa, grad, x, weight, bias, params)
        require_gradients(found, expected, params.gradient_tolerances())
        in_tiles = params.filters >= 12  # with this many channels the gradient of x is convolved in tiles
        for mine, theirs in list(zip(found, expected, strict=True))[in_tiles:]:
            assert torch.equal(mine.double(), theirs)


@pytest.mark.parametrize("ties", ["all", "first"])
@pytest.mark.parametrize("norm", [CROSS, SAME], ids=str)
@pytest.mark.parametrize("order", ["conv-pool-norm", "conv-norm-pool"])
def test_ties_beside_a_norm(isa, norm, order, ties):
    """The image repeats one row: values in a column are equal, before and after a norm."""
    params = problem(1, 3, 24, 15, 9, 5, torch.float32, pool=POOL, norm=norm, order=order, ties=ties)
    x, weight, bias = tied_operands(params, 1)
    x = x[:, :, :1].expand_as(x) + 0.0
    grad = grad_of(params)
    found = on_engine.gradients(isa, grad, x, weight, bias, params)
    expected = _stated(grad, x, weight, bias, params)
    require_gradients(found, expected, params.gradient_tolerances())
    other = _stated(grad, x, weight, bias, changed(params, ties="first" if ties == "all" else "all"))
    assert (found[0] - other[0]).abs().max() > 0.01, "no ties: this test shows nothing"


@pytest.mark.parametrize(("channels", "size", "stride"), [(16, 3, 1), (16, 5, 1), (3, 11, 4), (3, 11, 2)])
def test_a_flat_image_ties_whatever_its_values(isa, channels, size, stride):
    """Winograd's tiles would give equal inputs unequal outputs here, which only ties="first" allows."""
    params = problem(1, channels, 44, 40, 40, size, torch.float32, stride=stride, rounding="down", pool=Pool(2, 2))
    _, weight, bias = operands(params)
    x = torch.full((1, channels, 44, 40), 0.7310585)
    result, _, hits = on_engine.training(isa, x, weight, bias, params)
    assert torch.equal(hits == 15, result > 0)
    assert (result > 0).any()


@pytest.mark.parametrize("params", [*SOME, changed(VARIETY[-1], order="conv-pool-norm")], ids=str)
def test_bits_do_not_depend_on_threads_or_batch(isa, params):
    params = replace(params, images=19)
    x, weight, bias = operands(params)
    grad = grad_of(params)
    one = on_engine.gradients(isa, grad, x, weight, bias, params, threads=1)
    for threads in (2, 5, 32):
        for mine, other in zip(one, on_engine.gradients(isa, grad, x, weight, bias, params, threads=threads), strict=True):
            assert torch.equal(mine, other)
    alone, _, _ = on_engine.gradients(isa, grad[7:8], x[7:8], weight, bias, replace(params, images=1))
    assert torch.equal(alone[0], one[0][7])


@pytest.mark.parametrize("params", SOME, ids=str)
def test_only_what_is_needed_is_computed_and_it_is_the_same(isa, params):
    x, weight, bias = operands(params)
    grad = grad_of(params)
    everything = on_engine.gradients(isa, grad, x, weight, bias, params)
    for needs in ((True, False, False), (False, True, False), (False, False, True), (False, True, True)):
        for need, mine, whole in zip(
            needs, on_engine.gradients(isa, grad, x, weight, bias, params, needs), everything, strict=True
        ):
            assert (mine is not None) == need
            assert mine is None or torch.equal(mine, whole)


def test_any_layout_of_x_and_of_the_gradient(isa):
    params = problem(2, 3, 14, 17, 8, 5, torch.float32, stride=2, padding=1, pool=POOL, norm=CROSS)
    x, weight, bias = operands(params)
    grad = torch.ones(1).expand(params.out_shape)
    expected = on_engine.gradients(isa, grad.clone(), x.contiguous(memory_format=torch.channels_last), weight, bias, params)
    for variant in (x.contiguous(), x.transpose(2, 3).contiguous().transpose(2, 3), guarded.poisoned(x)):
        for mine, theirs in zip(on_engine.gradients(isa, grad, variant, weight, bias, params), expected, strict=True):
            assert torch.equal(mine, theirs)


def test_an_image_of_bytes_needs_no_gradient_of_its_own(isa):
    params = problem(2, 3, 15, 12, 8, 5, torch.float32, stride=2, pool=POOL, norm=CROSS)
    _, weight, bias = operands(params)
    pixels = torch.randint(0, 256, (2, 3, 15, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    needs = (False, True, True)
    found = on_engine.gradients(isa, grad_of(params), pixels, weight, bias, params, needs)
    expected = on_engine.gradients(isa, grad_of(params), pixels.float(), weight, bias, params, needs)
    assert torch.equal(found[1], expected[1])
    assert torch.equal(found[2], expected[2])


def test_a_batch_of_nothing_has_gradients_of_zero(isa):
    params = problem(0, 3, 9, 9, 4, 3, torch.float32, pool=POOL, norm=CROSS)
    x, weight, bias = operands(params)
    _, grad_weight, grad_bias = on_engine.gradients(isa, grad_of(params), x, weight, bias, params)
    assert not grad_weight.any()
    assert not grad_bias.any()


def test_an_infinity_that_no_gradient_reaches_leaves_no_trace(isa):
    """An output that is not its window's maximum has gradient zero, even where the result's gradient is infinite."""
    params = problem(1, 1, 6, 6, 2, 1, torch.float32, pool=Pool(2, 2))
    x = torch.arange(36.0).view(1, 1, 6, 6)
    weight, grad = torch.ones(2, 1, 1, 1), torch.full(params.out_shape, float("inf"))
    grad_x, _, _ = on_engine.gradients(isa, grad, x, weight, None, params, (True, False, False))
    assert grad_x[:, :, ::2].eq(0).all()
    assert grad_x[:, :, 1::2, 1::2].isinf().all()


@pytest.mark.parametrize("params", [SOME[i] for i in (0, 1, 2, 3, -1)], ids=str)
def test_through_the_public_function(isa, params, monkeypatch):
    """Values, gradients, opcheck and a full torch.compile graph, all by the engine."""
    monkeypatch.setenv("DCNN_FAST_CPU_ISA", isa)
    monkeypatch.setenv("DCNN_FAST_BACKEND", "cpu")
    kw = keywords(params.options)
    operand = [tensor.requires_grad_() for tensor in operands(params)]
    grad = grad_of(params)
    expected = on_engine.gradients(isa, grad, *(tensor.detach() for tensor in operand), params)
    ops.block(*operand, **kw).backward(grad)
    for tensor, theirs in zip(operand, expected, strict=True):
        assert torch.equal(tensor.grad, theirs)
        tensor.grad = None
    compiled = torch.compile(lambda *t: ops.block(*t, **kw), fullgraph=True, backend="aot_eager")
    compiled(*operand).backward(grad)
    for tensor, theirs in zip(operand, expected, strict=True):
        assert torch.equal(tensor.grad, theirs)
    flat = params.options.flat()
    plain = [tensor.detach() for tensor in operand]
    torch.library.opcheck(torch.ops.dcnn_fast.block_training, (*plain, *flat, [], 1.0))
    result, values, hits = torch.ops.dcnn_fast.block_training(*plain, *flat, [], 1.0)
    values = result if params.kept.result else values
    arguments = (grad, *plain, values, hits, *flat, [True, True, True], [], 1.0)
    torch.library.opcheck(torch.ops.dcnn_fast.block_backward, arguments)


def test_a_second_derivative_is_refused_in_one_sentence(isa, monkeypatch):
    monkeypatch.setenv("DCNN_FAST_CPU_ISA", isa)
    x = torch.randn(1, 3, 9, 9, generator=torch.Generator().manual_seed(0)).requires_grad_()
    weight = torch.ones(2, 3, 3, 3)
    (grad,) = torch.autograd.grad(ops.block(x, weight).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="block has no second derivative"):
        grad.sum().backward()


def test_what_the_engine_cannot_do_the_reference_does_or_an_error_names(isa, monkeypatch):
    monkeypatch.setenv("DCNN_FAST_CPU_ISA", isa)
    x = torch.randn(1, 3, 9, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    weight = torch.ones(2, 3, 3, 3, dtype=torch.float64)
    ops.block(x, weight).sum().backward()
    assert x.grad.dtype == torch.float64
    monkeypatch.setenv("DCNN_FAST_BACKEND", "cpu")
    with pytest.raises(BackendError, match="the C\\+\\+ engine takes float32 or uint8"):
        ops.block(x, weight)
