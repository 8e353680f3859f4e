"""A run interrupted at any moment, also by SIGKILL during a write, ends like an uninterrupted one."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from dcnn_fast.nets import Input
from dcnn_fast.training import CheckpointError, Settings, train
from dcnn_fast.training.checkpoint import load_checkpoint
from tests import warm
from tests.training import sets
from tests.training.run_program import SETTINGS

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def program(out, *options, wait=True, python=None):
    """Start run_program.py as a separate process, by `warm.python()` unless another Python is named."""
    command = [python or warm.python(), "-c", "from tests.training.run_program import main; main()", out, *options]
    process = subprocess.Popen(
        list(map(str, command)), cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    if wait:
        process.communicate(timeout=120)
    return process


def assert_same_run(one, other):
    for name in ("checkpoint.safetensors", "last.safetensors", "best.safetensors", "log.csv"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    for name in ("checkpoint", "last", "best"):
        a, b = (load_file(out / f"{name}.safetensors") for out in (one, other))
        assert a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a), name
    states = [load_checkpoint(out / "checkpoint.safetensors").progress for out in (one, other)]
    assert sets.without_times(states[0].history) == sets.without_times(states[1].history)


def test_killed_in_the_middle_of_writing_it_ends_the_same(tmp_path):
    """An epoch writes three checkpoints, its model if it is the best, one more checkpoint and the log; each process is
    killed while one of them is written, or just before it gets its name."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train(sets.net(), sets.data_set(), SETTINGS, whole)
    for number, moment in ((3, "writing"), (4, "written"), (4, "writing")):
        process = program(broken, "--resume", "--kill", number, "--moment", moment)
        assert process.returncode == -signal.SIGKILL
    train(sets.net(seed=9), sets.data_set(), SETTINGS, broken, resume=True, workers=1)
    assert_same_run(whole, broken)
    with open(broken / "log.csv", newline="") as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2", "3"]


def test_killed_at_any_moment_it_ends_the_same(tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    settings = replace(SETTINGS, epochs=12)
    train(sets.net(), sets.data_set(), settings, whole)
    process = program(broken, "--resume", "--epochs", 12, wait=False)
    while not (broken / "checkpoint.safetensors").exists():
        assert process.poll() is None
        time.sleep(0.01)
    time.sleep(0.1)
    process.kill()
    process.communicate()
    stopped = load_checkpoint(broken / "checkpoint.safetensors").progress
    assert stopped.epoch < 12
    train(sets.net(seed=9), sets.data_set(), settings, broken, resume=True)
    assert_same_run(whole, broken)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_finishes_the_step_and_leaves_a_checkpoint(tmp_path, number):
    options = ("--epochs", 1000, "--workers", 1)
    process = program(tmp_path / "run", *options, wait=False, python=sys.executable)  # leads its own process group
    while not (tmp_path / "run" / "best.safetensors").exists():
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, number)  # like a terminal or a batch system, also to the workers
    _, errors = process.communicate(timeout=60)
    assert process.returncode in (130, -signal.SIGINT) and "KeyboardInterrupt" in errors
    assert "DataLoader" not in errors
    stopped = load_checkpoint(tmp_path / "run" / "checkpoint.safetensors").progress
    outcome = train(
        sets.net(), sets.data_set(), replace(SETTINGS, epochs=stopped.epoch + 1), tmp_path / "again", tensorboard=True
    )  # fmt: skip
    assert sets.without_times(outcome.history)[: stopped.epoch] == sets.without_times(stopped.history)


def test_a_run_grows_by_epochs(tmp_path):
    train(sets.net(), sets.data_set(), SETTINGS, tmp_path / "whole")
    train(sets.net(), sets.data_set(), replace(SETTINGS, epochs=1), tmp_path / "grown")
    outcome = train(sets.net(), sets.data_set(), SETTINGS, tmp_path / "grown", resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "grown")
    again = train(sets.net(seed=5), sets.data_set(), SETTINGS, tmp_path / "grown", resume=True)
    assert again == outcome  # nothing left to do


def test_fp16_keeps_its_loss_scale(tmp_path):
    settings = Settings(epochs=2, batch=16, precision="fp16")
    train(sets.net(), sets.data_set(), settings, tmp_path / "whole")
    train(sets.net(), sets.data_set(), replace(settings, epochs=1), tmp_path / "grown")
    train(sets.net(), sets.data_set(), settings, tmp_path / "grown", resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "grown")


def test_a_run_is_not_written_over_nor_resumed_with_something_else(tmp_path):
    data = sets.data_set(8, 0)
    settings = Settings(epochs=1, batch=8)
    train(sets.net(), data, settings, tmp_path)
    with pytest.raises(CheckpointError, match="out must not hold a run unless it is to be resumed"):
        train(sets.net(), data, settings, tmp_path)
    with pytest.raises(CheckpointError, match=r"cannot be resumed: batch was 8 and is 4; rate was 0.001 and is 0.1"):
        train(sets.net(), data, replace(settings, batch=4, rate=0.1), tmp_path, resume=True)
    with pytest.raises(CheckpointError, match=r"resumed: training photographs: 8 \(\w+\) before, 9 \(\w+\) now$"):
        train(sets.net(), sets.data_set(9, 0), settings, tmp_path, resume=True)
    with pytest.raises(CheckpointError, match=r"resumed: held-out photographs: 0 \(\w+\) before, 2 \(\w+\) now$"):
        train(sets.net(), sets.data_set(8, 2), settings, tmp_path, resume=True)
    with pytest.raises(CheckpointError, match=r"resumed: columns: \w+ before, \w+ now$"):
        train(sets.net(views=("warp", "local")), data, settings, tmp_path, resume=True)
    with pytest.raises(CheckpointError, match=r"resumed: columns: \w+ before, \w+ now$"):
        train(sets.net(dropout=0.1), data, settings, tmp_path, resume=True)


def test_another_modules_weights_are_refused(tmp_path):
    class Plain(torch.nn.Linear):
        inputs = (Input("warp:0", "warp", 4, 4),)

        def forward(self, windows):
            return super().forward(windows.flatten(1).float() / 255)

    data, settings = sets.data_set(8, 0), Settings(epochs=1, batch=8)
    train(Plain(48, 2), data, settings, tmp_path)
    with pytest.raises(CheckpointError, match=r"same network; missing \[\], different .*'net.bias'"):
        train(Plain(48, 3), data, replace(settings, epochs=2), tmp_path, resume=True)


@pytest.mark.parametrize("content", [b"", b"x" * 100, b"\x08\0\0\0\0\0\0\0{}      "])
def test_a_file_that_is_no_checkpoint_is_named(tmp_path, content):
    (tmp_path / "checkpoint.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"checkpoint\.safetensors: "):
        train(sets.net(), sets.data_set(8, 0), Settings(epochs=1), tmp_path, resume=True)


def test_two_runs_do_not_share_a_folder(tmp_path):
    process = program(tmp_path / "run", "--epochs", 1000, wait=False)
    while not (tmp_path / "run" / "checkpoint.safetensors").exists():
        assert process.poll() is None
        time.sleep(0.01)
    with pytest.raises(CheckpointError, match="out must not be in use by another run"):
        train(sets.net(), sets.data_set(), SETTINGS, tmp_path / "run", resume=True)
    process.kill()
    process.communicate()
