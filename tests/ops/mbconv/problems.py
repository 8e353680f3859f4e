"""Small inverted residual blocks, their weights, and the operation's description for the tester."""

from __future__ import annotations

from dataclasses import replace

import torch

from dcnn_fast import engine
from dcnn_fast.ops.launch import launch
from dcnn_fast.ops.mbconv import MbConvParams, MbConvWeights, cpu, reference, triton
from tests.ops import guarded, tester

PROBLEMS = [
    MbConvParams(2, 4, 9, 7, 4, 6, 3, expands=False),
    MbConvParams(1, 3, 8, 8, 18, 5, 3, stride=2),
    MbConvParams(2, 5, 11, 6, 30, 5, 5, residual=True),
    MbConvParams(1, 8, 7, 12, 16, 9, 5, stride=2),
    MbConvParams(1, 2, 1, 1, 12, 2, 5, residual=True),
    MbConvParams(1, 2, 2, 3, 12, 2, 3, stride=2),
]
# Enough inputs that a tile unit forms their products in bf16: full and partial steps of 32 inputs, 16 pixels, 16 outputs.
WIDE = [
    MbConvParams(2, 16, 13, 11, 96, 24, 3, stride=2),
    MbConvParams(1, 32, 9, 7, 32, 16, 3, expands=False),
    MbConvParams(2, 24, 10, 9, 144, 24, 5, residual=True),
    MbConvParams(1, 33, 7, 7, 49, 17, 3),
    MbConvParams(1, 17, 1, 1, 34, 17, 5, residual=True),
    MbConvParams(1, 64, 5, 6, 33, 65, 3, stride=2),  # fewer maps than channels
    MbConvParams(2, 100, 3, 2, 16, 1, 3),
    MbConvParams(1, 16, 20, 33, 18, 100, 7, stride=3),
]
# Several strips and panels of the engine's kernels, each with a remainder.
STRIPS = [
    MbConvParams(1, 7, 120, 90, 42, 5, 3),
    MbConvParams(1, 6, 121, 77, 36, 10, 5, stride=2),
    MbConvParams(2, 49, 64, 70, 49, 20, 3, expands=False),  # several panels
    MbConvParams(1, 3, 30, 40, 51, 4, 7, stride=3),  # a size without a specialised kernel
    MbConvParams(1, 40, 41, 39, 240, 40, 5, residual=True),
]
# Several programs of Triton's kernel in both directions, each with a remainder.
PROGRAMS = [
    MbConvParams(1, 7, 20, 30, 42, 5, 3),
    MbConvParams(1, 6, 21, 17, 36, 10, 5, stride=2),
    MbConvParams(2, 17, 14, 10, 17, 20, 3, expands=False),
    MbConvParams(1, 16, 14, 14, 32, 48, 5, stride=2),  # whole steps and several parts of the filters
    MbConvParams(1, 40, 14, 14, 32, 40, 5, residual=True),
    MbConvParams(1, 3, 30, 20, 51, 4, 7, stride=3),
]


def in_both(problems, **options):
    """The problems in both precisions."""
    return [replace(params, precision=precision, **options) for params in problems for precision in ("ieee", "bf16")]


def weights_of(params, dtype=torch.float32, seed=0, spread=1.0):
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape):
        return (spread * torch.randn(shape, generator=generator, dtype=torch.float64)).to(dtype)

    e, c, f, k = params.expanded, params.channels, params.filters, params.size
    expand = (drawn(e, c), drawn(e)) if params.expands else None
    return MbConvWeights(expand, (drawn(e, k, k), drawn(e)), (drawn(f, e), drawn(f)))


def x_of(params, seed=1):
    shape = params.images, params.channels, params.height, params.width
    return (2 * tester.drawn(seed, *shape)).contiguous(memory_format=torch.channels_last)


def _compute(way, params, operands, results, threads):
    """Compute the result; for the GPU's kernel the input lies between canaries too."""
    x, weights = operands
    x, (out,) = x.contiguous(memory_format=torch.channels_last), results
    if way.backend == "reference":
        out.copy_(reference.forward(params, x, weights))
    elif way.backend == "cpu":
        packed = cpu.packed(way.isa, params, weights)
        engine.native.mbconv(packed, x=engine.array_of(x), out=engine.array_of(out), threads=threads)
    else:
        given, around = guarded.output(x.shape)
        given.copy_(x)
        launch(triton.launch_of(params, triton.prepared(params, weights).weights, given, out))
        guarded.assert_untouched(around)


MBCONV = tester.Operation(
    operands=lambda params: (x_of(params), weights_of(params)),
    results=lambda params: ([(params.images, params.filters, params.out_height, params.out_width)], torch.float32),
    compute=_compute,
    statement=lambda params, operands: [reference.forward(params, *operands)],  # judged by test_reference.py
)
