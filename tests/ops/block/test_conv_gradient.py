"""The gradient of the convolution in memory instead of built from hits: the same bits, from the PTX in the simulator."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from dcnn_fast import ops
from dcnn_fast.ops import CrossMapNorm, Pool
from dcnn_fast.ops.block.backend import Gradients, Needs, Operands, Saved
from dcnn_fast.ops.block.triton import backward_launch, conv_gradient
from dcnn_fast.ops.launch import launched_by
from dcnn_fast.ops.pool import reference as pools
from tests.ops import guarded
from tests.ops.block.problems import AVERAGE, CROSS, POOL, SAME, operands, preset_problems, problem, training_by
from tests.ops.on_cpu import kernels_on_cpu, triton_on_cpu  # noqa: F401 - a fixture

pytestmark = pytest.mark.gpu

HALF, BFLOAT, FLOAT = torch.float16, torch.bfloat16, torch.float32


def _in(params, dtype, precision="ieee", **options):
    options = replace(params.options, precision=precision, **options)
    return replace(params, dtype=dtype, out_dtype=dtype, weight_dtype=dtype, options=options)


SMALL = [
    problem(2, 5, 9, 8, 7, 3, padding=1, pool=POOL),
    problem(2, 3, 9, 8, 5, 3, padding=1, stride=2, rounding="down", pool=Pool(2, 1)),
    problem(1, 3, 10, 11, 5, 3, pool=Pool(4, 3), rounding="down"),
    problem(1, 3, 15, 14, 5, 4, stride=3, padding=2, pool=Pool(2, 2)),
    problem(1, 3, 11, 9, 5, 3, pool=POOL, norm=CrossMapNorm(4, 0.3, 0.5, 2.0)),
    problem(1, 3, 11, 9, 5, 3, pool=Pool(3, 1), norm=SAME),
    problem(1, 4, 12, 8, 6, 4, stride=3, padding=1, groups=2, pool=Pool(2, 1), norm=CROSS),
    problem(1, 6, 9, 14, 6, 2, stride=2, groups=3, pool=Pool(4, 3)),
]
CASES = [
    (_in(params, dtype, precision, ties=ties), capability)
    for params, (dtype, precision), ties, capability in (
        (SMALL[0], (HALF, "ieee"), "all", 80), (SMALL[0], (HALF, "ieee"), "first", 90),
        (SMALL[0], (FLOAT, "ieee"), "first", 80), (SMALL[1], (BFLOAT, "ieee"), "all", 80),
        (SMALL[2], (FLOAT, "bf16"), "all", 80), (SMALL[3], (FLOAT, "fp16"), "first", 90),
        (SMALL[4], (HALF, "ieee"), "all", 90), (SMALL[5], (FLOAT, "ieee"), "all", 80),
        (SMALL[6], (HALF, "ieee"), "all", 80), (SMALL[7], (BFLOAT, "ieee"), "first", 80),
    )
]  # fmt: skip
# one and several taps per tile; two tiles of filters, of channels, of pixels
WIDE = [
    (_in(problem(1, 64, 9, 9, 72, 3, padding=1, pool=POOL), HALF), 80),
    (_in(problem(1, 72, 5, 6, 40, 3, stride=2, padding=1, pool=Pool(2, 1)), BFLOAT), 80),
    (_in(problem(1, 32, 6, 5, 70, 2, pool=Pool(2, 1)), FLOAT, "bf16"), 80),
]
_HITS = [_in(params, HALF) for params in preset_problems(31) if params.kept.hits]
# the first problem of each filter size and number of groups
PRESETS = [(params, 80) for params in {(each.size, each.options.groups): each for each in reversed(_HITS)}.values()]


def _kept(params, grad_seed=5):
    """x, weight and bias, the values and hits of a training forward, and a gradient of the result."""
    x, weight, bias = operands(params)
    _, values, hits = training_by("reference", x, weight, bias, params)
    grad = torch.randn(params.out_shape, generator=torch.Generator().manual_seed(grad_seed)).to(params.out_dtype)
    return x, Operands(weight, bias), Saved(values, hits), grad


def _gradients(way, params, x, of, saved, grad, capability, monkeypatch):
    """The gradients in guarded outputs, computed through a guarded plane, and the kernels that ran, with their modes."""
    monkeypatch.setenv(conv_gradient.VARIABLE, way)
    buffers = []

    def output(shape, dtype):
        body, buffer = guarded.output(shape, dtype)
        buffers.append(buffer)
        return body

    monkeypatch.setattr(backward_launch, "_plane", lambda params, device, dtype: output(params.conv_shape, dtype))
    needed = (x if params.channels != 3 else None, of.weight, of.bias)
    wanted = [None if tensor is None else output(tensor.shape, tensor.dtype) for tensor in needed]
    with kernels_on_cpu(capability) as launches:
        backward_launch.run(params, of, guarded.poisoned(x), saved, guarded.poisoned(grad), Gradients(*wanted))
    guarded.assert_untouched(*buffers)
    return wanted, {(what.kernel.__name__, what.constants.get("MODE")) for what, _ in launches or ()}


@pytest.mark.parametrize(("params", "capability"), [*CASES, *WIDE, *PRESETS], ids=str)
def test_in_memory_and_from_hits_give_the_same_bits(params, capability, monkeypatch):
    kept = _kept(params)
    expected, ran = _gradients("hits", params, *kept, capability, monkeypatch)
    found, others = _gradients("memory", params, *kept, capability, monkeypatch)
    for mine, theirs in zip(found, expected, strict=True):
        assert mine is theirs is None or (mine.isfinite().all() and torch.equal(mine, theirs))
    if ran:  # a GPU collects no launches
        assert {mode for _, mode in ran} <= {"hits", None}
        assert {name for name, mode in others if mode == "hits"} == {"block_bwd_bias_kernel", "block_bwd_conv_gradient_kernel"}
        assert ("block_bwd_weight_kernel", "direct") in others


@pytest.mark.parametrize("ties", ["all", "first"])
@pytest.mark.parametrize(
    ("params", "dtype", "precision"),
    [(SMALL[0], HALF, "ieee"), (SMALL[7], FLOAT, "fp16"), (SMALL[2], FLOAT, "bf16"), (SMALL[1], FLOAT, "ieee")],
    ids=str,
)
def test_what_is_written_is_the_statements_gradient_as_an_operand(params, dtype, precision, ties):
    """Integers make sums over many ties exact in float32; a narrower operand rounds them."""
    params = _in(params, dtype, precision, ties=ties)
    generator = torch.Generator().manual_seed(2)
    hits = torch.randint(-(2**15), 2**15, params.out_shape, dtype=torch.int16, generator=generator)
    hits &= (1 << params.options.pool.size**2) - 1 if params.options.pool.size < 4 else -1
    bits = 11 if dtype == HALF else 14
    u = torch.randint(-(2**bits), 2**bits, params.out_shape, generator=generator).to(dtype)
    with kernels_on_cpu():
        found = backward_launch.in_memory(backward_launch.Gradient(_last(u), _last(hits), "hits"), params)
    pool = params.options.pool
    exact = pools.backward_of_hits(u.double(), hits, params.conv_shape, pool, params.options.rounding, ties).float()
    assert found.u.nbytes == conv_gradient.gradient_bytes(params)
    assert torch.equal(found.u.float(), exact.to(found.u.dtype).float())
    assert found.u.dtype == backward_launch.Products.of(params).dtype
    if precision in ("fp16", "bf16"):
        assert not torch.equal(found.u.float(), exact), "nothing is rounded: this test shows less"


def _last(tensor):
    return tensor.contiguous(memory_format=torch.channels_last)


def test_an_infinity_that_no_gradient_reaches_is_not_written(monkeypatch):
    monkeypatch.setenv(conv_gradient.VARIABLE, "memory")
    params = problem(1, 1, 6, 6, 1, 1, FLOAT, pool=Pool(2, 2))
    x = torch.arange(36.0).view(1, 1, 6, 6)
    weight, grad = torch.ones(1, 1, 1, 1), torch.full(params.out_shape, float("inf"))
    _, values, hits = training_by("reference", x, weight, None, params)
    grad_x, _ = guarded.output(x.shape)
    with kernels_on_cpu():
        backward_launch.run(params, Operands(weight), x, Saved(values, hits), grad, Gradients(grad_x, None, None))
    won = torch.zeros(6, 6, dtype=torch.bool)
    won[1::2, 1::2] = True
    assert grad_x[0, 0][won].isinf().all() and grad_x[0, 0][~won].eq(0).all()


NO_CHOICE = [
    problem(1, 3, 9, 8, 5, 3, FLOAT, padding=1, pool=AVERAGE, norm=CROSS),
    problem(1, 3, 9, 8, 5, 3, FLOAT, pool=POOL, norm=CROSS, order="conv-norm-pool"),
    problem(1, 3, 9, 8, 5, 3, FLOAT, pool=POOL, order="conv-pool-norm-relu"),
    problem(1, 3, 15, 14, 5, 4, FLOAT, pool=Pool(5, 4)),
    problem(1, 3, 7, 8, 4, 3, FLOAT),
    problem(1, 3, 7, 8, 4, 3, FLOAT, norm=CROSS),
]


def _launches(params):
    """The launches of the backward."""
    x, weight, bias = operands(params)
    values, hits = torch.zeros(params.out_shape), torch.zeros(params.out_shape, dtype=torch.int16)
    found = []
    with launched_by(found.append):
        backward_launch.gradients(params, Operands(weight, bias), x, Saved(values, hits), values, Needs())
    return [(what.kernel.__name__, what.grid, what.constants) for what in found]


@pytest.mark.parametrize("params", NO_CHOICE, ids=str)
def test_without_hits_there_is_no_choice(params, monkeypatch):
    monkeypatch.setenv(conv_gradient.VARIABLE, "memory")
    assert conv_gradient.choice(params, 80) is None
    found = _launches(params)
    monkeypatch.setenv(conv_gradient.VARIABLE, "hits")
    assert found == _launches(params)
    assert all(name != "block_bwd_conv_gradient_kernel" for name, *_ in found)


def test_an_images_gradient_does_not_depend_on_the_batch(monkeypatch):
    params = _in(replace(SMALL[0], images=3), HALF)
    x, of, saved, grad = _kept(params)
    (whole, *_), _ = _gradients("memory", params, x, of, saved, grad, 80, monkeypatch)
    alone = replace(params, images=1)
    one = Saved(saved.values, _last(saved.hits[2:]))
    (mine, *_), _ = _gradients("memory", alone, x[2:], of, one, grad[2:], 80, monkeypatch)
    assert torch.equal(mine[0], whole[2])


def test_the_choice_says_what_it_takes_and_why(monkeypatch):
    monkeypatch.delenv(conv_gradient.VARIABLE, raising=False)
    params = _in(SMALL[0], HALF)
    positions = 2 * 9 * 8
    assert conv_gradient.gradient_bytes(params) == positions * 7 * 2
    assert conv_gradient.gradient_bytes(_in(SMALL[0], FLOAT)) == positions * 7 * 4
    assert conv_gradient.gradient_bytes(_in(SMALL[0], FLOAT, "bf16")) == positions * 7 * 2
    assert str(conv_gradient.choice(params, 80)) == (
        "the gradient of the convolution in memory, 2016 bytes: nothing is predicted, and the filter has 9 taps"
    )
    one_tap = _in(problem(2, 5, 9, 8, 7, 1, pool=POOL), HALF)
    assert conv_gradient.choice(one_tap, 80).way == "hits"
    large = replace(params, images=10**6)
    found = conv_gradient.choice(large, 80)
    assert (found.way, found.bytes) == ("hits", 0)
    assert found.why == f"in memory it would take {500_000 * 2016} bytes, more than {conv_gradient.MOST_BYTES}"
    monkeypatch.setenv(conv_gradient.VARIABLE, "memory")
    assert (conv_gradient.choice(large, 80).way, conv_gradient.choice(large, 80).bytes) == ("memory", 500_000 * 2016)
    monkeypatch.setenv(conv_gradient.VARIABLE, "hits")
    assert conv_gradient.choice(params, 80) == conv_gradient.Choice("hits", 0, "DCNN_FAST_CONV_GRADIENT asks for it")


def test_in_tf32_there_is_none_in_memory_and_it_is_named(monkeypatch):
    params = _in(SMALL[0], FLOAT, "tf32")
    found = conv_gradient.choice(params, 80)
    assert (found.way, found.why) == ("hits", "in tf32 sums from memory would have another order, and so other bits")
    assert conv_gradient.choice(_in(SMALL[0], HALF, "tf32"), 80).way == "memory", "16 bits are multiplied as they are"
    monkeypatch.setenv(conv_gradient.VARIABLE, "memory")
    with pytest.raises(ValueError, match="^DCNN_FAST_CONV_GRADIENT=memory cannot run .*: in tf32 sums from memory"):
        conv_gradient.choice(params, 80)


@pytest.mark.usefixtures("triton_on_cpu")
def test_a_training_step_has_the_same_bits_either_way_and_a_word_that_is_neither_is_refused(monkeypatch):
    params = _in(SMALL[4], HALF)
    found = []
    for word in ("hits", "memory"):
        monkeypatch.setenv(conv_gradient.VARIABLE, word)
        x, weight, bias = (tensor.requires_grad_() for tensor in operands(params))
        result = ops.block(x, weight, bias, pool=POOL, norm=params.options.norm)
        result.square().sum().backward(retain_graph=True)
        found.append([tensor.grad for tensor in (x, weight, bias)])
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(*found, strict=True))
    monkeypatch.setenv(conv_gradient.VARIABLE, "registers")
    with pytest.raises(ValueError, match="DCNN_FAST_CONV_GRADIENT must be one of auto, hits, memory; got 'registers'"):
        result.sum().backward()
