"""Launches that come again: a replay with other tables is the other image's run, bit for bit, in the PTX simulator."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from dcnn_fast.ops import CrossMapNorm, Pool, device_tables
from dcnn_fast.ops.block import prepare
from dcnn_fast.ops.block.backend import Work
from dcnn_fast.ops.block.cuda import forward_launch as cuda_forward
from dcnn_fast.ops.block.cuda.config import shared_out
from dcnn_fast.ops.block.params import problems_of
from dcnn_fast.ops.device_tables import AtOnce, Room, with_idle
from dcnn_fast.ops.launch import launched_by
from dcnn_fast.ops.recording import MOST, Recordings, plan_shape
from dcnn_fast.plan import brute_force, share
from dcnn_fast.spec import Block, Column
from tests.ops.guarded import assert_untouched
from tests.ops.on_cpu import kernels_on_cpu

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
        made.append(prepare(params, weight.to(dtype), bias.to(dtype), mean=mean, scale=scale))
        mean, scale = (), 1.0
    return made


def _launches_of(blocks, plan, plane, placer):
    """The launches of one image, and its last block's output between margins of NaN."""
    sources, launches = [plane], []
    for block, regions in zip(blocks, plan.blocks, strict=True):
        outputs, guards = [], []
        for images, rows, cols in regions.outputs:
            count = images * rows * cols * block.params.filters
            buffer = torch.full((count + 128,), torch.nan, dtype=block.params.out_dtype)
            outputs.append(buffer[64:-64].view(images, rows, cols, -1).permute(0, 3, 1, 2))
            guards.append(buffer)
        launches.append(block.launch_of(Work(sources, regions, outputs), placer))
        sources = outputs
    return launches, sources[0], guards


def _image(seed):
    """A plane of random pixels and three random windows of it."""
    rng = np.random.default_rng(seed)
    plane = torch.from_numpy(rng.integers(0, 256, (1, 40, 40, 3)).astype(np.uint8)).permute(0, 3, 1, 2)
    return plane, rng.integers(0, 17, (3, 2))


def _alone(blocks, plan, plane):
    launches, result, _ = _launches_of(blocks, plan, plane, AtOnce(CPU))
    Recordings(CPU, kept=False).run(launches)
    return result


@pytest.mark.parametrize("backend", ["cuda", "triton"])
@pytest.mark.parametrize("sharing", [False, True], ids=["brute-force", "sharing"])
def test_a_replay_with_another_images_tables_gives_that_images_bits(backend, sharing, monkeypatch):
    monkeypatch.setenv("DCNN_FAST_BACKEND", backend)
    monkeypatch.setattr(device_tables, "_STEPS", 1)  # so that few programs have idle ones beside them, too
    monkeypatch.setattr(cuda_forward, "_blocks", lambda *_: 5)
    idle = 0
    with kernels_on_cpu():
        blocks, room, recordings, shapes = _blocks(torch.float16), Room(CPU), Recordings(CPU), set()
        for seed in range(6):
            plane, windows = _image(seed)
            plan = share(COLUMN, windows, (40, 40), "triton") if sharing else brute_force(COLUMN, windows)
            room.begin()
            launches, result, guards = _launches_of(blocks, plan, plane, room)
            shapes.add(plan_shape(launches))
            room.send()
            recordings.run(launches)
            assert_untouched(*guards)
            assert torch.equal(result, _alone(blocks, plan, plane)), seed
            for what, regions in zip(launches, plan.blocks, strict=True):
                programs = (
                    what.args["strips"][: what.args["count"]] if backend == "cuda" else what.args["tiles"][: what.grid[0]]
                )
                idle += int((programs[:, 0] == len(regions)).sum())
    assert idle
    assert len(shapes) <= (4 if sharing else 1)
    assert 1 <= len(recordings) <= len(shapes)


def test_a_replay_runs_what_ran_the_second_time_and_nothing_of_the_later_list_but_its_tables():
    ran = []
    with launched_by(ran.append):
        blocks, room, recordings = _blocks(torch.float16), Room(CPU), Recordings(CPU)
        lists = []
        for seed in range(3):
            plane, windows = _image(seed)
            room.begin()
            launches, _, _ = _launches_of(blocks, brute_force(COLUMN, windows), plane, room)
            room.send()
            recordings.run(launches)
            lists.append(launches)
    assert all(a is b for a, b in zip(ran[:4], lists[0] + lists[1], strict=True))
    for kept, replayed, own in zip(lists[1], ran[4:], lists[2], strict=True):
        assert replayed.args is kept.args and replayed.args is not own.args
        assert list(map(id, replayed.writes)) == list(map(id, own.writes))


