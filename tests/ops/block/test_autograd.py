"""The block under torch's own tools: each works as with torch's layers, or is refused by name (docs/training.md)."""

from __future__ import annotations

import copy
import pickle
from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import forward_ad
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, vjp, vmap
from torch.utils.checkpoint import checkpoint

from dcnn_fast import networks, ops
from dcnn_fast.nets.column import Block
from dcnn_fast.ops.block import params_of
from dcnn_fast.ops.block.params import BlockOptions
from tests.ops.on_cpu import kernels_on_cpu

POOLED = {"padding": 1, "pool": (3, 2), "norm": ops.CrossMapNorm(5, 0.3, 0.75, 1.0)}
KINDS = {
    "nothing but the ReLU": {},
    "norm": {"norm": ops.SameMapNorm(3, 0.3, 0.75)},
    "pool": {"pool": (2, 2), "ties": "first"},
    "pool, then norm": POOLED,
    "norm, then pool": {**POOLED, "order": "conv-norm-pool"},
}  # fmt: skip


_FAST = ["reference", pytest.param("cpu", marks=pytest.mark.needs_engine)]
EVERY_KIND = [(kind, backend) for kind in KINDS for backend in ("reference", "cpu")] + [("pool, then norm", "triton")]
every_kind = pytest.mark.parametrize(
    ("kind", "backend"),
    [pytest.param(*each, marks=[pytest.mark.needs_engine] if each[1] == "cpu" else []) for each in EVERY_KIND],
    indirect=["backend"],
)  # of the simulated cases, only the kind that launches every kernel


@pytest.fixture(params=[*_FAST, "triton"])
def backend(request, monkeypatch):
    """The backend that computes the test's blocks; Triton's kernels run in the simulator."""
    monkeypatch.setenv("DCNN_FAST_BACKEND", request.param)
    torch.set_num_threads(1)
    if request.param != "triton":
        yield request.param
        return
    with kernels_on_cpu():
        yield request.param


@pytest.fixture(params=_FAST)
def fast(request, monkeypatch):
    """The backends that need no simulator, for tests in which it would be slow and show nothing more."""
    monkeypatch.setenv("DCNN_FAST_BACKEND", request.param)
    torch.set_num_threads(1)
    return request.param


def _randn(*shape, dtype=torch.float32, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def _operands(dtype=torch.float32, images=2):
    """x, weight and bias that require gradients."""
    shapes = (images, 4, 6, 7), (8, 4, 3, 3), (8,)
    return [_randn(*shape, dtype=dtype, seed=i).requires_grad_() for i, shape in enumerate(shapes)]


def _gradients(result, operands, seed=9):
    """The operands' gradients, from one fixed gradient of the result."""
    return torch.autograd.grad(result, operands, _randn(*result.shape, seed=seed).to(result.dtype), retain_graph=True)


def _assert_equal(found, expected):
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.dtype == theirs.dtype
        assert torch.equal(mine, theirs)


# --- autocast ---------------------------------------------------------------------------------------------------------------


def test_autocast_changes_no_bit_and_no_dtype(backend):
    operands = _operands()
    plain = ops.block(*operands, **POOLED)
    expected = _gradients(plain, operands)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = ops.block(*operands, **POOLED)
        inside = _gradients(result, operands)
    _assert_equal([result, *inside, *_gradients(ops.block(*operands, **POOLED), operands)], [plain, *expected, *expected])


def test_what_torchs_layers_give_under_autocast_is_widened_to_the_weights(backend):
    x, weight, bias = _operands()
    short = x.detach().bfloat16().requires_grad_()
    wide = short.detach().float().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = ops.block(short, weight, bias, **POOLED)
    expected = ops.block(wide, weight, bias, **POOLED)
    assert result.dtype == torch.float32
    of_x, *others = _gradients(result, (short, weight, bias))
    wanted, *rest = _gradients(expected, (wide, weight, bias))
    _assert_equal([result, of_x, *others], [expected, wanted.bfloat16(), *rest])


def test_nothing_is_rounded_behind_ones_back(fast):
    x, weight, bias = _operands()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for other in (torch.bfloat16, torch.float16):
            with pytest.raises(TypeError, match="weight must have x's dtype torch.float32, got torch"):
                ops.block(x, weight.to(other), bias.to(other))
        with pytest.raises(TypeError, match="weight must have x's dtype torch.float16, got torch.bfloat16"):
            ops.block(x.half(), weight.bfloat16())
    with torch.autocast("cpu", enabled=False), pytest.raises(TypeError, match="weight must have x's dtype torch.bfloat16"):
        ops.block(x.bfloat16(), weight, bias)


def test_bytes_enter_under_autocast_as_without(fast):
    _, weight, bias = _operands()
    pixels = torch.randint(0, 256, (2, 4, 6, 7), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    kw = {**POOLED, "mean": (100.0,) * 4, "scale": 1 / 64}
    expected = ops.block(pixels, weight, bias, **kw)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = ops.block(pixels, weight, bias, **kw)
    _assert_equal([result, *_gradients(result, (weight, bias))], [expected, *_gradients(expected, (weight, bias))])


def test_between_torchs_layers_under_autocast(backend):
    torch.manual_seed(0)
    layer = Block(networks.Block(8, 3, padding=1, pool=networks.Pool(), norm=networks.CrossMapNorm()), 4, "up")
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), layer, torch.nn.Flatten(), torch.nn.Linear(8 * 3 * 3, 2))
    torch.nn.init.normal_(layer.weight)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = net(_randn(2, 3, 8, 8))
    assert logits.dtype == torch.bfloat16
    F.cross_entropy(logits.float(), torch.tensor([0, 1])).backward()
    for parameter in net.parameters():
        assert parameter.grad.dtype == torch.float32
        assert parameter.grad.abs().max() > 0


