"""ops.mbconv on the C++ engine: the reference's values with every instruction set, and bits that belong to the result."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from dcnn_fast import engine, ops
from dcnn_fast.ops.mbconv import BACKENDS, MbConvParams, MbConvWeights, cpu, reference
from tests.ops.mbconv.problems import PROBLEMS, WIDE, assert_reaches_what_sees_it_alone, weights_of

pytestmark = pytest.mark.needs_engine

ISAS = [*engine.isas(), *engine.emulated_isas()]
LARGE = [
    MbConvParams(1, 7, 120, 90, 42, 5, 3),  # several strips, each with a rest
    MbConvParams(1, 6, 121, 77, 36, 10, 5, stride=2),
    MbConvParams(2, 49, 64, 70, 49, 20, 3, expands=False),  # several panels
    MbConvParams(1, 3, 30, 40, 51, 4, 7, stride=3),  # of no size that kernels are written for
    MbConvParams(1, 40, 41, 39, 240, 40, 5, residual=True),
]


def _x(params, seed=1):
    generator = torch.Generator().manual_seed(seed)
    x = 2 * torch.randn(params.images, params.channels, params.height, params.width, generator=generator)
    return x.contiguous(memory_format=torch.channels_last)


def _run(isa, params, x, weights, threads=1):
    """The block, with memory around the result that must stay as it was."""
    shape = (len(x), params.out_height, params.out_width, params.filters)
    buffer = torch.full((shape[0] * shape[1] * shape[2] * shape[3] + 128,), torch.nan)
    result = buffer[64:-64].view(shape).permute(0, 3, 1, 2)
    packed = cpu.packed(isa, params, weights)
    engine.native.mbconv(packed, x=engine.array_of(x), out=engine.array_of(result), threads=threads)
    assert buffer[:64].isnan().all() and buffer[-64:].isnan().all()
    return result.clone(memory_format=torch.preserve_format)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("precision", ["ieee", "bf16"])
@pytest.mark.parametrize("params", [*PROBLEMS, *WIDE, *LARGE], ids=str)
def test_values_are_the_references(params, precision, isa):
    params = replace(params, precision=precision)
    x, weights = _x(params), weights_of(params)
    expected = reference.forward(params, x, weights)
    found = _run(isa, params, x, weights)
    assert (found - expected).abs().max() <= params.tolerance() * expected.abs().max()


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("precision", ["ieee", "bf16"])
@pytest.mark.parametrize("params", [*PROBLEMS[:3], *WIDE, *LARGE], ids=str)
def test_bits_depend_on_neither_batch_nor_place_nor_threads(params, precision, isa):
    params = replace(params, images=3, precision=precision)
    x, weights = _x(params), weights_of(params)
    together = _run(isa, params, x, weights)
    for threads in (2, 7):
        assert torch.equal(_run(isa, params, x, weights, threads), together)
    turned = _run(isa, params, x.flip(0).contiguous(memory_format=torch.channels_last), weights, 2)
    assert torch.equal(turned.flip(0), together)
    for i in range(3):
        for threads in (1, 3):
            alone = _run(isa, params, x[i : i + 1].contiguous(memory_format=torch.channels_last), weights, threads)
            assert torch.equal(alone[0], together[i])


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("precision", ["ieee", "bf16"])
@pytest.mark.parametrize(("channels", "expanded"), [(5, 21), (18, 34), (31, 63)])
def test_what_is_no_number_reaches_what_sees_it_and_nothing_else(channels, expanded, isa, precision):
    params = MbConvParams(1, channels, 12, 11, expanded, 3, 3, precision=precision)
    x, weights = _x(params), weights_of(params)
    clean = _run(isa, params, x, weights)
    # NaNs that a rounding without care would make an infinity and minus zero of.
    nans = torch.tensor([0x7F800001, 0x7FFFFFFF], dtype=torch.int32).view(torch.float32)
    for value in (torch.nan, torch.inf, -torch.inf, *nans):
        spoilt = x.clone()
        spoilt[0, 2, 6, 4] = value
        expected = reference.forward(params, spoilt, weights)
        found = _run(isa, params, spoilt, weights)
        assert_reaches_what_sees_it_alone(params, found, expected, clean)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("params", [PROBLEMS[2], *WIDE], ids=str)
def test_what_lay_in_memory_before_decides_nothing(params, isa):
    params = replace(params, precision="bf16")
    x, weights = _x(params), weights_of(params)
    before = _run(isa, params, x, weights)
    other = replace(LARGE[2], precision="ieee")
    assert _run(isa, other, torch.full_like(_x(other), torch.nan), weights_of(other)).isnan().all()
    assert torch.equal(_run(isa, params, x, weights), before)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("expands", [True, False])
@pytest.mark.parametrize("channels", [5, 16, 37])
def test_operands_are_rounded_to_the_nearest_bfloat16(channels, expands, isa):
    """Each layer hands on what it gets: the result is the input, rounded once and clipped."""
    params = MbConvParams(1, channels, 9, 8, channels, channels, 1, expands=expands, precision="bf16")
    generator = torch.Generator().manual_seed(3)
    drawn = 7 * torch.rand(1, 9, 8, channels, generator=generator)
    drawn[:, ::2] = ((drawn[:, ::2].view(torch.int32) & -65536) | 0x8000).view(torch.float32)  # in the middle: to the even one
    x = drawn.permute(0, 3, 1, 2)
    same, zeros = torch.eye(channels), torch.zeros(channels)
    weights = MbConvWeights((same, zeros) if expands else None, (torch.ones(channels, 1, 1), zeros), (same, zeros))
    assert torch.equal(_run(isa, params, x, weights), x.bfloat16().float().clamp(0, 6))


@pytest.mark.needs_emulated_tiles
@pytest.mark.parametrize("isa", engine.emulated_isas())
def test_tiles_are_for_16_inputs_and_more(isa):
    few = MbConvParams(1, 15, 6, 5, 90, 15, 3, residual=True, precision="bf16")
    narrow = MbConvParams(1, 90, 6, 5, 15, 90, 3, residual=True, precision="bf16")
    for params in (few, narrow, *(replace(params, precision="bf16") for params in PROBLEMS)):
        x, weights = _x(params), weights_of(params)
        assert torch.equal(_run(isa, params, x, weights), _run("avx512", params, x, weights))
    for params in WIDE:
        x, weights = _x(params), weights_of(params)
        assert torch.equal(_run(isa, params, x, weights), _run("avx512", params, x, weights))
        params = replace(params, precision="bf16")
        assert not torch.equal(_run(isa, params, x, weights), _run("avx512", params, x, weights))


@pytest.mark.parametrize("precision", ["ieee", "bf16"])
def test_the_operation_is_the_engines(precision, monkeypatch):
    params = replace(PROBLEMS[2], precision=precision)
    x, weights = _x(params).contiguous(), weights_of(params)
    found = ops.mbconv(x, weights, stride=params.stride, residual=params.residual, precision=precision)
    assert found.is_contiguous(memory_format=torch.channels_last)
    expected = _run(engine.isa(), params, x.contiguous(memory_format=torch.channels_last), weights)
    assert torch.equal(found, expected)
    monkeypatch.setenv("DCNN_FAST_BACKEND", "reference")
    plain = ops.mbconv(x, weights, stride=params.stride, residual=params.residual, precision=precision)
    assert torch.equal(plain, reference.forward(params, x, weights))


def test_what_is_prepared_keeps_its_weights():
    params = PROBLEMS[1]
    x, weights = _x(params), weights_of(params)
    prepared = BACKENDS["cpu"].prepare(params, weights)
    before = prepared.run(x)
    for tensor in (*weights.depthwise, *weights.project):
        tensor.zero_()
    assert torch.equal(prepared.run(x), before)
    wider = _x(replace(params, height=17, width=20))
    assert prepared.run(wider).shape == (1, params.filters, 9, 10)


def test_no_images_give_no_results():
    params = replace(PROBLEMS[0], images=0)
    found = ops.mbconv(_x(params), weights_of(params))
    assert found.shape == (0, params.filters, params.height, params.width)


def _arrays(params):
    weights = weights_of(params)
    layers = {name: getattr(weights, name) for name in ("expand", "depthwise", "project")}
    return {name: None if of is None else tuple(map(engine.array_of, of)) for name, of in layers.items()}


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"stride": 4}, "stride must be 1 to 3, got 4"),
        ({"stride": 0}, "stride must be 1 to 3, got 0"),
        ({"size": 5}, r"depthwise weight must be \[18, 5, 5\]"),
        ({"channels": -1}, "expand weight must be"),
        ({"residual": True}, "with a residual, stride must be 1"),
        ({"expand": None}, "where nothing is expanded, expanded must be channels"),
        ({"expanded": 2**62}, "expand weight must be"),
    ],
)
def test_the_engine_refuses_by_name_what_is_no_block(changes, rule):
    params = PROBLEMS[1]
    fields = {name: getattr(params, name) for name in ("channels", "expanded", "filters", "size", "stride", "residual")}
    given = fields | _arrays(params) | {"bf16": False} | changes
    with pytest.raises(ValueError, match=rule):
        engine.native.PackedMbConv(engine.isa(), **given)


def test_the_engine_refuses_by_name_what_does_not_fit_the_block():
    params = PROBLEMS[1]
    packed = cpu.packed(engine.isa(), params, weights_of(params))
    x, out = engine.array_of(_x(params)), engine.array_of(torch.zeros(1, 4, 4, 5).permute(0, 3, 1, 2))
    run = engine.native.mbconv
    with pytest.raises(ValueError, match=r"x must be \[1, 3, 8, 8\]"):
        run(packed, x=x[:, :2], out=out, threads=1)
    with pytest.raises(ValueError, match="x must be in channels_last memory"):
        run(packed, x=x[..., ::-1], out=out, threads=1)
    with pytest.raises(ValueError, match=r"out must be \[1, 5, 4, 4\]"):
        run(packed, x=x, out=out[:, :4], threads=1)
    with pytest.raises(ValueError, match="x must be aligned values of float32"):
        run(packed, x=x.astype("float64"), out=out, threads=1)
    with pytest.raises(ValueError, match="height must be 1 to"):
        run(packed, x=x[:, :, :0], out=out[:, :, :0], threads=1)
    out.flags.writeable = False
    with pytest.raises(ValueError, match="out must be writeable"):
        run(packed, x=x, out=out, threads=1)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"stride": 6}, "stride must be 1 to the filters' size 5"),
        ({"precision": "fp16"}, "precision must be ieee or bf16"),
        ({"precision": "fp8"}, "precision must be ieee or bf16"),
        ({"residual": True, "stride": 2}, "residual needs stride 1"),
    ],
)
def test_options_are_refused_by_name(changes, rule):
    params = PROBLEMS[2]
    with pytest.raises(ValueError, match=rule):
        ops.mbconv(_x(params), weights_of(params), **changes)


def test_operands_are_refused_by_name():
    params = PROBLEMS[2]
    x, weights = _x(params), weights_of(params)
    with pytest.raises(ValueError, match=r"x must have shape \[N, channels, height, width\]"):
        ops.mbconv(x[0], weights)
    with pytest.raises(ValueError, match=r"weights.expand must have shape \[30, 4\]"):
        ops.mbconv(x[:, :4], weights)
    with pytest.raises(ValueError, match="weights.project's bias must have shape"):
        ops.mbconv(x, replace(weights, project=(weights.project[0], weights.project[1][1:])))
    with pytest.raises(TypeError, match="weights.depthwise must have x's dtype"):
        ops.mbconv(x, replace(weights, depthwise=(weights.depthwise[0].double(), weights.depthwise[1])))
    with pytest.raises(ValueError, match="where nothing is expanded"):
        ops.mbconv(x, MbConvWeights(None, weights.depthwise, weights.project))
    with pytest.raises(RuntimeError, match="mbconv has no backward"):
        ops.mbconv(x.requires_grad_(), weights)
    with pytest.raises(TypeError, match="x must be a torch.Tensor"):
        ops.mbconv(None, weights)


def _operator_arguments(params):
    weights = weights_of(params)
    expand = (None, None) if weights.expand is None else weights.expand
    return (*expand, *weights.depthwise, *weights.project, params.stride, params.residual, params.precision)


@pytest.mark.parametrize("params", PROBLEMS[:2], ids=str)
def test_opcheck(params):
    torch.library.opcheck(torch.ops.dcnn_fast.mbconv, (_x(params), *_operator_arguments(params)))


def test_vmap_gives_each_sample_its_own_result():
    params = PROBLEMS[2]
    weights = weights_of(params)
    samples = torch.stack([_x(params, seed) for seed in range(3)])
    found = torch.func.vmap(lambda x: ops.mbconv(x, weights, residual=True))(samples)
    assert torch.equal(found, torch.stack([ops.mbconv(x, weights, residual=True) for x in samples]))


def test_derivatives_are_refused_by_name_in_transforms():
    params = PROBLEMS[2]
    x, weights = _x(params), weights_of(params)
    with pytest.raises(RuntimeError, match="mbconv has no backward"):
        torch.func.grad(lambda x: ops.mbconv(x, weights).sum())(x)
    with pytest.raises(RuntimeError, match="mbconv has no derivative in forward mode"):
        torch.func.jvp(lambda x: ops.mbconv(x, weights), (x,), (x,))


def test_autocast_changes_nothing():
    params = PROBLEMS[2]
    x, weights = _x(params), weights_of(params)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(ops.mbconv(x, weights), ops.mbconv(x, weights))
        found = ops.mbconv(x.bfloat16(), weights)
    assert torch.equal(found, ops.mbconv(x.bfloat16().float(), weights))


def test_compiled_it_gives_the_same():
    params = PROBLEMS[2]
    x, weights = _x(params), weights_of(params)

    def twice(x):
        return 2 * ops.mbconv(x, weights, residual=True)

    assert torch.equal(torch.compile(twice, fullgraph=True, backend="aot_eager")(x), twice(x))
