"""The Triton block's forward, its PTX run in the simulator, judged by the fp64 reference."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dcnn_fast import ops
from dcnn_fast.ops import CrossMapNorm, Piece, Pool, Region, RegionList, SameMapNorm, Store
from dcnn_fast.ops.block import BACKENDS, reference
from dcnn_fast.ops.block.backend import Operands, Work
from dcnn_fast.ops.block.triton import config as triton_config
from dcnn_fast.ops.block.triton import forward_launch as triton_forward
from dcnn_fast.ops.block.whole import whole_images
from dcnn_fast.ops.norm import reference as norms
from dcnn_fast.ops.region import of_windows, whole
from dcnn_fast.plan import brute_force, share
from tests.ops.block.problems import (
    AVERAGE,
    CROSS,
    POOL,
    SAME,
    SMALL,
    error_of,
    geometry,
    keywords,
    operands,
    preset_problems,
    problem,
    run_by,
    stated,
    training_by,
    typed,
)  # fmt: skip
from tests.ops.guarded import assert_untouched, output, poisoned
from tests.ops.on_cpu import FLOATS, INTERPRETED, kernels_on_cpu, triton_on_cpu  # noqa: F401 - a fixture
from tests.plan import networks
from tests.plan.test_share import run as run_plan

NORMS = [None, CROSS, SAME, CrossMapNorm(4, 0.3, 0.5, 2.0), CrossMapNorm(9, 0.3), SameMapNorm(2, 0.3), SameMapNorm(1, 0.3)]
SHAPES = [
    problem(2, 3, height, width, 7, size, torch.float32, stride=stride, padding=padding, rounding=rounding, pool=pool)
    for height, width, size, stride, padding, pool in (
        (1, 1, 1, 1, 0, None), (7, 23, 5, 2, 2, Pool(3, 2)), (13, 9, 3, 1, 1, Pool(2, 2)), (19, 31, 11, 4, 0, Pool(3, 1)),
        (15, 22, 4, 3, 2, Pool(5, 4)),
    )
    for rounding in ("up", "down")
]  # fmt: skip
VARIETY = [
    replace(shape, options=replace(shape.options, norm=norm, order=order))
    for shape, norm, order in zip(
        [shape for shape in SHAPES for _ in range(7)], NORMS * len(SHAPES),
        ["conv-pool-norm", "conv-norm-pool", "conv-norm-pool"] * 30, strict=False,
    )
]  # fmt: skip
VARIETY += [
    problem(1, channels, 12, 17, filters, size, torch.float32, stride=stride, padding=1, groups=groups, pool=POOL, norm=norm)
    for channels, filters, groups, size, stride in ((6, 6, 2, 3, 1), (6, 48, 3, 6, 2), (32, 64, 2, 5, 1), (24, 9, 3, 3, 1))
    for norm in (CROSS, SAME)
]
VARIETY.append(problem(1, 3, 9, 11, 5, 3, torch.float32, padding=1, pool=AVERAGE, norm=SAME, order="conv-pool-norm-relu"))

pytestmark = pytest.mark.usefixtures("triton_on_cpu")


def _run(sources, table, weight, bias, params, mean=(), scale=1.0):
    """Triton's outputs between canaries that must stay unchanged; values that no store covers stay NaN."""
    made = [output((images, params.filters, *extent), params.out_dtype) for images, *extent in table.outputs]
    assert BACKENDS["triton"].can_run(params, torch.device("cpu")) is None
    run_by("triton", sources, table, weight, bias, params, mean, scale, [tensor for tensor, _ in made])
    assert_untouched(*(buffer for _, buffer in made))
    return [tensor for tensor, _ in made]


@pytest.mark.parametrize("params", VARIETY, ids=str)
def test_any_shape_in_fp32(params):
    params = typed(params, torch.float32)
    x, weight, bias = operands(params)
    (result,) = _run([poisoned(x)], whole_images(params), weight, bias, params)
    expected = stated(x.double(), weight.double(), bias.double(), typed(params, torch.float64, precision="ieee"))
    assert error_of(result, expected) <= params.tolerance()


@pytest.mark.parametrize("params", preset_problems(25), ids=str)
def test_every_presets_blocks_in_fp16(params):
    params = typed(params, torch.float16)
    x, weight, bias = operands(params)
    (result,) = _run([x], whole_images(params), weight, bias, params)
    expected = stated(x.double(), weight.double(), bias.double(), typed(params, torch.float64, precision="ieee"))
    assert error_of(result, expected) <= params.tolerance()


