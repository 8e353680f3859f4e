"""max_pool, response_norm and linear under torch's tools (docs/training.md); block/test_autograd.py tests the block."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch.autograd import forward_ad
from torch.func import grad, hessian, jacfwd, jacrev, jvp, vmap

from dcnn_fast import ops

NORMS = {"across maps": ops.CrossMapNorm(4, 0.3, 0.75, 2.0), "within a map": ops.SameMapNorm(3, 0.3, 0.75)}
CALLS = {
    **{f"norm {name}": partial(ops.response_norm, norm=norm) for name, norm in NORMS.items()},
    **{
        f"pool {ties} {rounding}": partial(ops.max_pool, size=3, stride=2, ties=ties, rounding=rounding)
        for ties in ("all", "first")
        for rounding in ("up", "down")
    },
}


def _x(*shape, dtype=torch.float64):
    """Distinct values."""
    shape = shape or (2, 3, 5, 6)
    count = torch.Size(shape).numel()
    return (torch.randperm(count, generator=torch.Generator().manual_seed(0)).double() / count - 0.4).reshape(shape).to(dtype)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_first_and_second_derivatives_are_those_of_finite_differences(call):
    x = _x(1, 3, 5, 6).requires_grad_()
    assert torch.autograd.gradcheck(call, (x,), check_batched_grad=True)
    assert torch.autograd.gradgradcheck(call, (x,))


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_transforms_agree_with_autograd(call):
    x = _x()
    torch.testing.assert_close(vmap(lambda each: call(each[None])[0])(x), call(x))
    expected = torch.autograd.functional.jacobian(call, x[:1])
    torch.testing.assert_close(jacrev(call)(x[:1]), expected)

    def loss(each):
        return call(each[None]).square().sum()

    torch.testing.assert_close(vmap(grad(loss))(x), torch.stack([grad(loss)(each) for each in x]))


@pytest.mark.parametrize("norm", NORMS.values(), ids=NORMS)
def test_norms_have_forward_mode_and_hessians(norm):
    call = partial(ops.response_norm, norm=norm)
    x, tangent = _x(1, 3, 2, 3), _x(1, 3, 2, 3).flip(1)
    jacobian = torch.autograd.functional.jacobian(call, x)
    torch.testing.assert_close(jacfwd(call)(x), jacobian)
    product = torch.einsum("abcdefgh,efgh->abcd", jacobian, tangent)
    torch.testing.assert_close(jvp(call, (x,), (tangent,))[1], product)
    with forward_ad.dual_level():
        torch.testing.assert_close(forward_ad.unpack_dual(call(forward_ad.make_dual(x, tangent))).tangent, product)

    def loss(t):
        return call(t).square().sum()

    torch.testing.assert_close(hessian(loss)(x), torch.autograd.functional.hessian(loss, x))


def test_max_pool_refuses_forward_mode_by_name():
    x = _x()
    with forward_ad.dual_level(), pytest.raises(RuntimeError, match="max_pool has no derivative in forward mode"):
        ops.max_pool(forward_ad.make_dual(x, x), 3, 2)
    with pytest.raises(RuntimeError, match="max_pool has no derivative in forward mode"):
        jvp(lambda t: ops.max_pool(t, 3, 2), (x,), (x,))
    with pytest.raises(RuntimeError, match="max_pool has no derivative in forward mode"):
        hessian(lambda t: ops.max_pool(t, 3, 2).square().sum())(x)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_autocast_changes_no_bit_and_no_dtype(call, dtype):
    x = _x(dtype=dtype).requires_grad_()
    expected = call(x)
    (gradient,) = torch.autograd.grad(expected.float().square().sum(), x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = call(x)
        (found,) = torch.autograd.grad(result.float().square().sum(), x)
    assert result.dtype == found.dtype == dtype
    assert torch.equal(result, expected) and torch.equal(found, gradient)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_compiles_whole_and_refuses_what_was_changed(call):
    x = _x().requires_grad_()
    compiled = torch.compile(call, fullgraph=True, backend="aot_eager")
    (found,) = torch.autograd.grad(compiled(x).square().sum(), x)
    torch.testing.assert_close(found, torch.autograd.grad(call(x).square().sum(), x)[0])
    result = call(x)
    with torch.no_grad():
        x.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        result.sum().backward()


# --- linear, which has no derivative ----------------------------------------------------------------------------------------


@pytest.fixture(params=["reference", pytest.param("cpu", marks=pytest.mark.needs_engine)])
def operands(request, monkeypatch):
    """x [4, 7], weight [5, 7] and bias [5] for each of the backends."""
    monkeypatch.setenv("DCNN_FAST_BACKEND", request.param)
    return tuple(_x(*shape, dtype=torch.float32) for shape in ((4, 7), (5, 7), (5,)))


def test_linear_under_autocast(operands):
    x, weight, bias = operands
    expected = ops.linear(x.bfloat16().float(), weight, bias)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(ops.linear(x, weight, bias), ops.linear(*operands))
        result = ops.linear(x.bfloat16(), weight, bias)
    assert result.dtype == torch.float32 and torch.equal(result, expected)
    with pytest.raises(TypeError, match="x, weight and bias must have one floating dtype"):
        ops.linear(x.bfloat16(), weight, bias)


def test_linear_under_vmap_is_each_samples(operands):
    x, weight, bias = operands
    samples = torch.stack([x, -x, 2 * x], dim=1)
    result = vmap(lambda each: ops.linear(each, weight, bias, relu=True), in_dims=1)(samples)
    assert torch.equal(result, torch.stack([ops.linear(samples[:, i], weight, bias, relu=True) for i in range(3)]))
    weights = torch.stack([weight, -weight])
    result = vmap(lambda each: ops.linear(x, each, bias))(weights)
    assert torch.equal(result, torch.stack([ops.linear(x, each, bias) for each in weights]))


@pytest.mark.parametrize("number", [0, 1, 2])
def test_linear_refuses_derivatives_by_name(operands, number):
    def of(tensor):
        return ops.linear(*(tensor if i == number else t for i, t in enumerate(operands)))

    tensor = operands[number]
    with pytest.raises(RuntimeError, match="linear has no derivative in forward mode"):
        jvp(of, (tensor,), (tensor,))
    with torch.no_grad(), pytest.raises(RuntimeError, match="linear has no derivative in forward mode"):
        jvp(vmap(of), (tensor[None],), (tensor[None],))
    with forward_ad.dual_level(), pytest.raises(RuntimeError, match="linear has no derivative in forward mode"):
        of(forward_ad.make_dual(tensor, tensor))
    with pytest.raises(RuntimeError, match="linear has no backward"):
        grad(lambda t: of(t).sum())(tensor)
    with pytest.raises(RuntimeError, match="linear has no backward"):
        vmap(grad(lambda t: of(t).sum()))(tensor[None])
