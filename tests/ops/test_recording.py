"""Recorded launches: a replay with another image's tables is that image's run, bit for bit, in the PTX simulator."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from dcnn_fast.networks import Block, Column
from dcnn_fast.ops import CrossMapNorm, Pool
from dcnn_fast.ops.block import prepare
from dcnn_fast.ops.block.cuda import forward_launch as cuda_forward
from dcnn_fast.ops.block.gpu.column import ColumnOnGpu
from dcnn_fast.ops.block.params import problems_of
from dcnn_fast.ops.device_tables import placed
from dcnn_fast.ops.launch import launch, launched_by
from dcnn_fast.ops.recording import MOST, Recordings
from dcnn_fast.ops.records import STRIP, TILE
from dcnn_fast.plan import brute_force, share
from tests.ops.on_cpu import kernels_on_cpu

pytestmark = pytest.mark.gpu

CPU = torch.device("cpu")
MEAN, SCALE = (120.5, 110.0, 100.0), 1 / 64
COLUMN = Column(
    "warp", (Block(16, 5, stride=2, pool=Pool(), norm=CrossMapNorm()), Block(16, 3, padding=1)), (4,), plane=40, window=24,
    mean=MEAN, scale=SCALE,
)  # fmt: skip


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def _blocks(dtype):
    """The column's blocks with seeded weights."""
    generator = torch.Generator().manual_seed(0)
    mean, scale, made = MEAN, SCALE, []
    for problem in problems_of(COLUMN):
        params = replace(problem, dtype=dtype if made else torch.uint8, weight_dtype=dtype, out_dtype=dtype)
        weight = torch.randn(params.filters, params.channels, params.size, params.size, generator=generator) * 0.1
        bias = torch.randn(params.filters, generator=generator) * 0.1
        block = prepare(params, weight.to(dtype), bias.to(dtype), mean=mean, scale=scale)
        made.append(block.launches)
        mean, scale = (), 1.0
    return made


def _image(seed, count=3):
    """A plane of random pixels and random windows of it."""
    rng = np.random.default_rng(seed)
    plane = torch.from_numpy(rng.integers(0, 256, (1, 40, 40, 3)).astype(np.uint8)).permute(0, 3, 1, 2)
    return plane, rng.integers(0, 17, (count, 2))


class _OneByOne:
    """A CUDA graph's stand-in: replays the launches exactly as recorded."""

    def __init__(self, launches):
        self._launches = launches

    def replay(self):
        for what in self._launches:
            launch(what)


def _alone(blocks, plan, plane):
    found = ColumnOnGpu(blocks, CPU, again=False).launches(plane, plan.blocks)
    Recordings(None).run(found.launches, found.shape)
    return found.result


@pytest.mark.parametrize("backend", ["cuda", "triton"])
@pytest.mark.parametrize("sharing", [False, True], ids=["brute-force", "sharing"])
def test_a_replay_with_another_images_tables_gives_that_images_bits(backend, sharing, monkeypatch):
    monkeypatch.setenv("DCNN_FAST_BACKEND", backend)
    monkeypatch.setattr(cuda_forward, "_blocks", lambda *_: 5)
    idle, memory = 0, []

    def simulated(what):
        """Run the launch on the current image's memory, also where an earlier image's launch is replayed."""
        with kernels_on_cpu():
            launch(replace(what, reads=memory, writes=memory))

    with kernels_on_cpu():
        blocks, recordings, shapes = _blocks(torch.float16), Recordings(_OneByOne), set()
        column = ColumnOnGpu(blocks, CPU)
    drawn = 17 if (backend, sharing) == ("triton", False) else 3  # enough for idle programs
    for seed in range(6):
        plane, windows = _image(seed, drawn)
        if sharing:  # two sets of windows with different numbers of regions
            windows = _image(seed % 2, drawn)[1]
        plan = share(COLUMN, windows, (40, 40), "triton", always=True) if sharing else brute_force(COLUMN, windows)
        with launched_by(simulated):
            found = column.launches(plane, plan.blocks)
            shapes.add(found.shape)
            memory[:] = [plane, found.result, *(tensor for what in found.launches for tensor in (*what.reads, *what.writes))]
            recordings.run(found.launches, found.shape)
        with kernels_on_cpu():
            assert torch.equal(found.result, _alone(blocks, plan, plane)), seed
        for what, regions in zip(found.launches, plan.blocks, strict=True):
            table, record = (what.args["strips"], STRIP) if backend == "cuda" else (what.args["tiles"], TILE)
            count, fields = what.args["count"] if backend == "cuda" else what.grid[0], len(record.names)
            idle += int((table[: count * fields].view(count, fields)[:, 0] == len(regions)).sum())
    assert idle or (backend, sharing) == ("triton", True)
    assert len(shapes) <= (4 if sharing else 2)  # 16 or 17 different windows
    assert 1 <= len(recordings) <= len(shapes)


