"""The hand-staged CUDA C++ block with products of warp groups, its PTX for sm_90a run in the simulator."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from dcnn_fast.ops import Piece, Region, RegionList, Store, cuda_compile
from dcnn_fast.ops.block import explain
from dcnn_fast.ops.block.backend import Operands, Work
from dcnn_fast.ops.block.cuda import forward_launch as cuda_forward
from dcnn_fast.ops.block.cuda.config import config_of
from dcnn_fast.ops.block.cuda.warpgroup import by_warps, refused, tile_of, warpgroup_of
from dcnn_fast.ops.block.whole import whole_images
from dcnn_fast.ops.cuda_compile import CudaCompileError
from dcnn_fast.ops.gpus import CAPABILITIES, HOPPER, MULTIPROCESSORS
from dcnn_fast.ops.launch import launch
from devtools.simulated import simulated
from ptxsim import SimulationError
from tests.ops.block.problems import AVERAGE, CROSS, POOL, operands, preset_problems, problem, stated
from tests.ops.cuda_copy import planted
from tests.ops.guarded import assert_untouched, output, poisoned

pytestmark = pytest.mark.gpu


def _typed(params, dtype=torch.float16, source=None):
    return replace(params, dtype=source or dtype, weight_dtype=dtype, out_dtype=dtype)


def _results(params, operands_, source, table=None, *, config=None, blocks=2, capability=HOPPER, folder=None):
    """One launch's outputs, between canaries that must stay, and the name of the kernel."""
    torch.set_num_threads(1)
    table = table or whole_images(params)
    made = [output((images, params.filters, *extent), params.out_dtype) for images, *extent in table.outputs]
    prepared = cuda_forward.prepared(params, operands_, config=config or tile_of(params, capability))
    what = prepared.launch_of_work(Work([source], table, [tensor for tensor, _ in made]), blocks)
    with simulated(capability, sources=folder):
        launch(what)
    assert_untouched(*(buffer for _, buffer in made))
    if folder is None:  # the compiler reports products that wait for each other
        assert cuda_compile.compiled(what.kernel.source, what.constants, capability).log == ""
    return [tensor for tensor, _ in made], what.kernel.name


def _by_warps(params, operands_, source, table=None):
    """The same outputs by products of single warps (forward.cu), which sm_80's tests judge."""
    found, name = _results(params, operands_, source, table, config=config_of(params), capability=80)
    assert name == "block_fwd_strip_kernel"
    return found


def _judged(params):
    """Assert that a problem's results equal the reference's up to rounding and those of single warps exactly."""
    x, weight, bias = operands(params)
    source = poisoned(x) if params.channels > 4 else x
    (found,), name = _results(params, Operands(weight, bias), source)
    assert name == "block_fwd_warpgroup_kernel"
    expected = stated(x.double(), weight.double(), bias.double(), _typed(params, torch.float64))
    assert (found.double() - expected).abs().max() <= params.tolerance() * expected.abs().max()
    assert torch.equal(found, _by_warps(params, Operands(weight, bias), source)[0])


# More rows and columns than a step has, one and several rows of a product, both orders of the norm, several parts of
# filters, partly filled chunks of channels.
VARIETY = [
    problem(1, 64, 11, 13, 64, 5, padding=2, pool=POOL, norm=CROSS),
    problem(1, 24, 7, 62, 64, 3, padding=1, pool=POOL, norm=CROSS, order="conv-norm-pool"),
    problem(2, 16, 15, 16, 128, 3, stride=2, rounding="down"),
    problem(1, 16, 12, 14, 64, 3, padding=1, pool=AVERAGE, norm=CROSS),
]


@pytest.mark.parametrize("params", [_typed(VARIETY[0], torch.bfloat16), *map(_typed, VARIETY)], ids=str)
def test_any_shape(params):
    _judged(params)


