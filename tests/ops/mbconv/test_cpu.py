"""ops.mbconv on the C++ engine alone: its memory, its rounding, its tiles, and its binding's refusals."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from dcnn_fast import engine
from dcnn_fast.ops.mbconv import MbConvParams, MbConvWeights, cpu
from tests.ops.mbconv.problems import MBCONV, PROBLEMS, STRIPS, WIDE, weights_of, x_of
from tests.ops.tester import ENGINE, Way

pytestmark = pytest.mark.needs_engine


def _run(way, params, x, weights):
    return MBCONV.run(way, params, (x, weights), 1)[0]


@pytest.mark.parametrize("way", ENGINE, ids=str)
@pytest.mark.parametrize("params", [PROBLEMS[2], *WIDE], ids=str)
def test_what_lay_in_memory_before_decides_nothing(params, way):
    params = replace(params, precision="bf16")
    x, weights = x_of(params), weights_of(params)
    before = _run(way, params, x, weights)
    other = replace(STRIPS[2], precision="ieee")
    assert _run(way, other, torch.full_like(x_of(other), torch.nan), weights_of(other)).isnan().all()
    assert torch.equal(_run(way, params, x, weights), before)


@pytest.mark.parametrize("way", ENGINE, ids=str)
@pytest.mark.parametrize("expands", [True, False])
@pytest.mark.parametrize("channels", [5, 16, 37])
def test_operands_are_rounded_to_the_nearest_bfloat16(channels, expands, way):
    """Each layer is the identity: the result is the input, rounded once and clipped."""
    params = MbConvParams(1, channels, 9, 8, channels, channels, 1, expands=expands, precision="bf16")
    generator = torch.Generator().manual_seed(3)
    drawn = 7 * torch.rand(1, 9, 8, channels, generator=generator)
    drawn[:, ::2] = ((drawn[:, ::2].view(torch.int32) & -65536) | 0x8000).view(torch.float32)  # halfway: rounds to even
    x = drawn.permute(0, 3, 1, 2)
    same, zeros = torch.eye(channels), torch.zeros(channels)
    weights = MbConvWeights((same, zeros) if expands else None, (torch.ones(channels, 1, 1), zeros), (same, zeros))
    assert torch.equal(_run(way, params, x, weights), x.bfloat16().float().clamp(0, 6))


@pytest.mark.needs_emulated_tiles
@pytest.mark.parametrize("way", [Way("cpu", isa) for isa in engine.emulated_isas()], ids=str)
def test_tiles_are_for_16_inputs_and_more(way):
    few = MbConvParams(1, 15, 6, 5, 90, 15, 3, residual=True, precision="bf16")
    narrow = MbConvParams(1, 90, 6, 5, 15, 90, 3, residual=True, precision="bf16")
    for params in (few, narrow, *(replace(params, precision="bf16") for params in PROBLEMS)):
        x, weights = x_of(params), weights_of(params)
        assert torch.equal(_run(way, params, x, weights), _run(Way("cpu", "avx512"), params, x, weights))
    for params in WIDE:
        x, weights = x_of(params), weights_of(params)
        assert torch.equal(_run(way, params, x, weights), _run(Way("cpu", "avx512"), params, x, weights))
        params = replace(params, precision="bf16")
        assert not torch.equal(_run(way, params, x, weights), _run(Way("cpu", "avx512"), params, x, weights))


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
    x, out = engine.array_of(x_of(params)), engine.array_of(torch.zeros(1, 4, 4, 5).permute(0, 3, 1, 2))
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
