"""The choice of a backend: order, forcing, refusals."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from dcnn_fast.ops import dispatch

CPU = torch.device("cpu")


def _backend(refusal):
    return SimpleNamespace(can_run=lambda params, device: refusal)


TABLE = {"cuda": _backend("no CUDA device"), "cpu": _backend(None), "reference": _backend(None)}


def test_the_first_willing_backend_is_chosen(monkeypatch):
    monkeypatch.delenv("DCNN_FAST_BACKEND", raising=False)
    assert dispatch.choose(TABLE, "p", CPU) == "cpu"
    assert dispatch.explain(TABLE, "p", CPU)[0] == dispatch.Answer("cuda", "no CUDA device")


def test_a_backend_is_passed_over_for_one_that_outpaces_it_and_can_run(monkeypatch):
    monkeypatch.delenv("DCNN_FAST_BACKEND", raising=False)
    slow = SimpleNamespace(can_run=lambda params, device: None, outpaced=lambda params, device: ("triton", "2 us less"))
    for refusal, chosen, said in ((None, "triton", "2 us less"), ("not installed", "cuda", None)):
        table = {"cuda": slow, "triton": _backend(refusal), "reference": _backend(None)}
        assert dispatch.choose(table, "p", CPU) == chosen
        assert dispatch.explain(table, "p", CPU)[0] == dispatch.Answer("cuda", None, said)


def test_a_forced_backend_is_used_or_is_an_error(monkeypatch):
    monkeypatch.setenv("DCNN_FAST_BACKEND", "reference")
    assert dispatch.choose(TABLE, "p", CPU) == "reference"
    monkeypatch.setenv("DCNN_FAST_BACKEND", "cuda")
    with pytest.raises(dispatch.BackendError, match="DCNN_FAST_BACKEND=cuda cannot run p: no CUDA device"):
        dispatch.choose(TABLE, "p", CPU)
    monkeypatch.setenv("DCNN_FAST_BACKEND", "gpu")
    with pytest.raises(dispatch.BackendError, match="must be one of cuda, triton, cpu, reference; got 'gpu'"):
        dispatch.choose(TABLE, "p", CPU)


def test_a_backend_that_an_operation_lacks_forces_nothing_there(monkeypatch):
    monkeypatch.setenv("DCNN_FAST_BACKEND", "triton")
    assert dispatch.choose(TABLE, "p", CPU) == "cpu"
    with pytest.raises(dispatch.BackendError, match="cuda: no device"):
        dispatch.choose({"cuda": _backend("no device")}, "p", CPU)


def test_when_none_is_willing_every_refusal_is_told(monkeypatch):
    monkeypatch.delenv("DCNN_FAST_BACKEND", raising=False)
    with pytest.raises(dispatch.BackendError, match="cuda: no device; cpu: not built"):
        dispatch.choose({"cuda": _backend("no device"), "cpu": _backend("not built")}, "p", CPU)
