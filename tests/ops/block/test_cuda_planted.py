"""Bugs planted in copies of the hand-staged block's source: each is caught by the simulator's checks or by wrong numbers."""

from __future__ import annotations

import pytest
import torch

from dcnn_fast.ops.block.whole import whole_images
from dcnn_fast.ops.cuda_compile import sources
from devtools.simulated import simulated
from ptxsim import SimulationError
from tests.ops.block.problems import AVERAGE, CROSS, POOL, problem, run_by
from tests.ops.block.test_cuda_forward import _error, _expected, _typed, operands
from tests.ops.cuda_copy import copied, planted
from tests.ops.guarded import output, poisoned

SOURCES = ("block/forward.cu", "block/patch.cuh", "block/tail.cuh")
# Several steps in a strip, strips beside each other and below each other, windows that hang over the edges.
STAGED = problem(1, 32, 44, 42, 16, 3, padding=1, pool=POOL, norm=CROSS)
WORDS = problem(1, 3, 61, 70, 16, 5, stride=2, padding=2, pool=POOL, norm=CROSS, order="conv-norm-pool")
AVERAGED = problem(1, 32, 14, 16, 16, 3, padding=1, pool=AVERAGE, norm=CROSS, order="conv-pool-norm-relu")

RACE = "shared memory race"
BUGS = {
    "no barrier before a stage": (STAGED, "wait_copies();\n                __syncthreads();", "wait_copies();", RACE),
    "no wait before a stage": (
        STAGED, "wait_copies();\n                __syncthreads();", "__syncthreads();", "asynchronous copy read before wait",
    ),
    "no barrier before the pool": (
        STAGED, "        __syncthreads();\n        if constexpr (NORM_SIZE > 0", "        if constexpr (NORM_SIZE > 0", RACE,
    ),
    "no barrier between norm and pool": (
        WORDS, "rows, cols);\n            __syncthreads();", "rows, cols);", RACE,
    ),
    "fragments swapped": (STAGED, "a[tile], b[0], b[1]);", "a[tile], b[1], b[0]);", "numbers"),
    "filters swapped": (STAGED, "[2 * SIXTEEN + 1], a[tile], b[2], b[3]", "[2 * SIXTEEN], a[tile], b[2], b[3]", "numbers"),
    "the window one column wider": (
        STAGED, "(patch.left + pixel + p) < static_cast<unsigned>(patch.window_width)",
        "(patch.left + pixel + p) <= static_cast<unsigned>(patch.window_width)", "global access out of bounds",
    ),
    "the patch one row shorter": (
        STAGED, "patch.rows = (rows - 1) * STRIDE + SIZE;", "patch.rows = (rows - 1) * STRIDE + SIZE - 1;",
        "uninitialised shared read",
    ),
    "a pool that passes the last row": (STAGED, "min(i + y, last_row)", "min(i + y, last_row + 1)", "numbers"),
    "a pool that passes the last column": (STAGED, "min(j + x, cols - 1)", "min(j + x, cols)", "uninitialised shared read"),
    "an average that passes the last row": (
        AVERAGED, "(i + y > last_row) break;", "(i + y > last_row + 1) break;", "uninitialised shared read",
    ),
    "an average over what is not there": (AVERAGED, "min(cols - j, POOL));", "POOL);", "numbers"),
    "a ReLU that comes first": (AVERAGED, "!RELU_LAST && value < 0.0f", "value < 0.0f", "numbers"),
    "no ReLU that comes last": (AVERAGED, "if constexpr (RELU_LAST)", "if constexpr (false)", "numbers"),
    "a ring one row too short": (STAGED, "narrow(strip.step) + POOL - 1;", "narrow(strip.step) + POOL - 2;", "numbers"),
    "a strip that owns a row too few": (
        STAGED, "last ? narrow(strip.own_rows)", "last ? narrow(strip.own_rows) - 1", "numbers",
    ),
    "zeros before the mean": (WORDS, "if (SUBTRACT && !inside[2 * PAIR / MEANS]) return 0;", "", "numbers"),
    "stages of weights in one buffer": (STAGED, "stage_side ^= 1;", "", "numbers"),
}  # fmt: skip


def _caught(params, folder):
    """The fault of the copy in `folder`: the simulator's finding, "numbers", or "nothing"."""
    params = _typed(params, torch.float16)
    if params.channels == 3:
        params = _typed(params, torch.float16, source=torch.uint8)
    _, weight, bias = operands(_typed(params, torch.float16))
    shape = (1, params.channels, params.height, params.width)
    generator = torch.Generator().manual_seed(2)
    bytes_ = params.dtype == torch.uint8
    x = torch.randint(0, 256, shape, generator=generator) if bytes_ else torch.randn(shape, generator=generator)
    x = x.to(params.dtype)
    mean, scale = ((120.0, 110.0, 100.0), 1 / 64) if bytes_ else ((), 1.0)
    result, _ = output(params.out_shape, params.out_dtype)
    with simulated(80, sources=folder):
        try:
            run_by("cuda", [poisoned(x)], whole_images(params), weight, bias, params, mean, scale, [result])
        except SimulationError as error:
            return error.findings[0].kind
    moved = (x.double() - torch.tensor(mean or [0.0] * params.channels).view(-1, 1, 1)) * scale
    expected = _expected(moved, weight, bias, params)
    return "numbers" if result.isnan().any() or _error(result, expected) > params.tolerance() else "nothing"


@pytest.mark.parametrize("params", [STAGED, WORDS], ids=str)
def test_the_source_as_it_is_breaks_nothing(params, tmp_path):
    assert _caught(params, copied(tmp_path / "cuda")) == "nothing"


@pytest.mark.parametrize("bug", BUGS)
def test_a_bug_is_caught(bug, tmp_path):
    params, before, after, caught = BUGS[bug]
    (source,) = (name for name in SOURCES if before in (sources() / name).read_text())
    assert _caught(params, planted(tmp_path / "cuda", source, before, after)) == caught
