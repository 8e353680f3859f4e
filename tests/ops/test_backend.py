"""The choice of a backend: order, forcing, refusals."""

from __future__ import annotations

import pytest
import torch

from dcnn_fast.ops.backend import Answer, Backend, BackendError, Outpaced, choose, explain

CPU = torch.device("cpu")


class Answering(Backend[str]):
    """A backend that gives a set answer and counts the questions."""

    def __init__(self, refusal=None, better=None):
        self.refusal, self.better, self.asked = refusal, better, 0

    def can_run(self, params, device):
        self.asked += 1
        return self.refusal

    def outpaced(self, params, device):
        return self.better


TABLE = {"cuda": Answering("no CUDA device"), "cpu": Answering(), "reference": Answering()}


def test_the_first_willing_backend_is_chosen_and_those_after_it_are_not_asked(monkeypatch):
    monkeypatch.delenv("DCNN_FAST_BACKEND", raising=False)
    last = TABLE["reference"].asked
    assert choose(TABLE, "p", CPU) == "cpu"
    assert TABLE["reference"].asked == last
    assert explain(TABLE, "p", CPU)[0] == Answer("cuda", "no CUDA device")


def test_a_backend_is_passed_over_for_one_that_outpaces_it_and_can_run(monkeypatch):
    monkeypatch.delenv("DCNN_FAST_BACKEND", raising=False)
    slow = Answering(better=Outpaced("triton", "2 us less"))
    for refusal, chosen, said in ((None, "triton", "2 us less"), ("not installed", "cuda", None)):
        table = {"cuda": slow, "triton": Answering(refusal), "reference": Answering()}
        assert choose(table, "p", CPU) == chosen
        assert explain(table, "p", CPU)[0] == Answer("cuda", None, said)
    assert choose({"cuda": slow, "reference": Answering()}, "p", CPU) == "cuda"


def test_nothing_outpaces_a_backend_that_does_not_say_so():
    class Plain(Backend[str]):
        def can_run(self, params, device):
            return None

    assert Plain().outpaced("p", CPU) is None


def test_a_forced_backend_is_used_or_is_an_error(monkeypatch):
    monkeypatch.setenv("DCNN_FAST_BACKEND", "reference")
    assert choose(TABLE, "p", CPU) == "reference"
    monkeypatch.setenv("DCNN_FAST_BACKEND", "cuda")
    with pytest.raises(BackendError, match="DCNN_FAST_BACKEND=cuda cannot run p: no CUDA device"):
        choose(TABLE, "p", CPU)
    monkeypatch.setenv("DCNN_FAST_BACKEND", "gpu")
    with pytest.raises(BackendError, match="must be one of cuda, triton, cpu, reference; got 'gpu'"):
        choose(TABLE, "p", CPU)


def test_a_backend_that_an_operation_lacks_forces_nothing_there(monkeypatch):
    monkeypatch.setenv("DCNN_FAST_BACKEND", "triton")
    assert choose(TABLE, "p", CPU) == "cpu"
    with pytest.raises(BackendError, match="cuda: no device"):
        choose({"cuda": Answering("no device")}, "p", CPU)


def test_when_none_is_willing_every_refusal_is_told(monkeypatch):
    monkeypatch.delenv("DCNN_FAST_BACKEND", raising=False)
    with pytest.raises(BackendError, match="cuda: no device; cpu: not built"):
        choose({"cuda": Answering("no device"), "cpu": Answering("not built")}, "p", CPU)
