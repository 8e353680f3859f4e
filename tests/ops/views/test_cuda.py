"""Views in CUDA C++, as PTX in the simulator: Pillow's bytes for every view, size and kind of photograph, and its reads."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from ptxsim.errors import SimulationError

import ptxsim
from dcnn_fast.networks import VIEWS
from dcnn_fast.ops import views
from dcnn_fast.ops.backend import BackendError
from dcnn_fast.ops.cuda_compile import sources
from dcnn_fast.ops.gpus import SECTOR
from dcnn_fast.ops.launch import launch, launched_by
from dcnn_fast.ops.views import ViewParams, cpu, cuda
from dcnn_fast.ops.views.backend import Cutting
from dcnn_fast.ops.views.cuts import Cut, CutList
from devtools.simulated import simulated
from tests.ops import guarded
from tests.ops.cuda_copy import COMPILERS, planted, ptx_by
from tests.ops.guarded import assert_untouched
from tests.ops.on_cpu import kernels_on_cpu
from tests.ops.views.photos import among_ones

pytestmark = pytest.mark.gpu

SHAPES = [(1, 1), (7, 5), (63, 65), (300, 199), (1, 300), (300, 1), (100, 999), (479, 641), (225, 63)]
SIZE = 64


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def _outputs(cuts, dtype=torch.uint8):
    """For each cut a result filled with one bits or NaN, and its buffer with margins."""
    made = [guarded.output((cut.height, cut.width, 4), dtype) for cut in cuts]
    return [result for result, _ in made], [buffer for _, buffer in made]


def _vertical_first(params):
    """Whether Pillow 13 resizes vertically first and rounds in between: there the kernel is within a level of it."""
    lost = params.height - params.resized[0], params.width - params.resized[1]
    return lost[0] > 0 and lost[0] > 2 * lost[1]


def _assert_pillows(images, cuts, outputs, background=(255, 255, 255), mean=(), scale=1.0):
    expected = [torch.empty_like(output) for output in outputs]
    cpu.BACKEND.run(Cutting(images, cuts, expected, mean, scale, background))
    for cut, output, right in zip(cuts, outputs, expected, strict=True):
        assert (output[..., 3] == 0).all()
        if output.dtype == torch.uint8 and _vertical_first(cut.params):
            assert (output.int() - right.int()).abs().max() <= 1, cut
        else:
            assert torch.equal(output, right), cut


def _whole(images, view, size=SIZE):
    found = [ViewParams(*image.shape[:2], view, size) for image in images]
    return [Cut(i, params, 0, 0, *params.shape) for i, params in enumerate(found)]


@pytest.mark.parametrize("view", ["warp", "center", "pad"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_planes_of_a_batch_of_every_size_are_pillows_bytes(view, channels):
    images = [among_ones(*shape, channels) for shape in SHAPES]
    cuts = _whole(images, view)
    outputs, guards = _outputs(cuts)
    with kernels_on_cpu(80) as launches:
        cuda.BACKEND.run(Cutting(images, cuts, outputs, background=(10, 200, 30)))
    assert len(launches) == 1
    _assert_pillows(images, cuts, outputs, (10, 200, 30))
    assert_untouched(*guards)


def test_planes_of_256_and_of_all_kinds_at_once():
    images = [among_ones(301, 403), among_ones(90, 120, 1), among_ones(257, 258, 4)]
    kinds = [(0, "warp"), (1, "warp"), (0, "center"), (1, "local"), (2, "local")]
    params = [ViewParams(*images[i].shape[:2], view) for i, view in kinds]
    cuts = [Cut(i, one, 0, 0, *one.shape) for (i, _), one in zip(kinds, params, strict=True)]
    outputs, guards = _outputs(cuts)
    with kernels_on_cpu(89):
        cuda.BACKEND.run(Cutting(images, cuts, outputs))
    _assert_pillows(images, cuts, outputs)
    assert_untouched(*guards)


@pytest.mark.parametrize("shape", [(3, 12000), (2500, 2), (33, 6001)], ids=str)
def test_slivers_whose_filters_are_longer_than_a_part_of_a_row(shape):
    image = among_ones(*shape)
    cuts = _whole([image], "warp", 32)
    outputs, guards = _outputs(cuts)
    with kernels_on_cpu(80) as launches:
        cuda.BACKEND.run(Cutting([image], cuts, outputs))
    groups = launches[0][0].args["tiles"][:, 5]
    assert shape[1] < 6000 or groups[0] < 32
    _assert_pillows([image], cuts, outputs)
    assert_untouched(*guards)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_mean_and_scale_on_the_way(dtype):
    images = [among_ones(100, 91), among_ones(61, 100, 4)]
    cuts = [*_whole(images, "pad"), *_whole(images, "warp")]
    outputs, guards = _outputs(cuts, dtype)
    with kernels_on_cpu(80):
        cuda.BACKEND.run(Cutting(images, cuts, outputs, (120.5, 115.25, 99.0), 1 / 57))
    _assert_pillows(images, cuts, outputs, mean=(120.5, 115.25, 99.0), scale=1 / 57)
    assert_untouched(*guards)
    assert outputs[0][0, 0, 0] == torch.tensor(-120.5 / 57).to(dtype)


@pytest.mark.parametrize("shape", [(90, 70), (70, 120), (20, 31)], ids=str)
@pytest.mark.parametrize("view", VIEWS)
def test_windows_and_flips_of_every_view_at_its_corners_and_inside(view, shape):
    images = [among_ones(*shape), among_ones(*shape, 4, seed=1)]
    height, width = (side - 56 for side in ViewParams(*shape, view, SIZE).shape)
    places = [(0, 0, 0, False), (1, height, width, True), (0, height // 2, width, True), (1, height, width // 2, False)]
    kinds = {"size": SIZE, "window": 56, "dtype": torch.float16, "mean": (1.0, 2.0, 3.0), "scale": 0.5}
    expected = views.windows(images, view, places, **kinds)
    with kernels_on_cpu(86) as launches:
        found = views.windows(images, view, places, **kinds)
    assert len(launches) == 1
    assert found.shape == (4, 4, 56, 56)
    assert found.is_contiguous(memory_format=torch.channels_last)
    difference = (found.float() - expected.float()).abs().max()
    assert difference <= (0.5 if _vertical_first(ViewParams(*shape, view, SIZE)) else 0)
    plane = views.plane(cpu.without_alpha(images[0].numpy(), (255, 255, 255)), view, SIZE).pixels
    right = (torch.from_numpy(plane[:56, :56]).float() - torch.tensor([1.0, 2.0, 3.0])) * 0.5
    assert (found[0, :3].permute(1, 2, 0).float() - right).abs().max() <= 0.5


def test_local_windows_are_the_photographs_own_pixels():
    image = among_ones(75, 90)
    with kernels_on_cpu(80):
        found = views.windows([image], "local", [(0, 19, 33, False), (0, 19, 33, True)], size=SIZE, window=56)
    assert torch.equal(found[0, :3].permute(1, 2, 0), image[19:75, 33:89])
    assert torch.equal(found[1], found[0].flip(2))


def test_the_public_planes():
    images = [among_ones(70, 90), among_ones(20, 30, 1)]
    for view in VIEWS:
        expected = views.planes(images, view, size=SIZE)
        with kernels_on_cpu(80):
            found = views.planes(images, view, size=SIZE)
        assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))
        for image, plane in zip(images, found, strict=True):
            right = views.plane(cpu.without_alpha(image.numpy(), (0, 0, 0)), view, SIZE).pixels
            assert torch.equal(plane[:3].permute(1, 2, 0), torch.from_numpy(right))
    assert views.planes([], "warp") == []


@pytest.mark.parametrize("narrow", [False, True])
def test_rows_with_gaps_and_offsets_beyond_31_bits(narrow, tmp_path):
    """Six rows half a gigabyte apart; nothing in between may be read. The test detects 32-bit offsets."""
    pitch = 2**29 + 3
    apart = torch.from_numpy(np.zeros(5 * pitch + 64, np.uint8)).as_strided((6, 9, 3), (pitch, 3, 1), 13)
    apart[:] = among_ones(6, 9)
    cuts = _whole([apart], "warp", 16)
    outputs, guards = _outputs(cuts)
    change = ("static_cast<u64>(y + row) * cut.pitch", "static_cast<i32>((y + row) * cut.pitch)")
    folder = planted(tmp_path / "sources", "views/planes.cu", *change) if narrow else sources()
    what = cuda.launch_of(Cutting([apart], cuts, outputs))
    args = [what.args[name] for name in what.kernel.parameters]
    code = ptx_by("nvrtc", folder, what.kernel.source, what.constants, tmp_path)
    with pytest.raises(SimulationError, match="out of bounds") if narrow else nullcontext():
        ptxsim.launch(code, what.kernel.name, what.grid, 256, args, buffers=[*apart, *outputs])
    if not narrow:
        _assert_pillows([apart], cuts, outputs)
        assert_untouched(*guards)


@pytest.mark.parametrize("compiler", COMPILERS)
def test_both_compilers_give_the_same_bytes(compiler, tmp_path):
    images = [among_ones(100, 61), among_ones(61, 100, 4), among_ones(40, 40, 1)]
    cuts = _whole(images, "pad")
    outputs, _ = _outputs(cuts)
    what = cuda.launch_of(Cutting(images, cuts, outputs))
    args = [what.args[name] for name in what.kernel.parameters]
    code = ptx_by(compiler, sources(), what.kernel.source, what.constants, tmp_path)
    ptxsim.launch(code, what.kernel.name, what.grid, 256, args, buffers=[*what.reads, *what.writes], uninitialised=outputs)
    _assert_pillows(images, cuts, outputs)


@pytest.mark.parametrize(("shape", "channels"), [((479, 641), 3), ((600, 450), 4), ((500, 700), 1), ((300, 1900), 3)], ids=str)
@pytest.mark.parametrize("view", ["warp", "pad"])
def test_each_byte_of_a_photograph_is_read_about_once(shape, channels, view):
    image = among_ones(*shape, channels)
    cuts = _whole([image], view, 128)
    outputs, _ = _outputs(cuts)
    with simulated(80) as launches:
        cuda.BACKEND.run(Cutting([image], cuts, outputs))
    _, report = launches[0]
    ratio = report.unique_load_sectors * SECTOR / image.numel()
    print(f"{view} of {shape} x {channels}: {report.blocks} blocks read {ratio:.3f} of the photograph")
    assert ratio <= 1.25


@pytest.mark.parametrize(("channels", "view"), [(3, "warp"), (3, "center"), (4, "warp")])
def test_each_byte_of_a_photograph_of_50_megapixels_is_read_about_once(channels, view):
    """A middle block, which the others match to a row and a sector, reads its share and little more."""
    image = torch.from_numpy(np.zeros((5773, 8660, channels), np.uint8))
    params = ViewParams(5773, 8660, view)
    (output,), _ = _outputs([Cut(0, params, 0, 0, 256, 256)])
    what = cuda.launch_of(Cutting([image], [Cut(0, params, 0, 0, 256, 256)], [output]))
    tiles = what.args["tiles"]
    middle = tiles[len(tiles) // 2 : len(tiles) // 2 + 1].clone()
    with simulated(80) as launches:
        launch(replace(what, grid=(1,), args={**what.args, "tiles": middle}))
    _, report = launches[0]
    side = min(params.width, 5773) if view == "center" else params.width
    share = 5773 * side * channels * int(middle[0, 2] * middle[0, 4]) / 256**2
    ratio = report.unique_load_sectors * SECTOR / share
    used = _staged_share(report)
    print(f"{view} of 50 megapixels x {channels}: {len(tiles)} blocks read {ratio:.3f} of their share, {used:.3f} of sectors")
    assert 1 < ratio <= 1.25
    assert used >= 0.9
    assert len(tiles) >= 108


def _staged_share(report):
    """The used fraction of the sectors that the stage's loads request."""
    text = (sources() / "views/planes.cu").read_text().splitlines()
    (line,) = [i for i, code in enumerate(text, 1) if "kInside ? from[32 * i]" in code]
    loads = [counts for source, counts in report.by_source().items() if f"planes.cu:{line}" in source.split(" called")[0]]
    read, sectors = (sum(counts.get(name, 0) for counts in loads) for name in ("global_load_bytes", "global_load_sectors"))
    assert read > 0.5 * report.unique_load_sectors * SECTOR
    return read / (sectors * SECTOR)


