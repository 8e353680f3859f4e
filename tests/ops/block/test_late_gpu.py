"""Averages and a ReLU that comes last in Triton and CUDA C++, their PTX run in the simulator, judged by the fp64 reference."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import strategies as st

from bench.gpu_cost import STAGED
from dcnn_fast import networks, plan
from dcnn_fast.ops import CrossMapNorm, Pool, SameMapNorm
from dcnn_fast.ops.block import BACKENDS
from dcnn_fast.ops.block.backend import Operands, Work
from dcnn_fast.ops.block.triton import config as triton_config
from dcnn_fast.ops.block.triton import forward_launch as triton_forward
from dcnn_fast.ops.region import of_windows
from devtools import aot, choose_tiles, sass
from tests.ops.block import test_cuda_forward as cuda
from tests.ops.block import test_triton_backward as backward
from tests.ops.block import test_triton_forward as triton
from tests.ops.block.problems import (
    AVERAGE,
    CROSS,
    POOL,
    SAME,
    error_of,
    geometry,
    grad_of,
    operands,
    problem,
    require_gradients,
    run_by,
    typed,
)
from tests.ops.block.test_triton_property import check_list, examples, lists
from tests.ops.guarded import assert_untouched, output, poisoned
from tests.ops.on_cpu import FLOATS, INTERPRETED, kernels_on_cpu
from tests.plan.test_share import run as run_plan

pytestmark = pytest.mark.gpu

CPU = torch.device("cpu")
LAST, NORM_FIRST, BOTH = "conv-pool-norm-relu", "conv-norm-pool", "conv-norm-pool-relu"


def _average(size, stride):
    return Pool(size, stride, "avg")


# Whole images; test_triton_property.py has other regions.
FORWARD = [
    problem(2, 3, 7, 23, 7, 5, stride=2, padding=2, pool=AVERAGE, norm=CROSS, order=LAST),
    problem(1, 3, 9, 8, 5, 3, padding=1, norm=CROSS, order=BOTH),
]


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.mark.parametrize(
    ("params", "dtype", "capability"), [(FORWARD[0], torch.float16, 80 if INTERPRETED else 90), (FORWARD[1], FLOATS[-1], 80)],
    ids=str,
)  # fmt: skip
def test_triton_computes_them(params, dtype, capability):
    params = typed(params, dtype)
    x, weight, bias = operands(params)
    with kernels_on_cpu(capability):
        (result,) = triton._run([poisoned(x)], cuda._whole(params), weight, bias, params)
    expected = triton.stated(x.double(), weight.double(), bias.double(), typed(params, torch.float64))
    assert error_of(result, expected) <= params.tolerance()


HALVES = [
    problem(2, 3, 11, 23, 7, 5, stride=2, padding=2, pool=AVERAGE, norm=CROSS, order=LAST),
    problem(1, 16, 13, 9, 24, 3, padding=1, pool=POOL, norm=CROSS, order=BOTH),
    problem(1, 8, 15, 22, 16, 3, padding=1, pool=_average(4, 3), rounding="down"),
    problem(1, 7, 9, 8, 16, 2, norm=CROSS, order=LAST),
]


@pytest.mark.parametrize(("params", "dtype", "capability"), [
    (HALVES[0], torch.float16, 80), (HALVES[1], torch.bfloat16, 90), (HALVES[2], torch.bfloat16, 80),
    (HALVES[3], torch.float16, 80),
], ids=str)  # fmt: skip
def test_cuda_cpp_computes_them(params, dtype, capability):
    params = typed(params, dtype)
    x, weight, bias = operands(params)
    expected = cuda._expected(x, weight, bias, params)
    runs = {"staged": partial(run_by, "cuda"), "simple": cuda._simply}
    with kernels_on_cpu(capability):
        for run in runs.values():
            (result,) = cuda._run([poisoned(x)], cuda._whole(params), weight, bias, params, run=run)
            assert error_of(result, expected) <= params.tolerance()


@pytest.mark.parametrize("params", [HALVES[0], HALVES[1], HALVES[2]], ids=str)
def test_cuda_cpp_computes_any_list_of_regions(params):
    params = typed(params, torch.float16)
    examples(lists(params), 6)(lambda drawn: check_list("cuda", params, drawn))


def _in_tiles(params, x, weight, bias):
    """Triton's result with each tile."""
    for name in ("small", "strip"):
        result, buffer = output(params.out_shape, params.out_dtype)
        tile = triton_config.forward_candidates(params)[name]
        triton_forward.prepared(params, Operands(weight, bias), tile=tile).run(Work([x], cuda._whole(params), [result]))
        assert_untouched(buffer)
        yield result