def test_block_1_from_bytes_less_their_mean():
    params = _typed(problem(1, 3, 41, 47, 64, 11, stride=2, pool=POOL, norm=CROSS), source=torch.uint8)
    _, weight, bias = operands(replace(params, dtype=torch.float16))
    four = torch.randint(0, 256, (1, 41, 47, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    plane, mean, scale = four.permute(0, 3, 1, 2)[:, :3], (120.5, 99.0, 80.25), 1 / 64
    (found,), name = _results(params, Operands(weight, bias, mean, scale), plane)
    assert name == "block_fwd_warpgroup_kernel"
    x = (plane.double() - torch.tensor(mean).view(-1, 1, 1)) * scale
    expected = stated(x, weight.double(), bias.double(), _typed(params, torch.float64))
    assert (found.double() - expected).abs().max() <= params.tolerance() * expected.abs().max()
    assert torch.equal(found, _by_warps(params, Operands(weight, bias, mean, scale), plane)[0])


def test_regions_and_thread_blocks_do_not_change_a_bit():
    """A part of an image, and several of its phases, have the bits of the whole, on any number of thread blocks."""
    params = _typed(problem(1, 16, 26, 61, 64, 3, pool=POOL, norm=CROSS))
    x, weight, bias = operands(params)
    values = Operands(weight, bias)
    (whole,), _ = _results(params, values, x, blocks=1)
    again, _ = _results(params, values, x, blocks=5)
    assert torch.equal(again[0], whole)
    pieces = tuple(
        Piece(2 * top, 2 * left, 4, 5, (Store(0, 0, 4, 5, i, 0, 0, 0),)) for i, (top, left) in enumerate(((1, 2), (0, 9)))
    )
    table = RegionList.of([Region(0, 0, 0, 0, 26, 61, 4, 2, 13, 40, 0, 0, pieces)], [(1, 4, 5)] * 2)
    parts, _ = _results(params, values, x, table)
    for part, (top, left) in zip(parts, ((1, 2), (0, 9)), strict=True):
        assert torch.equal(part, whole[:, :, 2 + top : 6 + top, 1 + left : 6 + left])


def test_a_nan_reaches_its_own_results_alone():
    params = _typed(problem(1, 16, 12, 13, 64, 3, pool=POOL))
    x, weight, bias = operands(params)
    x[0, 3, 4, 6] = float("nan")
    (found,), _ = _results(params, Operands(weight, bias), x)
    expected = stated(x.double(), weight.double(), bias.double(), _typed(params, torch.float64))
    assert torch.equal(found.isnan(), expected.isnan()) and expected.isnan().any()


PLANTED = problem(1, 32, 6, 12, 64, 3, padding=1)
SMALL = replace(warpgroup_of(_typed(PLANTED)), pack=2, products=1, columns=56)  # the least code to compile
BUGS = {
    "no proxy fence": ("publish_to_tensor_cores();", "", "missing proxy fence"),
    "no wait for the products": ("wait_products();", "", "wgmma register touched before wait"),
    "a stage that nobody waits for": ("arrivals.wait(n);", "", "asynchronous copy read before wait"),
    "a stage sent for too early": ("wait_turn(used(n), parity(n) ^ 1);", "", "shared memory race"),
    "halves of the fragments swapped": ("a[STEP][1] = found[2];", "a[STEP][1] = found[1];", "numbers"),
    "columns beyond the strip kept": ("&& col < cols;", "&& col < cols + 1;", "shared memory race"),
}


@pytest.mark.parametrize("bug", BUGS)
def test_a_bug_is_caught(bug, tmp_path):
    before, after, caught = BUGS[bug]
    params = _typed(PLANTED)
    x, weight, bias = operands(params)
    folder = planted(tmp_path / "cuda", "block/warpgroup.cu", before, after)
    try:
        (found,), _ = _results(params, Operands(weight, bias), x, config=SMALL, folder=folder)
    except SimulationError as error:
        assert error.findings[0].kind == caught, error.findings[0]
        return
    expected = stated(x.double(), weight.double(), bias.double(), _typed(params, torch.float64))
    wrong = (found.double() - expected).abs().max() > params.tolerance() * expected.abs().max()
    assert caught == "numbers" and (wrong or found.isnan().any())


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"filters": 96}, "a warp group has 64 filters, and 96 are no multiple"),
        ({"filters": 128, "options": replace(PLANTED.options, norm=CROSS)}, "a norm across 128 maps needs all of them"),
        (
            {"channels": 3, "options": replace(PLANTED.options, stride=2)},
            "a filter row of 3 pixels of 4 channels fills no whole product",
        ),
        (
            {"channels": 8, "options": replace(PLANTED.options, stride=3)},
            "a stride of 3 puts the halves of a product unequally far",
        ),
        (
            {"options": replace(PLANTED.options, pool=AVERAGE, order="conv-pool-norm-relu")},
            "warp groups keep results behind their ReLU",
        ),
    ],
)
def test_what_it_refuses_single_warps_do(change, sentence):
    params = _typed(replace(PLANTED, **change))
    assert sentence in refused(params)
    assert warpgroup_of(params) is None and tile_of(params, HOPPER) == config_of(params)


