"""Images of bytes: the block gives the bits of the floats they stand for, and keeps bytes for the backward."""

from __future__ import annotations

import pytest
import torch

from bench.chain import saved_bytes
from dcnn_fast import engine, ops
from dcnn_fast.ops import Pool
from dcnn_fast.ops.block import BlockOptions
from tests.ops.block.problems import CROSS, POOL, SAME, keywords
from tests.ops.on_cpu import triton_on_cpu  # noqa: F401 - a fixture

MEAN, SCALE = (120.5, 3.0, 250.25), 0.37
OPTIONS = [
    BlockOptions(stride=2, padding=2, pool=POOL, norm=CROSS),
    BlockOptions(stride=2, pool=POOL, norm=SAME, order="conv-norm-pool", ties="first"),
    BlockOptions(padding=1),
]
ISAS = (*engine.isas(), *engine.emulated_isas())


def _operands(dtype=torch.float32, size=5, filters=6):
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (3, 3, 17, 14), dtype=torch.uint8, generator=generator)
    weight = torch.randn(filters, 3, size, size, generator=generator, dtype=torch.float64).to(dtype) / 300
    bias = torch.randn(filters, generator=generator, dtype=torch.float64).to(dtype) / 10
    return pixels, weight.requires_grad_(), bias.requires_grad_()


def _floats(pixels, dtype):
    return (pixels.to(dtype) - torch.tensor(MEAN, dtype=dtype).reshape(1, 3, 1, 1)) * SCALE


def _step(x, weight, bias, options, **pixels):
    """The result without gradients, with them, and the gradients."""
    with torch.no_grad():
        plain = ops.block(x, weight, bias, **keywords(options), **pixels)
    result = ops.block(x, weight, bias, **keywords(options), **pixels)
    grad = torch.randn(result.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(result.dtype)
    return plain, result, *torch.autograd.grad(result, (weight, bias), grad)


def _check(options, dtype=torch.float32):
    pixels, weight, bias = _operands(dtype)
    for memory in (torch.contiguous_format, torch.channels_last):
        given = pixels.contiguous(memory_format=memory)
        expected = _step(_floats(given, dtype), weight, bias, options)
        assert expected[2].any()
        for mine, theirs in zip(_step(given, weight, bias, options, mean=MEAN, scale=SCALE), expected, strict=True):
            assert mine.dtype == dtype
            assert torch.equal(mine, theirs)


@pytest.mark.needs_engine
@pytest.mark.parametrize("options", OPTIONS, ids=range(len(OPTIONS)))
@pytest.mark.parametrize("isa", ISAS)
def test_the_engine_takes_bytes_as_the_floats_they_stand_for(isa, options, monkeypatch):
    monkeypatch.setenv("DCNN_FAST_BACKEND", "cpu")
    monkeypatch.setenv("DCNN_FAST_CPU_ISA", isa)
    _check(options)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("options", OPTIONS, ids=range(len(OPTIONS)))
def test_so_does_the_reference(dtype, options, monkeypatch):
    monkeypatch.setenv("DCNN_FAST_BACKEND", "reference")
    _check(options, dtype)


def test_so_does_triton(triton_on_cpu):  # noqa: F811
    _check(OPTIONS[0])
    assert triton_on_cpu


def test_bytes_without_a_mean_are_their_values():
    pixels, weight, bias = _operands()
    options = keywords(OPTIONS[0])
    assert torch.equal(ops.block(pixels, weight, bias, **options), ops.block(pixels.float(), weight, bias, **options))


@pytest.mark.needs_engine
@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_bytes_are_kept_as_bytes(backend, monkeypatch):
    monkeypatch.setenv("DCNN_FAST_BACKEND", backend)
    pixels, weight, bias = _operands()
    kept = {}
    for name, x, pixel in (("bytes", pixels, {"mean": MEAN, "scale": SCALE}), ("floats", _floats(pixels, torch.float32), {})):
        kept[name] = saved_bytes((weight, bias), ops.block, x, weight, bias, pool=Pool(3, 2), norm=CROSS, **pixel)
    assert kept["floats"] - kept["bytes"] == 3 * pixels.numel()


def test_compiles_whole():
    pixels, weight, bias = _operands()
    options = {**keywords(OPTIONS[0]), "mean": MEAN, "scale": SCALE}
    expected = ops.block(pixels, weight, bias, **options)
    (grad,) = torch.autograd.grad(expected.square().sum(), weight)
    torch._dynamo.reset()
    compiled = torch.compile(lambda *operands: ops.block(*operands, **options), fullgraph=True, backend="aot_eager")
    result = compiled(pixels, weight, bias)
    assert torch.equal(result, expected)
    assert torch.equal(torch.autograd.grad(result.square().sum(), weight)[0], grad)


def test_wrong_pixels_are_named():
    pixels, weight, bias = _operands()
    with pytest.raises(ValueError, match="mean must be empty or have one value for each of 3 channels, got 2"):
        ops.block(pixels, weight, bias, mean=(1.0, 2.0))
    for wrong in ({"mean": MEAN}, {"scale": 0.5}):
        with pytest.raises(ValueError, match="mean and scale are for bytes: floating x enters as it is, got mean"):
            ops.block(pixels.float(), weight, bias, **wrong)
    with pytest.raises(TypeError, match="weight must be float64, float32, bfloat16 or float16, got torch.int32"):
        ops.block(pixels, weight.detach().int(), None)