# --- loss scaling -----------------------------------------------------------------------------------------------------------


@every_kind
def test_a_scaled_loss_gives_scaled_gradients(kind, backend):
    """Scaling by a power of two changes no digit."""
    operands = _operands()
    expected = _gradients(ops.block(*operands, **KINDS[kind]), operands)
    result = ops.block(*operands, **KINDS[kind])
    found = torch.autograd.grad(result, operands, _randn(*result.shape, seed=9) * 2.0**16)
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs * 2.0**16, rtol=0 if backend != "reference" else 1e-6, atol=0)


@pytest.mark.parametrize("bad", [float("inf"), float("nan")])
@every_kind
def test_a_gradient_that_is_not_finite_makes_the_scaler_skip_the_step(kind, bad, backend):
    """One such value, at a nonzero result, is enough."""
    x, weight, bias = _operands()
    before = weight.detach().clone(), bias.detach().clone()
    optimizer = torch.optim.SGD([weight, bias], 0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    result = ops.block(x, weight, bias, **KINDS[kind])
    scaler.scale(result.sum() + result.flatten()[result.argmax()] * bad).backward()
    assert not weight.grad.isfinite().all()
    scaler.step(optimizer)
    scaler.update()
    _assert_equal((weight, bias), before)
    assert scaler.get_scale() == 2.0
    optimizer.zero_grad()
    scaler.scale(ops.block(x, weight, bias, **KINDS[kind]).sum()).backward()
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() == 2.0
    assert not torch.equal(weight, before[0])


# --- the transforms of torch.func -------------------------------------------------------------------------------------------


@every_kind
def test_vmap_over_images_is_the_block_of_each(kind, backend):
    x, weight, bias = (tensor.detach() for tensor in _operands(images=6))
    x = x.view(3, 2, *x.shape[1:])
    with torch.no_grad():
        expected = torch.stack([ops.block(each, weight, bias, **KINDS[kind]) for each in x])
        result = vmap(lambda each: ops.block(each, weight, bias, **KINDS[kind]))(x)
        last = vmap(lambda each: ops.block(each, weight, bias, **KINDS[kind]), in_dims=-1, out_dims=1)(x.movedim(0, -1))
    tolerance = {"rtol": 1e-6, "atol": 1e-6} if backend == "reference" else {"rtol": 0, "atol": 0}
    torch.testing.assert_close(result, expected, **tolerance)
    torch.testing.assert_close(last.movedim(1, 0), expected, **tolerance)


def test_vmap_over_weights_is_the_block_of_each(fast):
    x, weight, bias = (tensor.detach() for tensor in _operands())
    weights, biases = torch.stack([weight, -weight, 2 * weight]), torch.stack([bias, bias + 1, -bias])
    result = vmap(lambda w, b: ops.block(x, w, b, **POOLED))(weights, biases)
    expected = [ops.block(x, w.requires_grad_(), b, **POOLED) for w, b in zip(weights, biases, strict=True)]
    _assert_equal(result, expected)
    both = vmap(lambda each, w: ops.block(each[None], w, bias, **POOLED), in_dims=(0, 3))(x, weights[:2].movedim(0, 3))
    _assert_equal(both, [ops.block(x[i : i + 1], weights[i], bias, **POOLED) for i in range(2)])


def test_vmap_of_operands_that_ask_for_gradients(fast):
    x, weight, bias = _operands(images=4)
    result = vmap(lambda each: ops.block(each[None], weight, bias, **POOLED))(x)
    expected = ops.block(x, weight, bias, **POOLED)
    torch.testing.assert_close(result[:, 0], expected)
    found = _gradients(result[:, 0], (x, weight, bias))
    for mine, theirs in zip(found, _gradients(expected, (x, weight, bias)), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_grad_and_vjp_are_the_gradients(kind, fast):
    operands = _operands()
    expected = _gradients(ops.block(*operands, **KINDS[kind]), operands)
    plain = tuple(tensor.detach() for tensor in operands)
    result, pull = vjp(lambda *t: ops.block(*t, **KINDS[kind]), *plain)
    _assert_equal(pull(_randn(*result.shape, seed=9)), expected)
    found = grad(lambda *t: (ops.block(*t, **KINDS[kind]) * _randn(*result.shape, seed=9)).sum(), argnums=(0, 1, 2))(*plain)
    _assert_equal(found, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_every_sample(kind, fast):
    """The usual per-sample gradients: vmap over grad, with one set of weights."""
    x, weight, bias = (tensor.detach() for tensor in _operands(images=3))

    def loss(weight, bias, each):
        return ops.block(each[None], weight, bias, **KINDS[kind]).square().sum()

    found = vmap(grad(loss, argnums=(0, 1, 2)), in_dims=(None, None, 0))(weight, bias, x)
    alone = [grad(loss, argnums=(0, 1, 2))(weight, bias, each) for each in x]
    for mine, theirs in zip(found, zip(*alone, strict=True), strict=True):
        torch.testing.assert_close(mine, torch.stack(theirs))
    assert not torch.equal(found[0][0], found[0][1])


@pytest.mark.parametrize("kind", KINDS)
def test_jacrev_is_the_jacobian(kind, fast):
    x, weight, bias = (tensor.detach() for tensor in _operands(images=1))
    x = x[:, :, :4, :4]
    found = jacrev(lambda t: ops.block(t, weight, bias, **KINDS[kind]))(x)
    wanted = torch.autograd.functional.jacobian(lambda t: ops.block(t, weight, bias, **KINDS[kind]), x)
    assert wanted.abs().max() > 0.1
    torch.testing.assert_close(found, wanted)


def test_functional_call_of_a_module(fast):
    layer = Block(networks.Block(8, 3, pool=networks.Pool()), 4, "up")
    x, weight, bias = _operands()
    result = functional_call(layer, {"weight": weight, "bias": bias}, (x,))
    expected = ops.block(x, weight, bias, pool=(3, 2))
    _assert_equal([result, *_gradients(result, (x, weight))], [expected, *_gradients(expected, (x, weight))])
    by = grad(lambda p: functional_call(layer, p, (x.detach(),)).sum())({"weight": weight.detach(), "bias": bias.detach()})
    _assert_equal((by["weight"], by["bias"]), torch.autograd.grad(expected.sum(), (weight, bias)))


# --- refusals ---------------------------------------------------------------------------------------------------------------

FORWARD_MODE = r"block has no derivative in forward mode .*: use reverse mode"
SECOND = r"block has no second derivative: .*conv2d and relu, ops.max_pool and ops.response_norm can"


@pytest.mark.parametrize("number", [0, 1, 2])
def test_forward_mode_is_refused_by_name(number, fast):
    operands = [tensor.detach() for tensor in _operands()]
    tangent = torch.ones_like(operands[number])
    with forward_ad.dual_level():
        dual = [forward_ad.make_dual(t, tangent) if i == number else t for i, t in enumerate(operands)]
        with pytest.raises(RuntimeError, match=FORWARD_MODE):
            ops.block(*dual)
        with torch.no_grad(), pytest.raises(RuntimeError, match=FORWARD_MODE):
            ops.block(*dual)
        ops.block(*operands)  # no operand is dual at this level

    def of(tensor):
        return ops.block(*(tensor if i == number else t for i, t in enumerate(operands)))

    with pytest.raises(RuntimeError, match=FORWARD_MODE):
        jvp(of, (operands[number],), (tangent,))
    with pytest.raises(RuntimeError, match=FORWARD_MODE):
        jacfwd(of)(operands[number])
    with pytest.raises(RuntimeError, match=FORWARD_MODE):
        jvp(grad(lambda t: of(t).sum()), (operands[number],), (tangent,))
    with pytest.raises(RuntimeError, match=FORWARD_MODE):
        vmap(lambda t: jvp(of, (operands[number],), (t,)))(tangent[None])
    with torch.no_grad(), pytest.raises(RuntimeError, match=FORWARD_MODE):
        jvp(vmap(of), (operands[number][None],), (tangent[None],))


@every_kind
def test_a_second_derivative_is_refused_by_name(kind, backend):
    x, weight, bias = _operands()
    result = ops.block(x, weight, bias, **KINDS[kind])
    (of_x,) = torch.autograd.grad(result.sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match=SECOND):  # even though the gradient of the result is a constant
        (result.sum() + of_x.square().sum()).backward()


def test_a_gradient_that_could_be_differentiated_again_is_right(fast):
    operands = _operands()
    expected = _gradients(ops.block(*operands, **POOLED), operands)
    result = ops.block(*operands, **POOLED)
    found = torch.autograd.grad(result, operands, _randn(*result.shape, seed=9), create_graph=True)
    _assert_equal(found, expected)
    result.backward(_randn(*result.shape, seed=9), create_graph=True)
    _assert_equal([tensor.grad for tensor in operands], expected)
    for tensor in operands:
        tensor.grad = None  # breaks the reference cycle of tensor and gradient


@pytest.mark.parametrize("argument", ["x", "weight", "bias", "grad"])
def test_a_second_derivative_by_any_operand_is_refused(argument, fast):
    operands = _operands()
    result = ops.block(*operands, **POOLED)
    grad_of_result = _randn(*result.shape, seed=9).requires_grad_()
    found = torch.autograd.grad(result, operands, grad_of_result, create_graph=True)
    by = dict(zip(("x", "weight", "bias", "grad"), (*operands, grad_of_result), strict=True))[argument]
    with pytest.raises(RuntimeError, match=SECOND):
        torch.autograd.grad(sum(each.sum() for each in found), by)


def test_second_derivatives_by_transforms_are_refused_by_name(fast):
    x, weight, bias = (tensor.detach() for tensor in _operands(images=1))

    def loss(t):
        return ops.block(t, weight, bias, **POOLED).square().sum()

    for second in (grad(lambda t: grad(loss)(t).square().sum()), jacrev(jacrev(loss)), jacrev(grad(loss))):
        with pytest.raises(RuntimeError, match=SECOND):
            second(x)
    with pytest.raises(RuntimeError, match=FORWARD_MODE):
        hessian(loss)(x)


def test_block_regions_is_refused_by_name_where_it_would_lose_something(fast):
    x, weight, bias = (tensor.detach() for tensor in _operands())
    table = ops.RegionList.of([], [])
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(x, torch.ones_like(x))
        with pytest.raises(RuntimeError, match="block_regions has no derivative in forward mode"):
            ops.block_regions([dual], table, weight, bias)
    with pytest.raises(RuntimeError, match="block_regions does not run under vmap"):
        vmap(lambda each: ops.block_regions([each[None]], table, weight, bias))(x)


# --- the rest of torch's tools ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_gradcheck(kind, monkeypatch):
    """Gradients equal finite differences in float64; second derivatives are refused."""
    torch.set_num_threads(1)
    monkeypatch.setenv("DCNN_FAST_BACKEND", "reference")
    operands = [tensor.detach()[..., :5].double().requires_grad_() for tensor in _operands(images=1)[:2]]
    bias = _operands(torch.float64)[2]
    assert torch.autograd.gradcheck(lambda *t: ops.block(*t, **KINDS[kind]), (*operands, bias), check_batched_grad=True)
    with pytest.raises(RuntimeError, match=SECOND):
        torch.autograd.gradgradcheck(lambda *t: ops.block(*t, **KINDS[kind]), (*operands, bias))


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_checkpointing_changes_no_gradient(use_reentrant, fast):
    operands = _operands()
    expected = ops.block(*operands, **POOLED)
    result = checkpoint(lambda *t: ops.block(*t, **POOLED), *operands, use_reentrant=use_reentrant)
    grad_of_result = _randn(*result.shape, seed=9)
    result.backward(grad_of_result)
    _assert_equal([tensor.grad for tensor in operands], torch.autograd.grad(expected, operands, grad_of_result))


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_a_change_of_what_was_saved_is_torchs_error_or_changes_nothing(kind, number, fast):
    operands = _operands()
    result = ops.block(*operands, **KINDS[kind])
    with torch.no_grad():
        operands[number].add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        result.sum().backward()


@pytest.mark.parametrize("kind", KINDS)
def test_a_change_of_the_result_is_torchs_error_or_changes_nothing(kind, fast):
    operands = _operands()
    expected = torch.autograd.grad(ops.block(*operands, **KINDS[kind]).sum(), operands)
    result = ops.block(*operands, **KINDS[kind])
    with torch.no_grad():
        result.zero_()
    if KINDS[kind]:  # the backward does not use the result itself
        _assert_equal(torch.autograd.grad(result.sum(), operands), expected)
        in_place = F.relu_(ops.block(*operands, **KINDS[kind]))
        assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(in_place.sum(), operands))
        return
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        result.sum().backward()


def test_backward_twice_and_hooks(fast):
    operands = _operands()
    seen = []
    for tensor in operands:
        tensor.register_hook(lambda grad: seen.append(grad.shape))
        tensor.register_post_accumulate_grad_hook(lambda tensor: seen.append(tensor.grad.shape))
    result = ops.block(*operands, **POOLED)
    result.sum().backward(retain_graph=True)
    once = [tensor.grad.clone() for tensor in operands]
    result.sum().backward()
    _assert_equal([tensor.grad for tensor in operands], [2 * each for each in once])
    assert len(seen) == 12
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        result.sum().backward()


@pytest.mark.parametrize("wanted", [(0,), (1,), (2,), (1, 2), (0, 2)])
@pytest.mark.parametrize("kind", KINDS)
def test_only_who_asks_gets_a_gradient(kind, wanted, fast):
    everything = _operands()
    expected = torch.autograd.grad(ops.block(*everything, **KINDS[kind]).sum(), everything)
    operands = [tensor.detach().requires_grad_(i in wanted) for i, tensor in enumerate(everything)]
    ops.block(*operands, **KINDS[kind]).sum().backward()
    for i, (tensor, theirs) in enumerate(zip(operands, expected, strict=True)):
        assert (tensor.grad is not None) == (i in wanted)
        if i in wanted:
            torch.testing.assert_close(tensor.grad, theirs, rtol=1e-6, atol=1e-6)


def test_modes_without_gradients(fast):
    operands = _operands()
    expected = ops.block(*(tensor.detach() for tensor in operands), **POOLED)
    with torch.no_grad():
        assert not ops.block(*operands, **POOLED).requires_grad
    with torch.inference_mode():
        result = ops.block(*operands, **POOLED)
    assert result.is_inference()
    _assert_equal([result], [expected])


def test_copies_and_pickles_of_a_module_are_it(fast):
    layer = Block(networks.Block(8, 3, pool=networks.Pool(), norm=networks.CrossMapNorm()), 4, "up")
    torch.nn.init.normal_(layer.weight, generator=torch.Generator().manual_seed(0))
    x = _operands()[0]
    expected = layer(x)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert other.weight is not layer.weight
        found = other(x)
        _assert_equal([found, *_gradients(found, (x,))], [expected, *_gradients(expected, (x,))])


@pytest.mark.parametrize("kind", KINDS)
def test_shapes_without_values(kind):
    """Meta and fake tensors give the shape, dtype and memory layout of the result and of the gradients."""
    from torch._subclasses import FakeTensorMode  # noqa: PLC0415 - torch has no public name for it

    operands = _operands()
    result = ops.block(*operands, **KINDS[kind])
    expected = [(t.shape, t.dtype, t.stride()) for t in (result, *_gradients(result, operands))]
    assert params_of(*operands[:2], BlockOptions(**_params(KINDS[kind]))).out_shape == tuple(result.shape)
    meta = [tensor.detach().to("meta").requires_grad_() for tensor in operands]
    mode = FakeTensorMode()
    fake = [mode.from_tensor(tensor.detach()).requires_grad_() for tensor in operands]
    for without, inside in ((meta, nullcontext()), (fake, mode)):
        with inside:
            found = ops.block(*without, **KINDS[kind])
            grads = torch.autograd.grad(found, without, torch.empty_like(found))
        assert [(t.shape, t.dtype, t.stride()) for t in (found, *grads)] == expected


def _params(kind):
    pool = kind.get("pool")
    return {**kind, "pool": ops.Pool(*pool)} if pool else kind


def test_export_has_the_block_in_it(fast):
    layer = Block(networks.Block(8, 3, pool=networks.Pool(), norm=networks.CrossMapNorm()), 4, "up").eval()
    torch.nn.init.normal_(layer.weight, generator=torch.Generator().manual_seed(0))
    x = _operands()[0].detach()
    with torch.no_grad():
        program = torch.export.export(layer, (x,))
        _assert_equal([program.module()(x)], [layer(x)])
    assert [str(node.target) for node in program.graph.nodes if "dcnn_fast" in str(node.target)] == ["dcnn_fast.block.default"]