def test_only_hopper_has_such_products_and_their_tiles_fit_it():
    for params in map(_typed, preset_problems(60)):
        found = warpgroup_of(params)
        assert found is None or found.shared <= MULTIPROCESSORS[HOPPER].shared_of_block
        assert found is None or tile_of(params, HOPPER) == (config_of(params) if by_warps(params) else found)
        assert all(tile_of(params, other) == config_of(params) for other in CAPABILITIES if other != HOPPER)


def test_the_name_of_the_precision_chooses_no_other_products():
    """16-bit operands are multiplied unrounded, whatever the precision's name."""
    for params in map(_typed, preset_problems(60)):
        named = (replace(params, options=replace(params.options, precision=name)) for name in ("ieee", "tf32", "fp16"))
        assert len({tile_of(each, HOPPER) for each in named}) == 1, str(params)
    assert any(by_warps(_typed(params)) for params in preset_problems(60))


class _Older:
    """NVRTC, but without support for sm_90a."""

    def __init__(self, library):
        self._library = library

    def __getattr__(self, name):
        return getattr(self._library, name)

    def nvrtcCompileProgram(self, program, count, options):  # noqa: N802 - the library's name
        unknown = any(option.endswith(b"sm_90a") for option in options[:count])
        return 5 if unknown else self._library.nvrtcCompileProgram(program, count, options)  # 5: an invalid option


@pytest.fixture
def older_compiler(monkeypatch, tmp_path):
    older = _Older(cuda_compile._library())
    monkeypatch.setattr(cuda_compile, "_library", lambda: older)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cuda_compile._knows_hoppers_own.cache_clear()
    yield
    cuda_compile._knows_hoppers_own.cache_clear()


def test_a_compiler_that_does_not_know_them_compiles_products_of_single_warps(older_compiler, caplog):
    params = _typed(PLANTED)
    x, weight, bias = operands(params)
    (found,), name = _results(params, Operands(weight, bias), x)
    assert name == "block_fwd_strip_kernel"
    assert torch.equal(found, _by_warps(params, Operands(weight, bias), x)[0])
    with simulated(HOPPER):
        answer = next(each for each in explain(params, torch.device("cpu")) if each.backend == "cuda")
    assert (answer.refusal, answer.kernel) == (None, "by products of warps (mma.sync)")
    (said,) = caplog.messages
    assert "does not know sm_90a: the CUDA C++ block multiplies by warps (mma.sync)" in said
    with pytest.raises(CudaCompileError, match="sm_90a"):  # the error that the caller avoids
        cuda_compile._compile("k.cu", {"k.cu": ""}, ("--gpu-architecture=sm_90a",))


def test_explain_names_the_kernel():
    params, device = _typed(PLANTED), torch.device("cpu")
    for capability, said in ((HOPPER, "by products of warp groups (wgmma)"), (80, "by products of warps (mma.sync)")):
        with simulated(capability):
            answer = next(each for each in explain(params, device) if each.backend == "cuda")
        assert (answer.refusal, answer.kernel) == (None, said)