def _plain(x, weight, bias, params):
    """The block by torch's operations in the operands' dtype."""
    options = params.options
    y = F.conv2d(x, weight, bias, options.stride, options.padding).relu()
    y = F.max_pool2d(y, options.pool.size, options.pool.stride)
    return norms.forward(y, options.norm)


@pytest.mark.parametrize(("dtype", "precision"), [*((dtype, "ieee") for dtype in FLOATS), (torch.float32, "tf32")])
@pytest.mark.parametrize("channels", [3, 32])
def test_the_error_is_at_most_twice_that_of_torch_in_the_same_dtype(dtype, precision, channels):
    params = problem(1, channels, 15, 15, 64, 5, padding=2, pool=POOL, norm=CrossMapNorm(5, 1e-2), rounding="down")
    params = typed(params, dtype, precision=precision)
    x, weight, bias = operands(params)
    (result,) = _run([x], whole_images(params), weight, bias, params)
    wide = [tensor.double() for tensor in (x, weight, bias)]
    expected = stated(*wide, typed(params, torch.float64, precision="ieee"))
    plain = _plain(*(reference._rounded(tensor, precision) for tensor in (x, weight)), bias, params)
    assert error_of(result, expected) <= 2 * error_of(plain, expected) + torch.finfo(dtype).eps


@pytest.mark.parametrize("precision", ["fp16"] if INTERPRETED else ["fp16", "bf16"])
def test_a_named_precision_rounds_the_operands_alone(precision):
    params = typed(problem(1, 3, 11, 12, 8, 3, padding=1, pool=POOL, norm=CROSS), torch.float32, precision=precision)
    x, weight, bias = operands(params)
    (result,) = _run([x], whole_images(params), weight, bias, params)
    expected = stated(x, weight, bias, params)
    assert error_of(result, expected.double()) <= params.tolerance()


@pytest.mark.parametrize("dtype", FLOATS)
def test_planes_enter_as_they_are_less_their_mean(dtype):
    params = typed(problem(5, 3, 13, 12, 8, 5, stride=2, pool=POOL, norm=CROSS, padding=1), dtype, source=torch.uint8)
    _, weight, bias = operands(replace(params, dtype=dtype))
    generator = torch.Generator().manual_seed(1)
    plane = torch.randint(0, 256, (2, 3, 19, 20), dtype=torch.uint8, generator=generator)
    windows = torch.tensor([[0, 0, 0], [0, 3, 5], [1, 6, 8], [1, 0, 7], [0, 3, 5]])
    table = of_windows(windows, 13, 12, **geometry(params))
    mean, scale = (120.5, 99.0, 80.25), 1 / 64
    expected = torch.empty(params.out_shape, dtype=torch.float64)
    run_by(
        "reference",
        [plane],
        table,
        weight.double(),
        bias.double(),
        typed(params, torch.float64, precision="ieee"),
        mean,
        scale,
        [expected],
    )
    for source in (plane, poisoned(plane), poisoned(F.pad(plane, (0, 0, 0, 0, 0, 1)))[:, :3]):
        (result,) = _run([source], table, weight, bias, params, mean, scale)
        assert error_of(result, expected) <= params.tolerance()


def test_several_sources_and_windows_at_their_corners():
    params = typed(problem(4, 16, 9, 8, 12, 3, padding=1, pool=POOL, norm=CROSS), torch.float16)
    _, weight, bias = operands(params)
    generator = torch.Generator().manual_seed(3)
    sources = [torch.randn(2, 16, *extent, generator=generator).half() for extent in ((9, 20), (14, 9))]
    windows = torch.tensor([[1, 1, 5, 1], [0, 0, 0, 12], [0, 1, 0, 0], [1, 0, 0, 0]])
    table = of_windows(windows, 9, 8, **geometry(params))
    (result,) = _run([poisoned(source) for source in sources], table, weight, bias, params)
    for i, (source, image, top, left) in enumerate(windows.tolist()):
        cut = sources[source][image : image + 1, :, top : top + 9, left : left + 8].double()
        expected = stated(
            cut, weight.double(), bias.double(), replace(typed(params, torch.float64, precision="ieee"), images=1)
        )
        assert error_of(result[i : i + 1], expected) <= params.tolerance()