def test_the_main_loop_has_no_bank_conflicts():
    image = among_ones(300, 400)
    cuts = _whole([image], "warp", SIZE)
    outputs, _ = _outputs(cuts)
    with simulated(80) as launches:
        cuda.BACKEND.run(Cutting([image], cuts, outputs))
    _, report = launches[0]
    print(f"{report.shared_wavefronts} wavefronts, {report.shared_ideal_wavefronts} without conflicts; {report.instructions}")
    assert report.shared_wavefronts <= 1.02 * report.shared_ideal_wavefronts


PLANTED = {
    "a missing barrier after staging": (
        "background, stage);\n            __syncthreads();",
        "background, stage);",
    ),
    "a missing barrier before staging": ("__syncthreads();  // the stage", "// the stage"),
    "a missing barrier before the rows are used": ("        __syncthreads();\n        i32 done", "        i32 done"),
    "a row too many": ("done < tile.row + tile.rows &&", "done <= tile.row + tile.rows &&"),
    "a row too few": ("= last.first + last.taps;", "= last.first + last.taps - 1;"),
    "a word read beyond the end": ("at + 4 <= high", "at <= high"),
    "a word read before the start": ("at >= low && at + 4", "at + 4"),
    "a tap too few": ("tap < place.taps", "tap + 1 < place.taps"),
    "a column too few": ("col < chunk.cols; col", "col + 1 < chunk.cols; col"),
    "rounding left out": ("min(sum >> kFraction, 255)", "min((sum - (1 << 21)) >> kFraction, 255)"),
    "a flip off by one": ("cut.out_width - 1 - col", "cut.out_width - col"),
    "the mean taken off after the scale": ("- norm.mean[c]) * norm.scale", "* norm.scale - norm.mean[c])"),
    "a lane's neighbour across requests": ("lane == 0 ? raw[i + 1] : raw[i]", "raw[i]"),
    "a ring of as many rows as are staged": ("i32 ring_rows = 4 * kRingWords / ring_pitch", "i32 ring_rows = tile.group"),
}


