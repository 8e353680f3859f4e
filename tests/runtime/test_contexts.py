"""Contexts are borrowed by one thread at a time, limited in number, and survive errors of their borrowers."""

from __future__ import annotations

import gc
import multiprocessing
import subprocess
import sys
import threading
from collections import defaultdict, deque
from weakref import finalize

import numpy as np
import pytest
import torch

from dcnn_fast import Scorer
from dcnn_fast.nets import Model, build
from dcnn_fast.ops.recording import beside_no_capture
from dcnn_fast.runtime import contexts as runtime_contexts
from dcnn_fast.runtime.contexts import Contexts, DeviceStream, close
from tests import small
from tests.ops.on_cpu import kernels_on_cpu


def test_at_most_so_many_are_made_and_each_is_one_threads():
    made, used, together = [], set(), threading.Barrier(2)
    contexts = Contexts(lambda: made.append(len(made)) or made[-1], 2)

    def work(meet):
        with contexts.borrowed() as mine:
            assert mine not in used
            used.add(mine)
            if meet:
                together.wait(30)
            used.remove(mine)

    threads = [threading.Thread(target=work, args=(i < 2,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    assert made == [0, 1]


def test_who_finds_all_in_use_waits_for_one():
    contexts, found, has_one = Contexts(object, 2), [], threading.Event()

    def work():
        with contexts.borrowed() as mine:
            found.append(mine)
            has_one.set()

    with contexts.borrowed() as first:
        with contexts.borrowed() as second:
            thread = threading.Thread(target=work)
            thread.start()
            assert not has_one.wait(0.2)
        assert has_one.wait(30) and found == [second] != [first]
    thread.join(30)


def test_the_one_used_last_comes_first_and_errors_give_it_back():
    contexts = Contexts(object, 2)
    with contexts.borrowed() as first, contexts.borrowed() as second:
        assert first is not second
    with pytest.raises(ZeroDivisionError), contexts.borrowed():
        raise ZeroDivisionError
    with contexts.borrowed() as again:
        assert again is first


def test_one_that_cannot_be_made_leaves_room_for_another():
    answers = iter([MemoryError("no room"), "made"])

    def make():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    contexts = Contexts(make, 1)
    with pytest.raises(MemoryError), contexts.borrowed():
        pass
    with contexts.borrowed() as found:
        assert found == "made"


def _borrowed(contexts, queue):
    with contexts.borrowed() as found:
        queue.put(found)


def test_a_child_made_by_a_fork_waits_for_no_thread_of_its_parent():
    contexts, fork = Contexts(lambda: "made", 1), multiprocessing.get_context("fork")
    queue = fork.Queue()
    with contexts.borrowed():  # by this process; the child cannot return it
        child = fork.Process(target=_borrowed, args=(contexts, queue))
        child.start()
        assert queue.get(timeout=60) == "made"
        child.join(60)
    assert child.exitcode == 0


class Closed:
    """A context that reports its end."""

    def __init__(self, said):
        self.said = said

    def close(self):
        self.said.append("closed")


def test_contexts_of_a_network_that_is_gone_are_closed_when_no_capture_goes_on():
    said = []
    contexts, other = Contexts(lambda: Closed(said), 2), Contexts(object, 1)
    with contexts.borrowed(), contexts.borrowed():
        pass
    with beside_no_capture():
        close(contexts)
        assert said == []
    with other.borrowed():
        assert said == ["closed"] * 2


def test_a_stream_is_never_destroyed_and_is_one_s_alone(monkeypatch):
    made = []
    monkeypatch.setattr(runtime_contexts, "_made", lambda index: made.append(object()) or (made[-1], index))
    monkeypatch.setattr(runtime_contexts, "_idle", defaultdict(deque))
    first, second = (DeviceStream(torch.device("cuda", 1)) for _ in range(2))
    assert first._handle[0] is not second._handle[0] and len(made) == 2
    handle = first._handle
    del first
    again, other = DeviceStream(torch.device("cuda", 1)), DeviceStream(torch.device("cuda", 0))
    assert again._handle is handle and other._handle[0] is made[2]


ENDING = """
import torch
from dcnn_fast.runtime import contexts
contexts._made = lambda index: (object(), index)
torch.kept = contexts.DeviceStream(torch.device("cuda", 0))
"""


def test_a_stream_that_outlives_the_module_in_a_process_that_ends_says_nothing():
    done = subprocess.run([sys.executable, "-c", ENDING], capture_output=True, text=True, check=False, timeout=300)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_network_on_a_gpu_waits_for_its_streams_before_its_memory_is_given_back(monkeypatch):
    """Its memory is freed with the last reference, without Python's cycle collector."""
    order = []
    net = build(small.network(), seed=1).eval()
    gc.collect()
    gc.disable()
    try:
        with kernels_on_cpu():
            scorer = Scorer(Model(net, {}), "cuda", 2)
            assert scorer.score(np.random.default_rng(0).integers(0, 256, (40, 50, 3)).astype(np.uint8)).error is None
        (context,) = scorer._stages._executor._contexts._idle
        for evaluation in context._evaluations.values():
            finalize(evaluation._numbers, order.append, "tables")
        monkeypatch.setattr(DeviceStream, "wait", lambda stream: order.append("waited"))
        del scorer, context, evaluation
        assert order == ["waited", "tables"]
    finally:
        gc.enable()