def test_alignment_is_that_of_every_source():
    params = typed(problem(2, 16, 9, 8, 12, 3, padding=1, pool=POOL), torch.float16)
    _, weight, bias = operands(params)
    generator = torch.Generator().manual_seed(3)
    aligned, values = (torch.randn(1, 9, 8, 16, generator=generator).half() for _ in range(2))
    odd = torch.empty(values.numel() + 1, dtype=torch.float16)[1:].view_as(values).copy_(values)
    assert aligned.data_ptr() % 16 == 0 != odd.data_ptr() % 16
    table = of_windows(torch.tensor([[0, 0, 0, 0], [1, 0, 0, 0]]), 9, 8, **geometry(params))
    (result,) = _run([aligned.permute(0, 3, 1, 2), odd.permute(0, 3, 1, 2)], table, weight, bias, params)
    x = torch.cat([aligned, values]).permute(0, 3, 1, 2)
    assert (
        error_of(result, stated(x.double(), weight.double(), bias.double(), typed(params, torch.float64, precision="ieee")))
        <= params.tolerance()
    )


def test_one_region_emits_several_phases_to_several_places():
    params = typed(problem(1, 16, 14, 15, 16, 3, pool=POOL, norm=CROSS), torch.float16)
    x, weight, bias = operands(params)
    offsets = ((0, 0), (1, 2), (3, 1))
    pieces = tuple(
        Piece(top, left, 3, 3, (Store(0, 0, 3, 3, i, 1, 2, 0), Store(1, 1, 2, 2, i, 0, 0, 1)))
        for i, (top, left) in enumerate(offsets)
    )
    table = RegionList.of([Region(0, 0, 0, 0, 14, 15, 0, 0, 12, 13, 0, 0, pieces)], [(2, 5, 3)] * 3)
    results = _run([x], table, weight, bias, params)
    for result, (top, left) in zip(results, offsets, strict=True):
        cut = x[:, :, top : top + 9, left : left + 9].double()
        expected = stated(
            cut, weight.double(), bias.double(), replace(typed(params, torch.float64, precision="ieee"), height=9, width=9)
        )
        assert error_of(result[1:, :, 2:], expected) <= params.tolerance()
        assert torch.equal(result[0, :, :2, 1:], result[1, :, 3:, 1:])
        assert result[0, :, 2:].isnan().all() and result[0, :, :, 0].isnan().all() and result[1, :, :2].isnan().all()


@pytest.mark.needs_engine
def test_a_plan_gives_bit_for_bit_what_brute_force_gives():
    shared = 0
    for seed, column, windows, plane, pixels in networks.cases(range(40)):
        plan = share(column, windows, plane, "triton")
        if plan.name != "sharing" or len(windows) > 6:
            continue
        expected = run_plan(column, brute_force(column, windows), pixels, torch.float32)
        assert torch.equal(run_plan(column, plan, pixels, torch.float32), expected), seed
        shared += 1
    assert shared >= 5


@pytest.mark.parametrize("params", [SMALL[1], SMALL[2], SMALL[4], SMALL[8], SMALL[9]], ids=str)
def test_training_keeps_the_norms_input_and_the_pools_hits(params):
    params = typed(params, torch.float32)
    x, weight, _ = operands(params)
    # Sums of small integers are exact, so ties equal the reference's.
    x, weight = (x / 2).round(), (weight * params.depth**0.5 / 2).round()
    result, values, hits = training_by("triton", x, weight, None, params)
    expected, wide_values, wide_hits = training_by(
        "reference", x.double(), weight.double(), None, typed(params, torch.float64, precision="ieee")
    )
    assert error_of(result, expected) <= params.tolerance()
    assert (values is None) == (wide_values is None) and (hits is None) == (wide_hits is None)
    if values is not None:
        torch.testing.assert_close(values.double(), wide_values, rtol=1e-6, atol=0)
    if hits is not None:
        assert torch.equal(hits, wide_hits)
        assert (hits & (hits - 1)).count_nonzero() > 0  # there are ties


