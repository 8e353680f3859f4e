"""A CUDA graph whose capture fails: torch's allocator is told that it has ended.

Stand-ins replace the calls of torch that need a GPU, after its sources (CUDAGraph.cpp, CUDACachingAllocator.cpp).
"""

from __future__ import annotations

import threading
from contextlib import nullcontext

import pytest
import torch

from dcnn_fast.ops import recording
from dcnn_fast.ops.recording import CudaGraph, beside_no_capture

CUDA = torch.device("cuda", 0)


class Allocator:
    """torch's allocator's state: the pools that it allocates for, and the number of users of each."""

    def __init__(self, monkeypatch, ends=True, begins=True):
        self.underway, self.users, self.ends, self.begins = [], {}, ends, begins
        self.graphs = []
        monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: self.graphs.append(Graph(self)) or self.graphs[-1])
        monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
        monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
        monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: (0, 1 + len(self.users)))
        monkeypatch.setattr(torch._C, "_cuda_endAllocateToPool", self.end, raising=False)
        monkeypatch.setattr(torch._C, "_cuda_releasePool", self.release, raising=False)

    def begin(self, pool):
        self.users[pool] = self.users.get(pool, 0) + 1
        self.underway.append(pool)

    def end(self, device, pool):
        if pool not in self.underway:
            raise RuntimeError("endAllocatePool: not currently recording to mempool_id")
        self.underway.remove(pool)

    def release(self, device, pool):
        self.users[pool] -= 1
        assert self.users[pool] >= 0


class Graph:
    def __init__(self, allocator):
        self._allocator, self._pool, self._ended = allocator, None, False

    def capture_begin(self, pool, capture_error_mode):
        self._pool = pool
        self._allocator.begin(pool)
        if not self._allocator.begins:
            raise RuntimeError("CUDA error: operation not permitted")

    def capture_end(self):
        if not self._allocator.ends:
            raise RuntimeError("CUDA error: operation failed due to a previous error during capture")
        self._allocator.end(0, self._pool)
        self._ended = True

    def reset(self):  # as the destructor does
        if self._ended:
            self._allocator.release(0, self._pool)


def _fails():
    raise RuntimeError("no kernel image is available")


@pytest.mark.parametrize(
    ("ends", "begins", "step", "reason"),
    [
        (False, True, _fails, "no kernel image"), (False, True, int, "previous error during capture"),
        (True, True, _fails, "no kernel image"), (True, False, int, "not permitted"),
    ],
    ids=["a step and the end", "the end", "a step", "the beginning"],
)  # fmt: skip
def test_after_a_capture_that_failed_no_pool_is_taken_for_and_none_has_users(ends, begins, step, reason, monkeypatch):
    allocator = Allocator(monkeypatch, ends, begins)
    before = len(recording._failed)
    with pytest.raises(RuntimeError, match=reason):
        CudaGraph(CUDA, [step])
    assert allocator.underway == []
    (graph,) = allocator.graphs
    kept = any(each is graph for each in recording._failed)
    if not kept:  # garbage collection would destroy it
        graph.reset()
    assert set(allocator.users.values()) == {0}
    assert kept == (not (ends and begins)), "who may still be asked which streams it is captured from stays"
    del recording._failed[before:]


def test_one_that_succeeds_has_its_pool(monkeypatch):
    allocator, ran = Allocator(monkeypatch), []
    CudaGraph(CUDA, [lambda: ran.append(1)])
    assert ran == [1] and allocator.underway == [] and list(allocator.users.values()) == [1]


def test_what_waits_for_the_whole_gpu_is_beside_no_capture(monkeypatch):
    Allocator(monkeypatch)
    order, captures = [], threading.Thread(target=lambda: CudaGraph(CUDA, [lambda: order.append("captured")]))
    with beside_no_capture():
        captures.start()
        captures.join(0.05)
        order.append("timed")
    captures.join(10)
    assert order == ["timed", "captured"]