def test_nothing_is_allocated_copied_or_computed_between_the_first_launch_and_the_last():
    class Nothing(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            raise AssertionError(f"{func} between launches")

    with launched_by(lambda _: None):
        blocks, room, recordings = _blocks(torch.float32), Room(CPU), Recordings(CPU)
        for seed in (0, 0, 0, 1):
            plane, windows = _image(seed)
            room.begin()
            launches, _, _ = _launches_of(blocks, share(COLUMN, windows, (40, 40), "triton"), plane, room)
            room.send()
            with Nothing():
                recordings.run(launches)
    assert len(recordings) == 1


def test_what_differs_outside_tables_is_another_shape_and_the_oldest_is_forgotten():
    ran = []
    with launched_by(ran.append):
        plane, windows = _image(0)
        blocks, room, recordings = _blocks(torch.float16), Room(CPU), Recordings(CPU)
        room.begin()
        (first, _), *_ = _launches_of(blocks, brute_force(COLUMN, windows), plane, room)
        other = [
            replace(first, grid=(first.grid[0] + 1, 1)), replace(first, constants={**first.constants, "SIZE": 7}),
            replace(first, args={**first.args, "scale": 0.5}), replace(first, args={**first.args, "bias": torch.zeros(16)}),
            replace(first, shared=first.shared + 16), replace(first, warps=8),
        ]  # fmt: skip
        shapes = {plan_shape([what]) for what in (first, *other)}
        assert len(shapes) == 7
        assert plan_shape([replace(first, reads=(), writes=())]) in shapes
        for number in range(MOST + 5):
            for _ in range(2):
                recordings.run([replace(first, args={**first.args, "scale": float(number)})])
        assert len(recordings) == MOST
        assert len(ran) == 2 * (MOST + 5)


def test_steps_that_are_no_launches_run_in_order_and_are_not_kept():
    ran = []
    with launched_by(lambda what: ran.append("launch")):
        plane, windows = _image(0)
        (first, second), *_ = _launches_of(_blocks(torch.float16), brute_force(COLUMN, windows), plane, AtOnce(CPU))
        recordings = Recordings(CPU)
        for _ in range(3):
            recordings.run([first, lambda: ran.append("step"), second])
    assert ran == ["launch", "step", "launch"] * 3
    assert len(recordings) == 0


def test_tables_lie_where_the_last_ones_lay_unless_they_are_larger():
    room, places = Room(CPU), []
    for rows in (96, 90, 3, 97, 128, 129, 1):
        room.begin()
        tables = {
            "tiles": torch.arange(4 * rows).reshape(rows, 4), "wide": torch.full((rows, 4), 7, dtype=torch.int32),
            "odd": torch.arange(rows, dtype=torch.uint8).reshape(-1, 1),
        }  # fmt: skip
        placed = room.place(tables)
        room.send()
        places.append([table.data_ptr() for table in placed.values()])
        for name, table in tables.items():
            assert placed[name].dtype == table.dtype and torch.equal(placed[name][:rows], table), name
    assert all(place == places[0] for place in places[:5])
    assert places[5] != places[0] and places[6] == places[5]
    assert all((place - places[0][0]) % 128 == 0 for place in places[0])


def test_a_room_grows_by_further_memory_and_leaves_what_is_there_where_it_is():
    room = Room(CPU)
    room.begin()
    small = room.place({"a": torch.arange(1000)})["a"]
    large = room.place({"b": torch.arange(2**21)})["b"]  # 16 MiB: larger than the next few pieces
    after = room.place({"c": torch.arange(5)})["c"]
    room.send()
    assert torch.equal(small[:1000], torch.arange(1000)) and torch.equal(large, torch.arange(2**21))
    assert torch.equal(after[:5], torch.arange(5))
    room.begin()
    again = room.place({"a": torch.arange(1000, 2000)})["a"]
    room.send()
    assert again.data_ptr() == small.data_ptr() and torch.equal(small[:1000], torch.arange(1000, 2000))


def test_tables_at_once_are_as_long_as_they_are_and_aligned():
    tables = {
        "a": torch.arange(7).reshape(7, 1),
        "none": torch.zeros(0, 8, dtype=torch.int64),
        "b": torch.ones(3, dtype=torch.uint8),
    }
    placed = AtOnce(CPU).place(tables)
    for name, table in tables.items():
        assert torch.equal(placed[name], table), name
    assert (placed["b"].data_ptr() - placed["a"].data_ptr()) % 128 == 0


def test_programs_without_work_make_few_different_numbers_of_them():
    counts = []
    for count in range(1, 3000):
        programs = with_idle(torch.ones(count, 3, dtype=torch.int64), (9, 0, 0))
        assert count <= len(programs) < max(1.125 * count, count + 1)
        assert (programs[:count] == 1).all() and (programs[count:] == torch.tensor([9, 0, 0])).all()
        counts.append(len(programs))
    assert counts == sorted(counts) and len(set(counts)) <= 16 + 8 * 8
    assert len(with_idle(torch.ones(0, 3, dtype=torch.int64), (9, 0, 0))) == 0


@pytest.mark.parametrize("count", [0, 1, 4, 5, 6, 23, 40])
def test_every_thread_block_keeps_its_strips_when_idle_ones_come_between(count):
    strips = torch.arange(8 * count).reshape(count, 8) % 7
    found = shared_out(strips, 5, 7)
    assert len(found) % 5 == 0
    for block in range(5):
        own = found[len(found) * block // 5 : len(found) * (block + 1) // 5]
        assert torch.equal(own[own[:, 0] != 7], strips[count * block // 5 : count * (block + 1) // 5])
        assert (own[:, 0] == 7).sum() <= 1 or count < 5