@pytest.mark.parametrize(
    "params",
    [
        problem(1, 16, 21, 30, 16, 3, padding=1, pool=POOL, norm=CROSS),
        problem(2, 3, 27, 64, 7, 5, stride=2, pool=Pool(2, 2), norm=CROSS, order="conv-norm-pool"),
        problem(1, 32, 9, 13, 48, 3, padding=1, groups=2, pool=POOL, norm=CROSS, rounding="down"),
        problem(1, 16, 40, 90, 64, 3, stride=3, pool=Pool(3, 1)),
        problem(1, 16, 19, 71, 16, 3, padding=1, pool=POOL, norm=CROSS),  # several strips beside each other
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", FLOATS)
def test_streamed_it_has_the_same_bits(params, dtype):
    params = typed(params, dtype)
    x, weight, bias = operands(params)
    config = triton_config.forward_candidates(params)["strip"]
    (tiled,) = _run([x], whole_images(params), weight, bias, params)
    streamed, buffer = output(params.out_shape, dtype)
    triton_forward.prepared(params, Operands(weight, bias), tile=config).run(Work([x], whole_images(params), [streamed]))
    assert_untouched(buffer)
    assert torch.equal(streamed, tiled)


def test_an_outputs_bits_depend_on_nothing_but_its_inputs():
    params = typed(problem(2, 16, 20, 21, 32, 3, padding=1, pool=POOL, norm=CROSS), torch.float16)
    x, weight, bias = operands(params)
    (both,) = _run([x], whole_images(params), weight, bias, params)
    (alone,) = _run([x[1:]], whole_images(replace(params, images=1)), weight, bias, replace(params, images=1))
    assert torch.equal(both[1:], alone)
    cut = x[:1, :, 4:, 6:]
    (place,) = _run([cut], whole(1, 16, 15, **geometry(params)), weight, bias, replace(params, images=1, height=16, width=15))
    assert torch.equal(both[:1, :, 3:, 4:], place[:, :, 1:, 1:])


@pytest.mark.parametrize("capability", [] if INTERPRETED else [80, 86, 89, 90, 120])
@pytest.mark.parametrize("dtype", FLOATS)
def test_what_other_gpus_compile_to_gives_the_same(capability, dtype):
    params = typed(problem(1, 64, 9, 10, 64, 5, padding=2, pool=POOL, norm=CROSS), dtype)
    x, weight, bias = operands(params)
    expected = stated(x.double(), weight.double(), bias.double(), typed(params, torch.float64, precision="ieee"))
    with kernels_on_cpu(capability):
        (result,) = _run([x], whole_images(params), weight, bias, params)
    assert error_of(result, expected) <= params.tolerance()


@pytest.mark.parametrize("offset", [0, 1, 3, 8])
def test_outputs_may_start_anywhere(offset):
    params = typed(problem(1, 16, 9, 8, 16, 3, pool=POOL), torch.float16)
    x, weight, bias = operands(params)
    (expected,) = _run([x], whole_images(params), weight, bias, params)
    n, c, h, w = params.out_shape
    buffer = torch.full((expected.numel() + 16,), float("nan"), dtype=torch.float16)
    out = buffer[offset : offset + expected.numel()].view(n, h, w, c).permute(0, 3, 1, 2)
    run_by("triton", [x], whole_images(params), weight, bias, params, (), 1.0, [out])
    assert torch.equal(out, expected)
    assert buffer[:offset].isnan().all() and buffer[offset + expected.numel() :].isnan().all()


@pytest.mark.parametrize("name", ["small", "strip"])
@pytest.mark.parametrize("row", [4, 5])  # the last and the first row of some pool window, where no other row sees the NaN
def test_a_nan_is_never_lost(name, row):
    """Neither the ReLU nor a pool may replace a NaN by a number."""
    params = typed(problem(1, 16, 12, 13, 16, 3, pool=POOL), torch.float16)
    x, weight, bias = operands(params)
    x[0, 3, row, 6] = float("nan")
    config = triton_config.forward_candidates(params)[name]
    result, _ = output(params.out_shape, torch.float16)
    result.zero_()
    triton_forward.prepared(params, Operands(weight, bias), tile=config).run(Work([x], whole_images(params), [result]))
    expected = stated(x.double(), weight.double(), bias.double(), typed(params, torch.float64, precision="ieee"))
    assert expected.isnan().any() and not expected.isnan().all()
    assert torch.equal(result.isnan(), expected.isnan())


def test_addresses_beyond_32_bits():
    """A window at the far end of a plane of more than 2**31 bytes, whose memory is only reserved."""
    params = typed(problem(1, 3, 8, 9, 4, 3, pool=POOL), torch.float32, source=torch.uint8)
    _, weight, bias = operands(replace(params, dtype=torch.float32))
    height, width = 26000, 27600
    plane = torch.from_numpy(np.zeros((1, height, width, 3), np.uint8)).permute(0, 3, 1, 2)  # torch.zeros writes them
    assert plane.numel() > 2**31
    corner = plane[:, :, -8:, -9:]
    corner.copy_(torch.randint(0, 256, corner.shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0)))
    table = of_windows(torch.tensor([[0, height - 8, width - 9]]), 8, 9, **geometry(params))
    (result,) = _run([plane], table, weight, bias, replace(params, height=height, width=width))
    expected = stated(corner.double(), weight.double(), bias.double(), typed(params, torch.float64, precision="ieee"))
    assert error_of(result, expected) <= params.tolerance()


def test_a_flat_tile_of_one_column_reaches_beyond_32_bits():
    """A source's rows lie so far apart that the offsets within a tile exceed 32 bits; its memory is only reserved."""
    params = typed(problem(1, 16, 129, 1, 16, 1), torch.float16, source=torch.uint8)
    _, weight, bias = operands(replace(params, dtype=torch.float16))
    apart = 2**24 + 2**18
    x = torch.empty(128 * apart + 16, dtype=torch.uint8).as_strided((1, 16, 129, 1), (16, 1, apart, 16))
    x.copy_(torch.randint(0, 4, x.shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0)))
    (result,) = _run([x], whole_images(params), weight, bias, params)
    expected = stated(x.double(), weight.double(), bias.double(), typed(params, torch.float64, precision="ieee"))
    assert error_of(result, expected) <= params.tolerance()


