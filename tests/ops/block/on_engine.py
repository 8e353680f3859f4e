"""The block by one of the engine's instruction sets: results between canaries that must stay unchanged."""

from __future__ import annotations

import torch

from dcnn_fast.ops.block import cpu
from dcnn_fast.ops.block.whole import whole_images
from tests.ops import guarded


def regions(isa, sources, table, weight, bias, params, mean=(), scale=1.0, threads=2):
    """The outputs of a list of regions; values that no store covers stay NaN."""
    made = [guarded.output((images, params.filters, rows, cols)) for images, rows, cols in table.outputs]
    cpu.run(isa, sources, table, weight, bias, params, mean, scale, [result for result, _ in made], threads)
    guarded.assert_untouched(*(buffer for _, buffer in made))
    return [result for result, _ in made]


def result(isa, x, weight, bias, params):
    """The result of a forward that no backward follows."""
    return regions(isa, [x], whole_images(params), weight, bias, params)[0]


def training(isa, x, weight, bias, params, threads=2):
    """The result, values and hits of a forward that a backward follows."""
    nothing = None, None
    made = [
        guarded.output(params.out_shape),
        guarded.output(params.out_shape) if params.kept.values else nothing,
        guarded.output(params.out_shape, torch.int16) if params.kept.hits else nothing,
    ]
    (found, _), (values, _), (hits, _) = made
    cpu.run(isa, [x], whole_images(params), weight, bias, params, (), 1.0, [found], threads, (hits, values))
    guarded.assert_untouched(*(buffer for _, buffer in made if buffer is not None))
    return found, (found if params.kept.result else values), hits


def gradients(isa, grad, x, weight, bias, params, needs=(True, True, True), threads=2):
    """The gradients of x, weight and bias after the engine's own training forward, None where not needed."""
    _, values, hits = training(isa, x, weight, bias, params, threads)
    made = [
        guarded.output(tensor.shape) if tensor is not None and need else (None, None)
        for tensor, need in zip((x, weight, bias), needs, strict=True)
    ]
    wanted = tuple(tensor for tensor, _ in made)
    cpu.run_backward(isa, grad, x, weight, bias, values, hits, params, wanted, threads)
    guarded.assert_untouched(*(buffer for _, buffer in made if buffer is not None))
    return wanted
