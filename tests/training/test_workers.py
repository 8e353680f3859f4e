"""Processes that decode: their results, and that their death at any moment is an error and never a hang."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from dcnn_fast.training.workers import WorkerError, work
from tests import warm

ROOT = Path(__file__).parents[2]


def made(number):
    return number, np.full((300, 7), number, np.uint8), np.arange(number)


def slow_to_hand_over(number):
    """A result larger than any pipe's buffer, so that its worker waits in mid-write for the reader."""
    return np.full(2**23, number, np.uint8)


@pytest.mark.parametrize("workers", [1, 2, 3, 9])
def test_results_come_whole_and_in_order(workers):
    results = list(work(made, range(7), workers))
    assert [number for number, _, _ in results] == list(range(7))
    for number, full, counted in results:
        assert full.shape == (300, 7) and (full == number).all() and counted.tolist() == list(range(number))
        full[0] = 3  # the receiver owns the arrays
    assert list(work(made, [], workers)) == []


def killed(number):
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def failing(number):
    return [0, 1, 2][number]


@pytest.mark.parametrize(
    ("make", "before", "why"),
    [
        (killed, 3, r"worker process \d+ was ended by SIGKILL, as when memory is short: fewer workers need less"),
        (failing, 3, r"worker process \d+ failed: IndexError: list index out of range"),
    ],
)
def test_a_worker_that_dies_or_fails_is_an_error(make, before, why):
    coming = work(make, range(6), 2)
    assert [next(coming) for _ in range(before)] == list(range(before))
    with pytest.raises(WorkerError, match=why):
        list(coming)
    assert not multiprocessing.active_children()


def test_a_worker_that_dies_while_it_hands_over_is_an_error():
    """Its results are cut short; the other worker holds no end of its pipe, which would keep the reader waiting."""
    coming = work(slow_to_hand_over, range(8), 2)
    next(coming)
    for process in multiprocessing.active_children():
        os.kill(process.pid, signal.SIGKILL)
    with pytest.raises(WorkerError, match="was ended by SIGKILL"):
        list(coming)


def test_a_reader_that_leaves_ends_the_workers():
    coming = work(slow_to_hand_over, range(8), 2)
    next(coming)
    coming.close()
    assert not multiprocessing.active_children()


def test_workers_end_with_the_process_that_started_them(tmp_path):
    code = f"""
import multiprocessing, pathlib
from tests.training.test_workers import slow_to_hand_over, work
coming = work(slow_to_hand_over, range(1000), 2)
next(coming)
pathlib.Path({str(tmp_path / "pids")!r}).write_text(" ".join(str(p.pid) for p in multiprocessing.active_children()))
import os, signal
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert warm.run(code, cwd=ROOT).returncode == -signal.SIGKILL
    for pid in (tmp_path / "pids").read_text().split():
        status = Path(f"/proc/{pid}/stat")
        while status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z":
            time.sleep(0.01)


def test_nothing_needs_shared_memory():
    code = "from tests.training import test_workers as t; print(len(list(t.work(t.slow_to_hand_over, range(5), 2))))"
    command = [sys.executable, "-m", "tests.training.small_shm", sys.executable, "-c", code]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert found.stdout == "5\n", found.stderr