@pytest.mark.parametrize("bug", [None, *PLANTED])
def test_planted_bugs_are_caught(bug, tmp_path):
    """Bugs are planted in a copy of the kernel; with none planted the same check passes."""
    images = [among_ones(90, 230), among_ones(50, 40, 4), among_ones(30, 30, 1), among_ones(12, 1200)]
    cuts = [
        *_whole(images, "pad", 32),
        *_whole(images, "warp", 32)[3:],
        Cut(0, ViewParams(90, 230, "warp", 32), 3, 2, 24, 24, True),
    ]
    outputs, guards = _outputs(cuts, torch.float16)
    sources = None if bug is None else planted(tmp_path / "sources", "views/planes.cu", *PLANTED[bug])
    caught = False
    try:
        with simulated(80, sources):
            cuda.BACKEND.run(Cutting(images, cuts, outputs, (7.0, 8.0, 9.0), 0.5))
        _assert_pillows(images, cuts, outputs, mean=(7.0, 8.0, 9.0), scale=0.5)
        assert_untouched(*guards)
    except (SimulationError, AssertionError, ValueError) as error:
        caught = True
        print(f"{bug}: {str(error).splitlines()[0]}")
    assert caught == (bug is not None)


def test_extreme_sides_have_tiles_and_what_has_none_is_refused():
    with launched_by(lambda _: None):
        for shape in ((1, 2**20), (2**20, 1), (65535, 20), (20, 65535), (5773, 8660), (200_000, 3)):
            cuts = CutList(tuple(Cut(0, ViewParams(*shape, view), 0, 0, 256, 256) for view in ("warp", "center", "pad")))
            refusal = cuda.BACKEND.can_run(cuts, torch.device("cpu"))
            assert refusal is None or "too long" in refusal, refusal
            assert (refusal is None) == (max(shape) < 2**20), shape
    assert cuda.BACKEND.can_run(cuts, torch.device("cpu")) == "CUDA C++ kernels run on cuda, not on cpu"
    with launched_by(lambda _: None, 75):
        assert "compute capability" in cuda.BACKEND.can_run(cuts, torch.device("cpu"))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: views.planes([torch.zeros(4, 4, 3)], "warp"), "images must be uint8"),
        (lambda: views.planes([torch.zeros(4, 4, 2, dtype=torch.uint8)], "warp"), "images must be uint8"),
        (lambda: views.planes([torch.zeros(0, 4, 3, dtype=torch.uint8)], "warp"), "images must be uint8"),
        (lambda: views.planes([among_ones(4, 4)], "warp", mean=(1.0,)), "mean must be three numbers"),
        (lambda: views.planes([among_ones(4, 4)], "warp", dtype=torch.float32), "dtype must be"),
        (lambda: views.planes([among_ones(1, 9999)], "local"), "must not be so narrow"),
        (lambda: views.windows([among_ones(4, 4)], "warp", [(0, 33, 0, False)]), "places must be offsets from 0 to"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_forced_backend_that_cannot_run_is_an_error(monkeypatch):
    monkeypatch.setenv("DCNN_FAST_BACKEND", "cuda")
    with pytest.raises(BackendError, match="1 cut of 1 photograph: CUDA C"):
        views.planes([among_ones(4, 4)], "warp")
