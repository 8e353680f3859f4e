"""The block's description for the tester: whole images, by every backend."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from dcnn_fast import engine
from dcnn_fast.ops.block import cpu
from dcnn_fast.ops.block.whole import whole_images
from tests.ops import guarded, statements, tester
from tests.ops.block.problems import operands, run_by, stated, typed


def _operands(params):
    """The operands; the images lie among NaN, with gaps between their rows."""
    x, weight, bias = operands(params)
    return guarded.poisoned(x), weight, bias


def _compute(way, params, given, results, threads):
    x, weight, bias = given
    if way.backend == "cpu":
        cpu.run(way.isa, [x], whole_images(params), weight, bias, params, (), 1.0, results, threads)
    else:
        run_by(way.backend, [x], whole_images(params), weight, bias, params, (), 1.0, results)


def _by_loops(params, given):
    x, weight, bias = (tensor.double().numpy() for tensor in given)
    options = params.options
    arguments = {
        "stride": options.stride, "padding": options.padding, "groups": options.groups, "rounding": options.rounding,
        "pool_": options.pool and (options.pool.size, options.pool.stride, options.pool.kind), "norm_": options.norm,
        "order": options.order,
    }  # fmt: skip
    return [torch.from_numpy(np.stack([statements.block(image, weight, bias, **arguments) for image in x]))]


def _by_the_reference(params, given):
    x, weight, bias = (tensor.double() for tensor in given)
    return [stated(x, weight, bias, typed(params, torch.float64))]


def _allowed(params, given, expected):
    return [params.tolerance() * max(float(expected[0].abs().max()), 1e-3)]


def reaches(way, params):
    """Whether the way supports the problem's precision: bf16x3 needs a tile unit."""
    return params.options.precision != "bf16x3" or engine.load().has_tiles(way.isa)


BY_LOOPS = tester.Operation(
    operands=_operands,
    results=lambda params: ([params.out_shape], params.out_dtype),
    compute=_compute,
    statement=_by_loops,
    allowed=_allowed,
)
BLOCK = replace(BY_LOOPS, statement=_by_the_reference)  # problems for which loops are too slow