def test_a_list_is_recorded_when_it_has_run_twice_and_replayed_from_then_on():
    ran, recorded = [], []

    def record(launches):
        recorded.append(launches)
        return _OneByOne(launches)

    with launched_by(ran.append):
        column, recordings, lists = ColumnOnGpu(_blocks(torch.float16), CPU), Recordings(record), []
        for seed in range(3):
            plane, windows = _image(seed)
            found = column.launches(plane, brute_force(COLUMN, windows).blocks)
            recordings.run(found.launches, found.shape)
            lists.append(found.launches)
    assert recorded == [lists[1]] and len(recordings) == 1
    assert all(a is b for a, b in zip(ran, (*lists[0], *lists[1], *lists[1]), strict=True))
    for first, later in zip(lists[0], lists[2], strict=True):  # only the memory that tables point to differs
        assert first.args is later.args and first.grid == later.grid and first.constants is later.constants


def test_nothing_is_allocated_copied_or_computed_between_the_first_launch_and_the_last():
    class Nothing(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            raise AssertionError(f"{func} between launches")

    with launched_by(lambda _: None):
        column, recordings = ColumnOnGpu(_blocks(torch.float32), CPU), Recordings(_OneByOne)
        for seed in (0, 0, 0, 1):
            plane, windows = _image(seed)
            found = column.launches(plane, share(COLUMN, windows, (40, 40), "triton").blocks)
            with Nothing():
                recordings.run(found.launches, found.shape)
    assert len(recordings) == 1


def test_other_programs_places_and_pixels_are_another_shape():
    with launched_by(lambda _: None):
        column = ColumnOnGpu(_blocks(torch.float16), CPU)
        plane, windows = _image(0)
        wide = torch.zeros(1, 40, 40, 4, dtype=torch.uint8).permute(0, 3, 1, 2)[:, :3]  # padded to four channels in memory
        one = column.launches(plane, brute_force(COLUMN, windows).blocks)
        again = column.launches(plane, brute_force(COLUMN, windows + 1).blocks)
        pixels = column.launches(wide, brute_force(COLUMN, windows).blocks)
        fewer = column.launches(plane, brute_force(COLUMN, windows[:1]).blocks)
        more = column.launches(plane, brute_force(COLUMN, np.stack([np.arange(17)] * 2, axis=1)).blocks)
        back = column.launches(plane, brute_force(COLUMN, windows).blocks)
    assert one.shape == again.shape
    assert len({one.shape, pixels.shape, fewer.shape, more.shape}) == 4
    assert back.shape != one.shape  # the tables have moved, and launches contain their addresses


def test_the_shape_that_came_first_is_forgotten_first():
    ran = []
    with launched_by(ran.append):
        recordings = Recordings(_OneByOne)
        plane, windows = _image(0)
        (first, _) = ColumnOnGpu(_blocks(torch.float16), CPU).launches(plane, brute_force(COLUMN, windows).blocks).launches
        for number in range(MOST + 5):
            for _ in range(2):
                recordings.run([first], number)
    assert len(recordings) == MOST
    assert len(ran) == 2 * (MOST + 5)


def test_regions_that_leave_their_source_are_refused_before_anything_is_launched():
    with launched_by(lambda _: pytest.fail("launched")):
        column = ColumnOnGpu(_blocks(torch.float16), CPU)
        plane, _ = _image(0)
        with pytest.raises(ValueError, match="regions: region 0"):
            column.launches(plane, brute_force(COLUMN, np.array([[30, 30]])).blocks)


def test_tables_of_one_launch_are_as_long_as_they_are_and_aligned():
    tables = {
        "a": torch.arange(7).reshape(7, 1),
        "none": torch.zeros(0, 8, dtype=torch.int64),
        "b": torch.ones(3, dtype=torch.uint8),
    }
    found = placed(tables, CPU)
    for name, table in tables.items():
        assert torch.equal(found[name], table), name
    assert (found["b"].data_ptr() - found["a"].data_ptr()) % 128 == 0