@pytest.mark.parametrize("norm", [None, CROSS])
def test_outputs_may_start_at_any_address(norm):
    """Outputs are views of a buffer, each one value further on; values that no store covers stay unchanged."""
    params = typed(problem(1, 16, 6, 7, 16, 3, padding=1, norm=norm), torch.float16)
    x, weight, bias = operands(params)
    (expected,) = _run([x], whole_images(params), weight, bias, params)
    for first in (1, 3, 8):
        buffer = torch.full((2 * expected.numel() + 16,), 7.0, dtype=torch.float16)
        out = buffer[first : first + 2 * expected.numel()].view(2, 6, 7, 16).permute(0, 3, 1, 2)
        table = replace(whole_images(params), outputs=((2, 6, 7),))
        (result,) = ops.block_regions([x], table, weight, bias, padding=1, norm=norm, out=[out])
        assert result is out and torch.equal(out[:1], expected)
        assert (buffer[:first] == 7).all() and (buffer[first + expected.numel() :] == 7).all()


@pytest.mark.parametrize("dtype", FLOATS[1:])
def test_tf32_rounds_no_16_bit_operands(dtype):
    params = typed(problem(1, 3, 9, 8, 4, 3, padding=1), dtype)
    x, weight, bias = operands(params)
    (expected,) = _run([x], whole_images(params), weight, bias, params)
    (result,) = _run([x], whole_images(params), weight, bias, typed(params, dtype, precision="tf32"))
    assert torch.equal(result, expected)


def test_opcheck_and_compile():
    params = typed(SMALL[2], torch.float32)
    x, weight, bias = operands(params)
    torch.library.opcheck(torch.ops.dcnn_fast.block, (x, weight, bias, *params.options.flat(), [], 1.0))
    torch._dynamo.reset()
    compiled = torch.compile(lambda *args: ops.block(*args, **keywords(params.options)), backend="eager", fullgraph=True)
    assert torch.equal(compiled(x, weight, bias), ops.block(x, weight, bias, **keywords(params.options)))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"weight_dtype": torch.float64, "dtype": torch.float64}, "takes uint8, float32, float16 or bfloat16"),
        ({"dtype": torch.uint8, "weight_dtype": torch.float64}, "takes uint8, float32, float16 or bfloat16"),
        ({"options": replace(SMALL[2].options, precision="bf16x3")}, "does not compute in bf16x3"),
        ({"options": replace(SMALL[2].options, norm=SameMapNorm(1000))}, "too large for Triton's block"),
    ],
)
def test_what_it_cannot_do_it_refuses_in_a_sentence(change, sentence):
    refusal = BACKENDS["triton"].can_run(replace(typed(SMALL[2], torch.float32), **change), torch.device("cpu"))
    assert refusal is not None and sentence in refusal


def test_tiles_cover_every_window_once():
    for params in (SMALL[4], problem(1, 3, 50, 41, 8, 3, pool=POOL), problem(3, 16, 30, 30, 64, 3)):
        config = triton_config.forward_config(typed(params, torch.float16))
        table = whole_images(params)
        seen = np.zeros((params.images, *params.conv_shape[2:]), int)
        for region, row, col in triton_forward.tiles_of(table, config).tolist():
            if config.flat:
                seen[region].reshape(-1)[row : row + config.rows * config.cols] += 1
            else:
                own = config.before + config.after
                seen[region, row : row + config.rows - own, col : col + config.cols - own] += 1
        assert (seen == 1).all()


def test_the_interpreter_agrees():
    """Triton's own interpreter, which knows neither layouts nor bfloat16, runs this file's tests too."""
    if INTERPRETED:
        return
    chosen = "any_shape or phases or planes or training or (presets and (x3x or x64x))"  # wider tiles take most of a minute
    command = [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", __file__, "-k", chosen]
    done = subprocess.run(command, env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
