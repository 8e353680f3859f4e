"""The Triton backward of the block, compiled and run in the PTX simulator, against the reference in fp64.

With TRITON_INTERPRET=1 and `-k "not matrix_units"` it runs in Triton's interpreter, without bfloat16, which is wrong there.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache

import pytest
import torch

from dcnn_fast.ops import CrossMapNorm, Pool, SameMapNorm
from dcnn_fast.ops.block import reference
from dcnn_fast.ops.block.backend import Gradients, Operands, Saved
from dcnn_fast.ops.block.triton import backward_launch as triton_backward
from dcnn_fast.ops.gpus import LEAST_SHARED
from dcnn_fast.ops.launch import launched_by
from dcnn_fast.ops.norm import reference as norms
from dcnn_fast.ops.pool import reference as pools
from devtools import aot, sass
from tests.ops import guarded
from tests.ops.block.problems import (
    AVERAGE,
    CROSS,
    POOL,
    SAME,
    changed,
    errors_of,
    grad_of,
    gradients_by,
    operands,
    preset_problems,
    problem,
    require_gradients,
    tied_operands,
    training_by,
    typed,
)  # fmt: skip
from tests.ops.on_cpu import INTERPRETED, kernels_on_cpu

pytestmark = pytest.mark.gpu

LAST = torch.channels_last
SAME4 = SameMapNorm(4, 0.3)


def _small(params):
    """A preset's block with an eighth of its channels and filters, at least 8, on a plane of a few windows."""
    options = params.options
    channels, filters = (count if count < 8 else max(8, count // 8) for count in (params.channels, params.filters))
    extent = params.size + options.stride * (options.pool.size if options.pool else 2)
    return replace(params, channels=channels, filters=filters, height=extent, width=extent + options.stride)


PRESETS = list({str(small): small for small in map(_small, preset_problems())}.values())
VARIETY = [
    problem(1, 1, 1, 1, 1, 1, torch.float32),
    problem(1, 3, 7, 12, 7, 5, torch.float32, stride=2, padding=2, norm=CROSS),
    problem(1, 3, 9, 14, 7, 5, torch.float32, stride=2, padding=2, rounding="down", norm=SAME4),
    problem(2, 3, 8, 9, 7, 3, torch.float32, padding=1, pool=Pool(2, 2), rounding="down"),
    problem(2, 3, 9, 8, 5, 3, torch.float32, padding=1, pool=POOL, norm=CROSS, order="conv-norm-pool"),
    problem(1, 3, 9, 8, 5, 3, torch.float32, padding=1, pool=POOL, norm=SAME, order="conv-norm-pool", ties="first"),
    problem(1, 3, 11, 9, 5, 3, torch.float32, pool=POOL, norm=CrossMapNorm(4, 0.3, 0.5, 2.0)),
    problem(1, 3, 11, 9, 5, 3, torch.float32, pool=Pool(3, 1), norm=SameMapNorm(1000, 0.3)),
    problem(1, 3, 15, 14, 5, 4, torch.float32, stride=3, padding=2, pool=Pool(5, 4), rounding="down"),
    problem(1, 3, 15, 14, 5, 4, torch.float32, stride=3, padding=2, pool=Pool(5, 4), norm=CROSS, ties="first"),
    problem(1, 3, 15, 14, 5, 4, torch.float32, stride=2, padding=2, pool=Pool(5, 3), norm=SAME4, order="conv-norm-pool"),
    problem(1, 4, 12, 8, 6, 4, torch.float32, stride=3, padding=1, groups=2, pool=Pool(2, 1), norm=CrossMapNorm(4, 0.3)),
    problem(1, 6, 9, 14, 6, 2, torch.float32, stride=2, groups=3, pool=Pool(4, 3), norm=SAME4, rounding="down"),
    problem(1, 2, 13, 7, 3, 3, torch.float32, stride=3, padding=1, pool=Pool(2, 2), norm=CrossMapNorm(9, 0.3)),
    problem(1, 3, 19, 23, 4, 11, torch.float32, stride=4, pool=POOL),
    problem(1, 64, 5, 6, 18, 3, torch.float32, padding=1, groups=2),  # one tap per tile, two tiles of a group's filters
    problem(1, 32, 5, 4, 70, 2, torch.float32, pool=Pool(2, 1)),
    problem(1, 72, 4, 5, 6, 3, torch.float32, stride=2, padding=1),  # two channel tiles in each of four phases
    problem(1, 32, 4, 4, 20, 3, torch.float32, padding=1, pool=POOL, norm=CROSS, order="conv-norm-pool"),
    problem(1, 3, 7, 6, 40, 3, torch.float32, pool=POOL, norm=CrossMapNorm(18, 0.3)),  # a window summed in a loop
    problem(1, 3, 6, 6, 37, 3, torch.float32, pool=POOL, norm=CrossMapNorm(64, 0.3), order="conv-norm-pool"),
]
# the ReLU alone, a norm alone, hits with and without a norm, recomputed, groups
SOME = [VARIETY[i] for i in (2, 3, 5, 9, 11, 15)]


def _kept(x, weight, bias, params):
    """The reference's values and hits of a training forward, in the dtypes of `params`."""
    result, values, hits = training_by("reference", x, weight, bias, params)
    if params.kept.result:
        values = result
    return values, hits


def _gradients(grad, x, weight, bias, params, needs=(True, True, True), kept=None):
    """The gradients in guarded outputs, None where not needed."""
    values, hits = kept or _kept(x, weight, bias, params)
    made = [
        guarded.output(tensor.shape, tensor.dtype) if tensor is not None and need else (None, None)
        for tensor, need in zip((x, weight, bias), needs, strict=True)
    ]
    wanted = tuple(tensor for tensor, _ in made)
    with kernels_on_cpu():
        triton_backward.run(params, Operands(weight, bias), x, Saved(values, hits), grad, Gradients(*wanted))
    guarded.assert_untouched(*(buffer for _, buffer in made if buffer is not None))
    return wanted


def _stated(grad, x, weight, bias, params):
    """The reference's gradients in float64, from values and hits kept in float64."""
    wide = typed(params, torch.float64)
    x, weight, bias = (None if t is None else t.double() for t in (x, weight, bias))
    return gradients_by("reference", grad.double(), x, weight, bias, *_kept(x, weight, bias, wide), wide, (True, True, True))


@cache
def _case(params):
    x, weight, bias = operands(params)
    grad = grad_of(params)
    return grad, x, weight, bias, _stated(grad, x, weight, bias, params)


@pytest.mark.parametrize("params", [*VARIETY, *PRESETS], ids=str)
def test_gradients_are_the_references(params):
    grad, x, weight, bias, expected = _case(params)
    found = _gradients(guarded.poisoned(grad), guarded.poisoned(x), weight, bias, params)
    require_gradients(found, expected, params.gradient_tolerances())


def _plainly(grad, x, weight, bias, params, dot):
    """The gradients by plain torch, with operands of products rounded to `dot` and sums in float32."""
    options = params.options
    values, hits = _kept(x, weight, bias, params)
    g = grad.float()
    if params.kept.again:
        relu = reference._conv_relu(x, Operands(weight, bias), params)
        g = reference._tail_backward(g, relu, options) * (relu > 0)
    else:
        if options.norm is not None:
            g = norms.backward(g, values, options.norm).to(params.weight_dtype).float()
        if options.pool is not None:
            g = pools.backward_of_hits(g, hits, params.conv_shape, options.pool, options.rounding, options.ties)
        else:
            g = g * (values > 0)
    bare = changed(params, pool=None, norm=None, order="conv-pool-norm")
    rounded = [tensor.to(dot).float() for tensor in (g, x, weight)]
    open_ = torch.ones_like(g)
    wide = replace(typed(bare, torch.float32), options=replace(bare.options, precision="ieee"))
    grads = gradients_by("reference", rounded[0], *rounded[1:], bias.float(), open_, None, wide, (True, True, False))
    return grads[0].to(params.dtype), grads[1].to(params.weight_dtype), g.sum((0, 2, 3)).to(params.weight_dtype)


LOW = [
    (VARIETY[i], dtype, precision)
    for i, dtype, precision in (
        (3, torch.float16, "ieee"), (6, torch.float16, "ieee"), (2, torch.float16, "ieee"), (11, torch.float16, "ieee"),
        (15, torch.float16, "ieee"), (5, torch.float16, "ieee"), (18, torch.float16, "ieee"), (14, torch.float16, "ieee"),
        (3, torch.bfloat16, "ieee"), (6, torch.bfloat16, "ieee"), (15, torch.bfloat16, "ieee"), (4, torch.bfloat16, "ieee"),
        (6, torch.float32, "bf16"), (16, torch.float32, "bf16"), (6, torch.float32, "fp16"), (4, torch.float32, "fp16"),
        (3, torch.float32, "tf32"), (6, torch.float32, "tf32"), (15, torch.float32, "tf32"),
    )
    if not (INTERPRETED and (dtype == torch.bfloat16 or precision == "bf16"))
]  # fmt: skip


@pytest.mark.parametrize(("params", "dtype", "precision"), LOW, ids=str)
def test_low_precision_errs_at_most_twice_as_much_as_plain_torch(params, dtype, precision):
    params = changed(typed(params, dtype), precision=precision)
    x, weight, bias = operands(params)
    grad = grad_of(params)
    # float16 has the bits of tf32
    dot = dtype if dtype != torch.float32 else {"bf16": torch.bfloat16}.get(precision, torch.float16)
    expected = _stated(grad, x, weight, bias, params)
    allowed = errors_of(_plainly(grad, x, weight, bias, params, dot), expected)
    found = _gradients(grad, x, weight, bias, params)
    floor = typed(params, torch.float32).gradient_tolerances()
    tolerances = [2 * error + least for error, least in zip(allowed, floor, strict=True)]
    require_gradients(found, expected, tolerances)


TIED = [
    problem(2, channels, 9, 8, filters, 3, dtype, padding=1, stride=stride, rounding=rounding, pool=pool)
    for channels, filters, stride, rounding, pool, dtype in (
        (2, 5, 1, "up", Pool(3, 2), torch.float32), (3, 7, 2, "down", Pool(2, 1), torch.float32),
        (2, 5, 1, "down", Pool(4, 3), torch.float16), (2, 5, 1, "up", Pool(5, 3), torch.float16),
        (2, 5, 1, "up", Pool(5, 5), torch.float32),
    )
]  # fmt: skip


@pytest.mark.parametrize("ties", ["all", "first"])
@pytest.mark.parametrize("params", TIED, ids=str)
def test_ties_are_the_references_bit_for_bit(params, ties):
    params = changed(params, ties=ties)
    x, weight, bias = tied_operands(params, 1)
    grad = torch.randint(-3, 4, params.out_shape, generator=torch.Generator().manual_seed(1)).to(params.out_dtype)
    expected = _stated(grad, x, weight, bias, params)
    other = _stated(grad, x, weight, bias, changed(params, ties="first" if ties == "all" else "all"))
    assert (expected[0] - other[0]).abs().max() > 0.5, "no ties: this test shows nothing"
    for mine, theirs in zip(_gradients(grad, x, weight, bias, params), expected, strict=True):
        assert torch.equal(mine.double(), theirs)


@pytest.mark.parametrize("ties", ["all", "first"])
@pytest.mark.parametrize("norm", [CROSS, SAME], ids=str)
def test_ties_beside_a_norm(norm, ties):
    """The image repeats one row: values in a column are equal, before and after a norm."""
    params = problem(1, 3, 12, 9, 5, 3, torch.float32, pool=POOL, norm=norm, order="conv-norm-pool", ties=ties)
    x, weight, bias = tied_operands(params, 1)
    x = x[:, :, :1].expand_as(x) + 0.0
    grad = grad_of(params)
    expected = _stated(grad, x, weight, bias, params)
    require_gradients(_gradients(grad, x, weight, bias, params), expected, params.gradient_tolerances())
    other = _stated(grad, x, weight, bias, changed(params, ties="first" if ties == "all" else "all"))
    assert (expected[0] - other[0]).abs().max() > 0.01, "no ties: this test shows nothing"


@pytest.mark.parametrize("params", [SOME[i] for i in (1, 2, 4)], ids=str)
def test_the_same_bits_twice_and_in_any_batch(params):
    params = replace(params, images=3)
    x, weight, bias = operands(params)
    grad = grad_of(params)
    one = _gradients(grad, x, weight, bias, params)
    for mine, again in zip(one, _gradients(grad, x, weight, bias, params), strict=True):
        assert torch.equal(mine, again)
    (alone, _, _) = _gradients(grad[2:], x[2:], weight, bias, replace(params, images=1), (True, False, False))
    assert torch.equal(alone[0], one[0][2])


@pytest.mark.parametrize("params", [VARIETY[i] for i in (4, 10)], ids=str)
def test_chunks_of_images_change_the_rounding_of_sums_only(params, monkeypatch):
    params = replace(params, images=3)
    x, weight, bias = operands(params)
    grad = grad_of(params)
    whole = _gradients(grad, x, weight, bias, params)
    monkeypatch.setattr(triton_backward, "_images_of_chunk", lambda params: 2)
    parts = _gradients(grad, x, weight, bias, params)
    assert torch.equal(parts[0], whole[0])
    require_gradients(parts, _stated(grad, x, weight, bias, params), params.gradient_tolerances())


@pytest.mark.parametrize("params", [SOME[i] for i in (1, 2)], ids=str)
def test_sums_in_many_slices(params, monkeypatch):
    """Slices have the fewest positions possible, 16 or 32."""
    monkeypatch.setattr(triton_backward, "_PROGRAMS", 1 << 20)
    grad, x, weight, bias, expected = _case(params)
    require_gradients(_gradients(grad, x, weight, bias, params), expected, params.gradient_tolerances())
    monkeypatch.setattr(triton_backward, "_PARTIAL_BYTES", 1)  # and the most
    require_gradients(_gradients(grad, x, weight, bias, params), expected, params.gradient_tolerances())


@pytest.mark.parametrize("params", [SOME[i] for i in (0, 1, 2)], ids=str)
def test_only_what_is_needed_is_computed_and_it_is_the_same(params):
    grad, x, weight, bias, _ = _case(params)
    everything = _gradients(grad, x, weight, bias, params)
    for needs in ((True, False, False), (False, True, False), (False, False, True)):
        for need, mine, whole in zip(needs, _gradients(grad, x, weight, bias, params, needs), everything, strict=True):
            assert (mine is not None) == need
            assert mine is None or torch.equal(mine, whole)


def test_any_layout_of_x_and_of_the_gradient():
    params = problem(2, 3, 8, 9, 5, 3, torch.float32, stride=2, padding=1, pool=POOL, norm=CROSS)
    x, weight, bias = operands(params)
    grad = torch.ones(1).expand(params.out_shape)
    expected = _gradients(grad.clone(), x.contiguous(memory_format=LAST), weight.contiguous(memory_format=LAST), bias, params)
    for variant in (x.contiguous(), x.transpose(2, 3).contiguous().transpose(2, 3)):
        for mine, theirs in zip(_gradients(grad, variant, weight.contiguous(), bias, params), expected, strict=True):
            assert torch.equal(mine, theirs)


def test_what_backward_returns_has_the_operands_dtypes_and_layout():
    params = typed(problem(1, 3, 8, 9, 5, 3, torch.float16, padding=1, pool=POOL), torch.float16)
    x, weight, bias = operands(params)
    values, hits = _kept(x, weight, bias, params)
    with kernels_on_cpu():
        grads = gradients_by("triton", grad_of(params), x, weight, bias, values, hits, params, (True, True, True))
        nothing = gradients_by("triton", grad_of(params), x, weight, None, values, hits, params, (False, False, True))
    assert nothing == (None, None, None)
    for mine, operand in zip(grads, (x, weight, bias), strict=True):
        assert mine.shape == operand.shape and mine.dtype == operand.dtype
    assert all(grad.is_contiguous(memory_format=LAST) for grad in grads[:2])


@pytest.mark.parametrize("order", ["conv-pool-norm", "conv-norm-pool"])
def test_an_image_of_bytes_without_a_bias(order):
    params = problem(1, 3, 9, 8, 5, 3, torch.float32, stride=2, pool=POOL, norm=CROSS, order=order)
    _, weight, _ = operands(params)
    pixels = torch.randint(0, 256, (1, 3, 9, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    found = _gradients(grad_of(params), pixels, weight, None, params, (False, True, False), _kept(pixels, weight, None, params))
    expected = _stated(grad_of(params), pixels, weight, None, params)
    error = errors_of(found[1:2], expected[1:2])[0]
    assert error <= params.gradient_tolerances()[1]


@pytest.mark.parametrize("order", ["conv-pool-norm", "conv-norm-pool"])
def test_a_batch_of_nothing_has_gradients_of_zero(order):
    params = problem(0, 3, 9, 9, 4, 3, torch.float32, pool=POOL, norm=CROSS, order=order)
    x, weight, bias = operands(params)
    kept = (torch.empty(params.out_shape), torch.empty(params.out_shape, dtype=torch.int16))
    _, grad_weight, grad_bias = _gradients(grad_of(params), x, weight, bias, params, kept=kept)
    assert not grad_weight.any()
    assert not grad_bias.any()


@pytest.mark.parametrize("pool", [Pool(2, 2), Pool(5, 5)])
def test_an_infinity_that_no_gradient_reaches_leaves_no_trace(pool):
    """An output that is not its window's maximum has gradient zero, even where the result's gradient is infinite."""
    side = 3 * pool.size
    params = problem(1, 1, side, side, 1, 1, torch.float32, pool=pool)
    x = torch.arange(float(side**2)).view(1, 1, side, side)
    weight, grad = torch.ones(1, 1, 1, 1), torch.full(params.out_shape, float("inf"))
    grad_x, _, _ = _gradients(grad, x, weight, None, params, (True, False, False))
    won = torch.zeros(side, side, dtype=torch.bool)
    won[pool.size - 1 :: pool.size, pool.size - 1 :: pool.size] = True
    assert grad_x[0, 0][won].isinf().all()
    assert grad_x[0, 0][~won].eq(0).all()


def test_a_precision_that_it_has_not_is_named():
    params = problem(1, 3, 9, 9, 4, 3, torch.float32, precision="bf16x3")
    with pytest.raises(ValueError, match="the Triton backward has no bf16x3 for torch.float32"):
        triton_backward.Products.of(params)
    half = changed(typed(params, torch.float16), precision="bf16")
    with pytest.raises(ValueError, match="the Triton backward has no bf16 for torch.float16"):
        triton_backward.Products.of(half)
    assert triton_backward.Products.of(changed(half, precision="tf32")) == triton_backward.Products(torch.float16, "ieee")
    with pytest.raises(ValueError, match="weights must be float32, float16 or bfloat16, got torch.float64"):
        triton_backward.Products.of(typed(params, torch.float64))


def test_what_32_bits_do_not_count_is_named():
    params = replace(problem(1, 3, 9, 9, 4, 3, torch.float32), images=30_000_000)
    assert triton_backward.refused(replace(params, images=1)) is None
    assert triton_backward.refused(params) == (
        "the Triton backward takes at most 1073741824 outputs of the convolution for each filter, not 1470000000"
    )


def _launches(params):
    """The launches of the backward."""

    def empty(shape, dtype=params.weight_dtype):
        return torch.empty(shape, dtype=dtype).contiguous(memory_format=LAST)

    weight = empty((params.filters, params.channels // params.options.groups, params.size, params.size))
    x = empty((params.images, params.channels, params.height, params.width), params.dtype)
    values = empty(params.out_shape, params.out_dtype if params.kept.result else torch.float32)
    hits = empty(params.out_shape, torch.int16)
    found = []
    with launched_by(found.append):
        bias = torch.empty(params.filters, dtype=weight.dtype)
        gradients_by("triton", empty(params.out_shape), x, weight, bias, values, hits, params)
    return found


WHOLE = [
    (80, problem(2, 3, 224, 224, 96, 11, torch.float16, stride=4, pool=POOL, norm=CROSS)),
    (100, problem(2, 96, 27, 27, 256, 5, torch.float16, padding=2, groups=2, pool=POOL, norm=CROSS)),
    (90, problem(2, 256, 13, 13, 384, 3, torch.float16, padding=1)),
    (120, problem(2, 64, 55, 55, 64, 5, torch.float32, pool=POOL, norm=CROSS, order="conv-norm-pool", precision="tf32")),
    (90, problem(2, 64, 27, 27, 64, 3, torch.float16, pool=AVERAGE, norm=CROSS, order="conv-norm-pool-relu")),
    (86, problem(2, 64, 27, 27, 128, 3, torch.bfloat16, pool=Pool(4, 1), norm=CROSS)),  # sixteen windows for each output
]


@pytest.mark.parametrize(("capability", "params"), WHOLE, ids=str)
def test_products_are_those_of_matrix_units_in_shared_memory_and_nothing_spills(capability, params):
    for launch in _launches(typed(params, params.dtype)):
        code = aot.compiled(launch, capability)
        if "OPERAND" in launch.constants:
            assert re.search(r"mma\.sync|wgmma\.mma_async|tcgen05\.mma", code.ptx), code.kernel
        assert code.shared <= LEAST_SHARED, code.kernel
        assert sass.read(code.cubin).stack == 0, code.kernel
