"""Mini-batches: the order, the windows, the flips, unreadable photographs, and the processes that decode."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dcnn_fast.data import Example
from dcnn_fast.nets import Input
from dcnn_fast.ops import views
from dcnn_fast.training.mini_batches import Cases, Draws, Request, cut_planes, epoch_order, load
from dcnn_fast.training.photographs import Picture, Pictures, means
from tests.training import sets

ROOT = Path(__file__).parents[2]
INPUTS = (Input("local:0", "local", 32, 24), Input("warp:0", "warp", 32, 24))


def draws(count=6, **options):
    decoded = options.pop("decoded", False)
    return Draws(Pictures([sets.example(i) for i in range(count)], INPUTS, decoded=decoded), **{"seed": 3, **options})


def windows(cases):
    return cases.on(torch.device("cpu"), INPUTS)


def test_an_epochs_order_is_a_permutation_of_its_own():
    orders = [epoch_order(0, epoch, 100) for epoch in range(3)] + [epoch_order(1, 0, 100)]
    for order in orders:
        assert sorted(order) == list(range(100))
    assert len({tuple(order) for order in orders}) == 4
    assert (epoch_order(0, 0, 100) == orders[0]).all()


def test_windows_are_cut_from_the_planes_that_scoring_uses():
    ours = draws()
    cases = ours[Request(0, (4, 1))]
    for batch, wanted in zip(windows(cases), INPUTS, strict=True):
        assert batch.shape == (2, 3, 24, 24) and batch.dtype == torch.uint8
        for window, number in zip(batch, (4, 1), strict=True):
            plane = views.plane(ours.pictures.examples[number].source, wanted.view, 32).pixels
            places = [(t, l) for t in range(plane.shape[0] - 23) for l in range(plane.shape[1] - 23)]
            found = window.permute(1, 2, 0).numpy()
            assert any((plane[t : t + 24, l : l + 24] == found).all() for t, l in places)


def test_windows_depend_on_epoch_example_and_column_and_on_nothing_else():
    ours = draws()
    together, alone = windows(ours[Request(0, (0, 1, 2))]), windows(ours[Request(0, (2,))])
    for a, b in zip(together, alone, strict=True):
        assert torch.equal(a[2:], b)
    assert not torch.equal(windows(ours[Request(1, (2,))])[0], alone[0])
    assert not torch.equal(windows(draws(seed=4)[Request(0, (2,))])[0], alone[0])


def test_every_offset_comes_up_over_the_epochs():
    ours = draws(1)
    found = {window.numpy().tobytes() for epoch in range(800) for window in windows(ours[Request(epoch, (0,))])[1]}
    assert len(found) == 9 * 9


def test_a_flip_is_the_same_for_all_columns_and_half_of_them_happen():
    plain, flipped = draws(40), draws(40, flip=True)
    request = Request(0, tuple(range(40)))
    turned = []
    for a, b in zip(windows(plain[request]), windows(flipped[request]), strict=True):
        same, mirrored = (a == b).flatten(1).all(dim=1), (a.flip(3) == b).flatten(1).all(dim=1)
        assert (same ^ mirrored).all()
        turned.append(mirrored)
    assert torch.equal(*turned)
    assert 8 <= turned[0].sum() <= 32
    still = Request(None, tuple(range(40)))
    for a, b in zip(windows(plain[still]), windows(flipped[still]), strict=True):
        assert torch.equal(a, b)  # the evaluation never flips


def test_the_evaluation_sees_several_windows_always_the_same():
    ours = draws(samples=5)
    first, again = windows(ours[Request(None, (1, 2))]), windows(ours[Request(None, (2,))])
    for a, b in zip(first, again, strict=True):
        assert a.shape[0] == 10 and torch.equal(a[5:], b)
        assert len({window.numpy().tobytes() for window in b}) > 1


def test_decoded_photographs_give_the_same_windows_as_planes():
    """The photographs that a device would cut, in one tensor, cut on the cpu."""
    request = Request(2, (3, 0, 5))
    for a, b in zip(windows(draws(flip=True)[request]), windows(draws(flip=True, decoded=True)[request]), strict=True):
        assert torch.equal(a, b)


def test_planes_are_cut_flipped_and_repeated():
    picture = Picture(np.arange(32 * 32 * 3).reshape(32, 32, 3).astype(np.uint8))
    one, other, again = cut_planes([picture], INPUTS[1], [(0, 1, 2, False), (0, 1, 2, True), (0, 1, 2, False)])
    assert (one == picture.photo[1:25, 2:26]).all()
    assert (one[:, ::-1] == other).all() and (one == again).all()


def test_nothing_changes_with_the_number_of_workers(tmp_path):
    examples = []
    for i in range(7):
        Image.fromarray(sets.example(i).source).save(tmp_path / f"{i}.png")
        examples.append(Example(str(tmp_path / f"{i}.png"), f"{i}", 0))
    (tmp_path / "3.png").write_bytes(b"not a picture")
    requests = [Request(epoch, (3, epoch, 6)) for epoch in range(3)]
    for decoded in (False, True):
        ours = Draws(Pictures(examples, INPUTS, decoded=decoded), seed=0, flip=True)
        alone, helped = list(load(ours, requests)), list(load(ours, requests, workers=2))
        for a, b in zip(alone, helped, strict=True):
            assert a.numbers == b.numbers and a.bad == b.bad == ((3, "not an image of a known format"),)
            assert all(torch.equal(x, y) for x, y in zip(windows(a), windows(b), strict=True))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_the_workers_at_work(number):
    """A signal from a terminal or a batch system reaches the workers too."""
    coming = load(draws(), [Request(epoch, (0, 1)) for epoch in range(40)], workers=2)
    for _ in range(6):
        next(coming)  # both workers have begun
    for process in multiprocessing.active_children():
        os.kill(process.pid, number)
    assert len(list(coming)) == 34


@pytest.mark.parametrize("decoded", [False, True])
def test_what_cannot_be_read_is_named_and_left_out(decoded):
    examples = [sets.example(0), sets.example(1, source="/nowhere.jpg"), sets.example(2, source=np.zeros((0, 3, 3), np.uint8))]
    cases = Draws(Pictures(examples, INPUTS, decoded=decoded), seed=0)[Request(0, (0, 1, 2))]
    assert cases.numbers == (0,) and len(windows(cases)[0]) == 1
    assert cases.bad[0] == (1, "no such file") and cases.bad[1][0] == 2
    nothing = Draws(Pictures(examples, INPUTS, decoded=decoded), seed=0)[Request(0, (1,))]
    assert isinstance(nothing, Cases) and nothing.numbers == ()


@pytest.mark.parametrize("decoded", [False, True])
def test_what_is_held_in_memory_is_not_read_again(tmp_path, decoded):
    path = tmp_path / "a.png"
    Image.fromarray(sets.example(0).source).save(path)
    pictures = Pictures([Example(path, "a", 0), Example("/nowhere.png", "b", 1)], INPUTS, decoded=decoded)
    before = windows(Draws(pictures, seed=0)[Request(0, (0,))])
    assert pictures.hold(1) == 1
    path.unlink()
    after = windows(Draws(pictures, seed=0)[Request(0, (0,))])
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_the_memory_that_is_held_is_bounded():
    big = [Example(np.zeros((512, 512, 3), np.uint8), str(i), 0) for i in range(4)]  # 0.75 MB each, as local planes
    assert Pictures(big, INPUTS[:1]).hold(2) == 2


def test_the_mean_is_that_of_the_planes_each_picture_weighing_the_same():
    examples = [sets.example(i) for i in range(5)] + [sets.example(9, source="/nowhere.png")]
    found = means(Pictures(examples, INPUTS), 100, seed=0)
    for wanted in INPUTS:
        planes = [views.plane(e.source, wanted.view, 32).pixels.astype(float) for e in examples[:5]]
        assert found[wanted.view, 32] == pytest.approx(np.mean([plane.mean(axis=(0, 1)) for plane in planes], axis=0))
    assert means(Pictures(examples, INPUTS, decoded=True), 100, seed=0) == found
    assert means(Pictures(examples, INPUTS), 2, seed=0) != found
    with pytest.raises(ValueError, match="got none of 1 that is"):
        means(Pictures(examples[5:], INPUTS), 100, seed=0)


@pytest.mark.parametrize("decoded", [False, True])
def test_workers_work_after_torchs_threads_have_run(decoded):
    """A fork copies one thread: waiting for another in the child would never end."""
    torch.set_num_threads(2)
    torch.rand(500, 500) @ torch.rand(500, 500)
    torch.zeros(2**22).add_(1)
    big = [sets.example(i, source=np.full((900, 1200, 3), i, np.uint8)) for i in range(4)]
    ours = Draws(Pictures(big, INPUTS, decoded=decoded), seed=0)
    assert [cases.numbers for cases in load(ours, [Request(0, (0, 1)), Request(0, (2, 3))], workers=2)] == [(0, 1), (2, 3)]


@pytest.mark.parametrize("decoded", [False, True])
def test_workers_need_no_shared_memory(decoded):
    """Docker gives 64 MB by default; with too little shared memory a run must not hang."""
    code = (
        "from tests.training.test_mini_batches import draws, load, Request\n"
        f"requests = [Request(epoch, tuple(range(40))) for epoch in range(4)]\n"
        f"print(sum(len(cases.numbers) for cases in load(draws(40, decoded={decoded}), requests, workers=2)))"
    )
    command = [sys.executable, "-m", "tests.training.small_shm", sys.executable, "-c", code]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert found.stdout == "160\n", found.stderr