def test_in_either_kernel_and_in_any_batch_triton_has_the_same_bits():
    params = typed(problem(2, 16, 5, 34, 16, 3, padding=1, pool=AVERAGE, norm=CROSS, order=BOTH), torch.float16)
    x, weight, bias = operands(params)
    with kernels_on_cpu():
        tiled, streamed = _in_tiles(params, x, weight, bias)
        alone = next(_in_tiles(replace(params, images=1), x[1:], weight, bias))
    assert torch.equal(tiled, streamed) and torch.equal(tiled[1:], alone)


@pytest.mark.needs_engine
@pytest.mark.parametrize("backend", ["triton", "cuda"])
def test_windows_share_them_bit_for_bit(backend, monkeypatch):
    monkeypatch.setenv("DCNN_FAST_BACKEND", backend)
    blocks = (
        networks.Block(16, 5, 2, pool=POOL, norm=CROSS, order=LAST),
        networks.Block(16, 3, padding=1, pool=AVERAGE, norm=CROSS, order=BOTH),
    )
    column = networks.Column("warp", blocks, (4,), 60, 48)
    windows = np.array([(0, 0), (2, 4), (4, 4), (12, 12)])
    shared = plan.share(column, windows, (60, 60), backend, always=True)
    assert shared.name == "sharing"
    pixels = torch.randint(0, 256, (1, 3, 60, 60), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with kernels_on_cpu():
        made = run_plan(column, shared, pixels, torch.float16)
        assert torch.equal(made, run_plan(column, plan.brute_force(column, windows), pixels, torch.float16))


@pytest.mark.parametrize("backend", ["triton", "cuda"])
@pytest.mark.parametrize(("pool", "order"), [(AVERAGE, "conv-pool-norm"), (POOL, BOTH)], ids=str)
def test_a_nan_is_never_lost_nor_found_elsewhere(backend, pool, order):
    params = typed(problem(1, 16, 12, 13, 16, 3, pool=pool, order=order), torch.float16)
    x, weight, bias = operands(params)
    x[0, 3, 4, 6] = float("nan")
    x[0, 3, 11, 12] = float("nan")  # only the last window, which hangs over both edges, sees it
    result, _ = output(params.out_shape, torch.float16)
    with kernels_on_cpu():
        run_by(backend, [x], cuda._whole(params), weight, bias, params, (), 1.0, [result])
    expected = triton.stated(x.double(), weight.double(), bias.double(), typed(params, torch.float64))
    assert expected.isnan().any() and not expected.isnan().all()
    assert torch.equal(result.isnan(), expected.isnan())


def test_planes_enter_as_they_are_less_their_mean():
    """Several windows of two planes of bytes, in CUDA C++ (for Triton: test_triton_property.py)."""
    options = {"stride": 2, "padding": 1, "pool": AVERAGE, "norm": CROSS, "order": LAST}
    params = typed(problem(3, 3, 13, 12, 8, 5, **options), torch.float16, source=torch.uint8)
    _, weight, bias = operands(replace(params, dtype=torch.float16))
    plane = torch.randint(0, 256, (2, 3, 19, 20), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    mean, scale = (120.5, 99.0, 80.25), 1 / 64
    table = of_windows(torch.tensor([[0, 0, 0], [1, 3, 5], [1, 6, 8]]), 13, 12, **geometry(params))
    expected = torch.empty(params.out_shape, dtype=torch.float64)
    run_by("reference", [plane], table, weight.double(), bias.double(), typed(params, torch.float64), mean, scale, [expected])
    with kernels_on_cpu():
        (result,) = cuda._run([poisoned(plane)], table, weight, bias, params, mean, scale)
    assert error_of(result, expected) <= params.tolerance()


# The paper's sizes, in the default tile.
WHOLE = [
    problem(1, 3, 60, 60, 64, 11, torch.float16, stride=2, pool=AVERAGE, norm=CROSS, order=LAST),
    problem(1, 64, 30, 30, 64, 5, torch.float16, pool=AVERAGE, norm=CROSS, order=BOTH),
]


@pytest.mark.parametrize(("params", "capability"), list(zip(WHOLE, (90, 80), strict=True)), ids=str)
def test_nothing_spills(params, capability):
    params = replace(params, weight_dtype=torch.float16)
    tile = triton_config.forward_config(params, capability)
    (name,) = (name for name, each in triton_config.forward_candidates(params).items() if each == tile)
    for launch in (choose_tiles.launch_of(params, name), choose_tiles.staged_launch_of(params, STAGED)):
        assert launch.constants["AVERAGE"] and launch.constants["RELU_LAST"]
        assert sass.read(aot.compiled(launch, capability).cubin).stack == 0


# One convolution, so that its kernels are compiled once, with every sequence of layers after it.
BACKWARD = [
    problem(2, 3, 9, 8, 5, 3, torch.float32, padding=1, pool=pool, norm=norm, order=order, ties=ties)
    for pool, norm, order, ties in (
        (AVERAGE, None, "conv-pool-norm", "all"),
        (AVERAGE, CROSS, "conv-pool-norm", "all"),
        (POOL, CROSS, LAST, "all"),
        (AVERAGE, SAME, BOTH, "all"),
        (AVERAGE, CROSS, NORM_FIRST, "all"),
        (POOL, SAME, BOTH, "first"),
        (None, CROSS, BOTH, "all"),
        (None, SAME, LAST, "all"),
        (AVERAGE, None, BOTH, "all"),
        (POOL, None, LAST, "first"),
    )
]


@pytest.mark.parametrize("params", BACKWARD, ids=str)
def test_gradients_are_the_references(params):
    grad, x, weight, bias, expected = backward._case(params)
    found = backward._gradients(poisoned(grad), poisoned(x), weight, bias, params)
    require_gradients(found, expected, params.gradient_tolerances())


def _check_gradients(params, extents, images, seed):
    params = replace(params, images=images, height=extents[0], width=extents[1])
    x, weight, bias = operands(params, seed)
    grad = grad_of(params, seed)
    expected = backward._stated(grad, x, weight, bias, params)
    found = backward._gradients(poisoned(grad), poisoned(x), weight, bias, params)
    require_gradients(found, expected, params.gradient_tolerances())
    if images > 1:
        alone = backward._gradients(grad[1:2], x[1:2], weight, bias, replace(params, images=1), (True, False, False))
        assert torch.equal(alone[0][0], found[0][1])


def test_gradients_of_any_extent_and_batch():
    params = BACKWARD[3]
    # 2 to 14: Triton recompiles only for 1 and for multiples of 16.
    extent, number = st.integers(2, 14), st.integers(0, 2**31 - 1)
    drawn = st.tuples(st.tuples(extent, extent), st.integers(2, 3), number)
    examples(drawn, 4)(lambda each: _check_gradients(params, *each))


@pytest.mark.parametrize("capability", [90])
def test_gradients_in_16_bits_as_another_gpu_has_them(capability, monkeypatch):
    monkeypatch.setattr(backward, "kernels_on_cpu", lambda: kernels_on_cpu(capability))
    backward.test_low_precision_errs_at_most_twice_as_much_as_plain_torch(BACKWARD[4], torch.float16, "ieee")


def test_the_gradient_of_an_average_is_shared_by_what_is_there():
    """A window over the corner has four outputs; each gets a quarter of the gradient."""
    params = replace(BACKWARD[0], height=6, width=6)  # the filters copy the first channel
    x, weight = torch.ones(2, 3, 6, 6), torch.zeros(5, 3, 3, 3)
    weight[:, 0, 1, 1] = 1.0
    grad = torch.zeros(2, 5, 3, 3)
    grad[1, 4, 2, 2] = 1.0
    grad_x, _, grad_bias = backward._gradients(grad, x, weight, torch.zeros(5), params)
    expected = torch.zeros(2, 3, 6, 6)
    expected[1, 0, 4:, 4:] = 0.25
    assert torch.equal(grad_x, expected) and grad_bias.tolist() == [0.0, 0.0, 0.0, 0.0, 1.0]


def test_they_are_refused_no_more():
    with kernels_on_cpu():
        for params in FORWARD:
            assert BACKENDS["triton"].can_run(typed(params, torch.float32).gradient(), CPU) is None
        for params in HALVES:
            assert BACKENDS["cuda"].can_run(typed(params, torch.float16), CPU) is None
        tied = typed(problem(1, 8, 9, 9, 8, 3, norm=SameMapNorm(3), pool=AVERAGE), torch.float16)
        assert "no same-map norm" in BACKENDS["cuda"].can_run(tied, CPU)
        assert CrossMapNorm(5, 0.3, 0.75, 1.0) == CROSS
