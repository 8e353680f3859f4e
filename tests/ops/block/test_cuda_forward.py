"""The hand-staged CUDA C++ block's forward, its PTX run in the simulator, judged by the fp64 reference."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import ptxsim
from dcnn_fast import ops
from dcnn_fast.ops import CrossMapNorm, Piece, Pool, Region, RegionList, SameMapNorm, Store
from dcnn_fast.ops.block import BACKENDS
from dcnn_fast.ops.block.backend import Operands, Work
from dcnn_fast.ops.block.cuda import config as cuda_config
from dcnn_fast.ops.block.cuda import forward_launch as cuda_forward
from dcnn_fast.ops.cuda_compile import sources
from dcnn_fast.ops.launch import launch
from dcnn_fast.ops.norm import reference as norms
from dcnn_fast.ops.region import of_windows, whole
from dcnn_fast.plan import brute_force, share
from devtools.simulated import simulated
from tests.ops.block.problems import CROSS, POOL, operands, preset_problems, problem, run_by, stated
from tests.ops.cuda_copy import COMPILERS, ptx_by
from tests.ops.guarded import assert_untouched, output, poisoned
from tests.ops.on_cpu import kernels_on_cpu
from tests.plan import networks
from tests.plan.test_share import run as run_plan

pytestmark = pytest.mark.gpu

HALVES = (torch.float16, torch.bfloat16)
CPU = torch.device("cpu")
_STAGED = partial(run_by, "cuda")


@pytest.fixture(autouse=True)
def cuda_on_cpu(monkeypatch):
    """The cuda backend, forced, on cpu tensors."""
    monkeypatch.setenv("DCNN_FAST_BACKEND", "cuda")
    torch.set_num_threads(1)
    with kernels_on_cpu(80) as launches:
        yield launches


def _typed(params, dtype, source=None):
    return replace(params, dtype=source or dtype, weight_dtype=dtype, out_dtype=dtype)


def _wide(params):
    return _typed(params, torch.float64)


def _geometry(params):
    names = ("stride", "padding", "rounding", "pool")
    return {"size": params.size, **{name: getattr(params.options, name) for name in names}}


def _whole(params):
    return whole(params.images, params.height, params.width, **_geometry(params))


def _run(sources, table, weight, bias, params, mean=(), scale=1.0, run=_STAGED):
    """Outputs between canaries that must stay unchanged; values that no store covers stay NaN."""
    made = [output((images, params.filters, *extent), params.out_dtype) for images, *extent in table.outputs]
    assert BACKENDS["cuda"].can_run(params, CPU) is None
    run(sources, table, weight, bias, params, mean, scale, [tensor for tensor, _ in made])
    assert_untouched(*(buffer for _, buffer in made))
    return [tensor for tensor, _ in made]


def _error(result, expected):
    assert not result.isnan().any()
    return ((result.double() - expected).abs().max() / max(float(expected.abs().max()), 1e-30)).item()


def _expected(x, weight, bias, params):
    return stated(x.double(), weight.double(), None if bias is None else bias.double(), _wide(params))


VARIETY = [
    problem(images, channels, height, width, filters, size, stride=stride, padding=padding, rounding=rounding, pool=pool,
            norm=norm, order=order)
    for images, channels, height, width, filters, size, stride, padding, rounding, pool, norm, order in (
        (1, 1, 1, 1, 1, 1, 1, 0, "up", None, None, "conv-pool-norm"),
        (2, 3, 7, 23, 7, 5, 2, 2, "up", Pool(3, 2), CROSS, "conv-norm-pool"),
        (1, 3, 7, 23, 7, 5, 2, 2, "down", Pool(3, 2), CrossMapNorm(4, 0.3, 0.5, 2.0), "conv-pool-norm"),
        (1, 16, 13, 9, 40, 3, 1, 1, "up", Pool(2, 2), CrossMapNorm(9, 0.3), "conv-norm-pool"),
        (1, 4, 19, 31, 17, 11, 4, 0, "up", Pool(3, 1), CrossMapNorm(20, 0.3), "conv-pool-norm"),
        (1, 24, 15, 22, 33, 4, 3, 2, "down", Pool(5, 4), None, "conv-pool-norm"),
        (1, 8, 15, 22, 96, 3, 1, 1, "up", Pool(3, 2), CrossMapNorm(1, 0.3), "conv-pool-norm"),
        (1, 7, 17, 12, 128, 2, 1, 0, "up", None, CROSS, "conv-pool-norm"),
        (3, 32, 11, 12, 200, 3, 2, 1, "down", Pool(2, 1), None, "conv-pool-norm"),
        (1, 6, 40, 3, 24, 3, 3, 1, "up", Pool(3, 2), CROSS, "conv-pool-norm"),
    )
]  # fmt: skip


def _simply(sources, table, weight, bias, params, mean, scale, outputs):
    cuda_forward.run_simple(params, Operands(weight, bias, mean, scale), Work(sources, table, outputs))


@pytest.mark.parametrize("run", [_STAGED, _simply], ids=["staged", "simple"])
@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("params", VARIETY, ids=str)
def test_any_shape(params, dtype, run):
    params = _typed(params, dtype)
    x, weight, bias = operands(params)
    (result,) = _run([poisoned(x)], _whole(params), weight, bias, params, run=run)
    assert _error(result, _expected(x, weight, bias, params)) <= params.tolerance()


def _runs(params):
    """Whether the backend runs the problem; can_run would refuse, since no GPU is simulated during collection."""
    return params.options.groups == 1 and not isinstance(params.options.norm, SameMapNorm)


@pytest.mark.parametrize("params", [params for params in preset_problems(25) if _runs(params)], ids=str)
def test_every_presets_blocks(params):
    params = _typed(params, torch.float16)
    x, weight, bias = operands(params)
    if why := BACKENDS["cuda"].can_run(params, CPU):
        assert isinstance(params.options.norm, CrossMapNorm) and params.filters > 128, why
        return
    (result,) = _run([x], _whole(params), weight, bias, params)
    assert _error(result, _expected(x, weight, bias, params)) <= params.tolerance()


def _plain(x, weight, bias, params):
    """The block by torch's operations in the operands' dtype."""
    options = params.options
    y = F.conv2d(x, weight, bias, options.stride, options.padding).relu()
    y = F.max_pool2d(y, options.pool.size, options.pool.stride)
    return norms.forward(y, options.norm)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("channels", [3, 32])
def test_the_error_is_at_most_twice_that_of_torch_in_the_same_dtype(dtype, channels):
    norm = CrossMapNorm(5, 1e-2)
    params = _typed(problem(1, channels, 15, 15, 64, 5, padding=2, pool=POOL, norm=norm, rounding="down"), dtype)
    x, weight, bias = operands(params)
    (result,) = _run([x], _whole(params), weight, bias, params)
    expected = _expected(x, weight, bias, params)
    assert _error(result, expected) <= 2 * _error(_plain(x, weight, bias, params), expected) + torch.finfo(dtype).eps


def _four(plane):
    """The plane as the first three channels of four-channel pixels."""
    return poisoned(F.pad(plane, (0, 0, 0, 0, 0, 1), value=77))[:, :3]


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("layout", [lambda plane: plane, poisoned, _four], ids=["planar", "pixels of 3", "pixels of 4"])
def test_planes_enter_as_they_are_less_their_mean(dtype, layout):
    params = _typed(problem(5, 3, 23, 22, 8, 5, stride=2, pool=POOL, norm=CROSS, padding=1), dtype, source=torch.uint8)
    _, weight, bias = operands(replace(params, dtype=dtype))
    generator = torch.Generator().manual_seed(1)
    plane = torch.randint(0, 256, (2, 3, 29, 30), dtype=torch.uint8, generator=generator)
    windows = torch.tensor([[0, 0, 0], [0, 3, 5], [1, 6, 8], [1, 0, 7], [0, 3, 5]])
    table = of_windows(windows, 23, 22, **_geometry(params))
    mean, scale = (120.5, 99.0, 80.25), 1 / 64
    expected = torch.empty(params.out_shape, dtype=torch.float64)
    run_by("reference", [plane], table, weight.double(), bias.double(), _wide(params), mean, scale, [expected])
    (result,) = _run([layout(plane)], table, weight, bias, params, mean, scale)
    assert _error(result, expected) <= params.tolerance()


def test_pixels_of_four_halves_of_which_three_count():
    params = _typed(problem(1, 3, 23, 22, 8, 5, stride=2, pool=POOL, padding=1), torch.float16)
    x, weight, bias = operands(params)
    four = torch.cat([x, torch.full_like(x[:, :1], float("nan"))], 1).contiguous(memory_format=torch.channels_last)
    (result,) = _run([four[:, :3]], _whole(params), weight, bias, params)
    assert _error(result, _expected(x, weight, bias, params)) <= params.tolerance()


def test_several_sources_and_windows_at_their_corners():
    params = _typed(problem(4, 16, 9, 8, 12, 3, padding=1, pool=POOL, norm=CROSS), torch.float16)
    _, weight, bias = operands(params)
    generator = torch.Generator().manual_seed(3)
    sources = [torch.randn(2, 16, *extent, generator=generator).half() for extent in ((9, 20), (14, 9))]
    windows = torch.tensor([[1, 1, 5, 1], [0, 0, 0, 12], [0, 1, 0, 0], [1, 0, 0, 0]])
    table = of_windows(windows, 9, 8, **_geometry(params))
    (result,) = _run([poisoned(source) for source in sources], table, weight, bias, params)
    for i, (source, image, top, left) in enumerate(windows.tolist()):
        cut = sources[source][image : image + 1, :, top : top + 9, left : left + 8]
        assert _error(result[i : i + 1], _expected(cut, weight, bias, replace(params, images=1))) <= params.tolerance()


def test_alignment_is_that_of_every_source():
    params = _typed(problem(2, 16, 9, 8, 12, 3, padding=1, pool=POOL), torch.float16)
    _, weight, bias = operands(params)
    generator = torch.Generator().manual_seed(3)
    aligned, values = (torch.randn(1, 9, 8, 16, generator=generator).half() for _ in range(2))
    odd = torch.empty(values.numel() + 1, dtype=torch.float16)[1:].view_as(values).copy_(values)
    assert aligned.data_ptr() % 16 == 0 != odd.data_ptr() % 16
    table = of_windows(torch.tensor([[0, 0, 0, 0], [1, 0, 0, 0]]), 9, 8, **_geometry(params))
    (result,) = _run([aligned.permute(0, 3, 1, 2), odd.permute(0, 3, 1, 2)], table, weight, bias, params)
    x = torch.cat([aligned, values]).permute(0, 3, 1, 2)
    assert _error(result, _expected(x, weight, bias, params)) <= params.tolerance()


def test_one_region_emits_several_phases_to_several_places():
    params = _typed(problem(1, 16, 14, 15, 16, 3, pool=POOL, norm=CROSS), torch.float16)
    x, weight, bias = operands(params)
    offsets = ((0, 0), (1, 2), (3, 1))
    pieces = tuple(
        Piece(top, left, 3, 3, (Store(0, 0, 3, 3, i, 1, 2, 0), Store(1, 1, 2, 2, i, 0, 0, 1)))
        for i, (top, left) in enumerate(offsets)
    )
    table = RegionList.of([Region(0, 0, 0, 0, 14, 15, 0, 0, 12, 13, 0, 0, pieces)], [(2, 5, 3)] * 3)
    results = _run([x], table, weight, bias, params)
    for result, (top, left) in zip(results, offsets, strict=True):
        cut = x[:, :, top : top + 9, left : left + 9]
        expected = _expected(cut, weight, bias, replace(params, height=9, width=9))
        assert _error(result[1:, :, 2:], expected) <= params.tolerance()
        assert torch.equal(result[0, :, :2, 1:], result[1, :, 3:, 1:])
        assert result[0, :, 2:].isnan().all() and result[0, :, :, 0].isnan().all() and result[1, :, :2].isnan().all()


def _runnable(column):
    """The column with unsupported groups and norms replaced by supported ones."""
    blocks = (
        replace(block, groups=1, norm=CROSS if isinstance(block.norm, SameMapNorm) else block.norm) for block in column.blocks
    )
    return replace(column, blocks=tuple(blocks))


@pytest.mark.needs_engine
def test_a_plan_gives_bit_for_bit_what_brute_force_gives():
    shared = 0
    for seed, original, windows, plane, pixels in networks.cases(range(25)):
        column = _runnable(original)
        plan = share(column, windows, plane, "cuda")
        if plan.name != "sharing" or len(windows) > 6:
            continue
        expected = run_plan(column, brute_force(column, windows), pixels, torch.float16)
        assert torch.equal(run_plan(column, plan, pixels, torch.float16), expected), seed
        shared += 1
    assert shared >= 5


@pytest.mark.parametrize("blocks", [1, 3, 8])
def test_strips_and_thread_blocks_do_not_change_a_bit(blocks):
    """Strips below and beside each other, in one thread block or spread over several."""
    params = _typed(problem(2, 16, 50, 41, 16, 3, padding=1, pool=POOL, norm=CROSS), torch.float16)
    x, weight, bias = operands(params)
    (expected,) = _run([x], _whole(params), weight, bias, params)
    config = cuda_config.config_of(params)
    for columns in (28, 8):
        tile = replace(config, cols=columns, tiles=1 if columns == 8 else config.tiles)
        result, buffer = output(params.out_shape, torch.float16)
        prepared = cuda_forward.prepared(params, Operands(weight, bias), config=tile)
        launch(prepared.launch_of_work(Work([x], _whole(params), [result]), blocks))
        assert_untouched(buffer)
        assert torch.equal(result, expected)


@pytest.mark.parametrize("offset", [0, 1, 3, 8])
def test_outputs_may_start_anywhere(offset):
    params = _typed(problem(1, 16, 9, 8, 16, 3, pool=POOL), torch.float16)
    x, weight, bias = operands(params)
    (expected,) = _run([x], _whole(params), weight, bias, params)
    n, c, h, w = params.out_shape
    buffer = torch.full((expected.numel() + 16,), float("nan"), dtype=torch.float16)
    out = buffer[offset : offset + expected.numel()].view(n, h, w, c).permute(0, 3, 1, 2)
    run_by("cuda", [x], _whole(params), weight, bias, params, (), 1.0, [out])
    assert torch.equal(out, expected)
    assert buffer[:offset].isnan().all() and buffer[offset + expected.numel() :].isnan().all()


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("channels", [16, 8, 4])
@pytest.mark.parametrize("row", [4, 5])  # the last and the first row of some pool window, where no other row sees the NaN
def test_a_nan_is_never_lost_nor_found_elsewhere(row, channels, dtype):
    """Neither the ReLU nor a pool may replace a NaN by a number; where filters are padded with zeros it is not read."""
    params = _typed(problem(1, channels, 12, 13, 16, 3, pool=POOL, stride=2 if channels == 4 else 1), dtype)
    x, weight, bias = operands(params)
    x[0, 3, row, 6] = float("nan")
    result, _ = output(params.out_shape, dtype)
    result.zero_()
    run_by("cuda", [x], _whole(params), weight, bias, params, (), 1.0, [result])
    expected = _expected(x, weight, bias, params)
    assert expected.isnan().any() and not expected.isnan().all()
    assert torch.equal(result.isnan(), expected.isnan())


def test_addresses_beyond_32_bits():
    """A window at the far end of a plane of more than 2**31 bytes, whose memory is only reserved."""
    params = _typed(problem(1, 3, 8, 9, 4, 3, pool=POOL), torch.float16, source=torch.uint8)
    _, weight, bias = operands(replace(params, dtype=torch.float16))
    height, width = 26000, 27600
    plane = torch.from_numpy(np.zeros((1, height, width, 3), np.uint8)).permute(0, 3, 1, 2)  # torch.zeros writes them
    assert plane.numel() > 2**31
    corner = plane[:, :, -8:, -9:]
    corner.copy_(torch.randint(0, 256, corner.shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0)))
    table = of_windows(torch.tensor([[0, height - 8, width - 9]]), 8, 9, **_geometry(params))
    (result,) = _run([plane], table, weight, bias, replace(params, height=height, width=width))
    assert _error(result, _expected(corner, weight, bias, params)) <= params.tolerance()


@pytest.mark.parametrize("capability", [86, 89, 90, 100, 120])
def test_what_other_gpus_compile_to_gives_the_same(capability):
    params = _typed(problem(1, 64, 9, 10, 64, 5, padding=2, pool=POOL, norm=CROSS), torch.float16)
    x, weight, bias = operands(params)
    (expected,) = _run([x], _whole(params), weight, bias, params)
    with simulated(capability):
        (result,) = _run([x], _whole(params), weight, bias, params)
    assert torch.equal(result, expected)


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("channels", [3, 32])
def test_both_compilers_give_the_same(compiler, channels, tmp_path):
    params = _typed(problem(1, channels, 25, 26, 64, 5, stride=2, padding=2, pool=POOL, norm=CROSS), torch.float16)
    x, weight, bias = operands(params)
    (expected,) = _run([x], _whole(params), weight, bias, params)
    result, buffer = output(params.out_shape, torch.float16)
    prepared = cuda_forward.prepared(params, Operands(weight, bias))
    what = prepared.launch_of_work(Work([x], _whole(params), [result]), 4)
    code = ptx_by(compiler, sources(), what.kernel.source, what.constants, tmp_path)
    args = [what.args[name] for name in what.kernel.parameters]
    ptxsim.launch(
        code, what.kernel.name, what.grid, 32 * what.warps, args, shared=what.shared, buffers=[*what.reads, *what.writes],
        uninitialised=[result],
    )  # fmt: skip
    assert_untouched(buffer)
    assert torch.equal(result, expected)


def test_whole_images_through_the_public_function():
    params = _typed(problem(2, 16, 9, 8, 16, 3, padding=1, pool=POOL, norm=CROSS), torch.float16)
    x, weight, _ = operands(params)
    result = ops.block(x, weight, None, padding=1, pool=POOL, norm=CROSS)
    assert _error(result, _expected(x, weight, None, params)) <= params.tolerance()


@pytest.mark.parametrize("run", [_STAGED, _simply], ids=["staged", "simple"])
def test_torchs_defaults_change_nothing(run):
    """Tensors that the launch creates are float32 on the operands' device, whatever torch's defaults are."""
    params = _typed(problem(1, 3, 23, 22, 8, 5, stride=2, pool=POOL, norm=CROSS, padding=1), torch.float16, source=torch.uint8)
    _, weight, bias = operands(replace(params, dtype=torch.float16))
    plane = torch.randint(0, 256, (1, 3, 23, 22), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))

    def results():
        return [_run([plane], _whole(params), weight, each, params, (120.5, 99.0, 80.25), 1 / 64, run) for each in (bias, None)]

    expected = results()
    for dtype in (torch.float64, torch.bfloat16):
        torch.set_default_dtype(dtype)
        try:
            found = results()
        finally:
            torch.set_default_dtype(torch.float32)
        assert all(torch.equal(mine[0], theirs[0]) for mine, theirs in zip(found, expected, strict=True))


HALF = _typed(problem(1, 16, 9, 8, 16, 3, pool=POOL), torch.float16)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"weight_dtype": torch.float32, "out_dtype": torch.float32}, "takes uint8 or 16-bit sources"),
        ({"out_dtype": torch.float32}, "gives the weights' dtype"),
        ({"backward": True}, "has no backward"),
        ({"options": replace(HALF.options, precision="bf16")}, "multiplies fp16 as it is, not in bf16"),
        ({"options": replace(HALF.options, groups=2)}, "has no groups, this has 2"),
        ({"options": replace(HALF.options, norm=SameMapNorm(3))}, "no same-map norm"),
        ({"options": replace(HALF.options, norm=CROSS), "filters": 256}, "at most 128 maps, not 5 of 256"),
        ({"options": replace(HALF.options, norm=CrossMapNorm(99))}, "at most 33 of at most 128 maps, not 99 of 16"),
        ({"size": 40}, "too large for the CUDA C++ block"),
    ],
)
def test_what_it_cannot_do_it_refuses_in_a_sentence(change, sentence):
    refusal = BACKENDS["cuda"].can_run(replace(HALF, **change), CPU)
    assert refusal is not None and sentence in refusal


def test_older_gpus_are_refused():
    with simulated(75):
        assert "needs compute capability 8.0 or later, this is 7.5" in BACKENDS["cuda"].can_run(HALF, CPU)
