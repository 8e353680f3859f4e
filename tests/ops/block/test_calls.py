"""What ops.block keeps between calls is never used for a different call."""

from __future__ import annotations

import pytest
import torch

from dcnn_fast import ops
from dcnn_fast.ops.backend import BackendError
from dcnn_fast.ops.block import BlockOptions, calls, params_of
from dcnn_fast.ops.block.params import keeps_result
from tests.ops.block.problems import SMALL, keywords, operands


def _call(x, weight, bias=None, **options):
    return ops.block(x, weight, bias, **options)


def test_a_wrong_call_after_a_right_one_is_refused_all_the_same():
    """Each wrong call differs in one argument, some only in type: Python calls 1, 1.0 and True equal."""
    x, weight, bias = torch.zeros(1, 4, 8, 8), torch.zeros(6, 4, 3, 3), torch.zeros(6)
    right = {"x": x, "weight": weight, "bias": bias, "stride": 1, "pool": (2, 1), "groups": 1}
    wrong = {
        "stride": (True, 1.0, 0), "groups": (True, 5), "pool": ((2.0, 1), (2, True), (2, 3), [2, 1]), "norm": ("lrn", [1]),
        "x": (x[0], x[:, :3], x.double(), x[..., :1], x.to("meta"), [1.0]), "weight": (weight[..., :2], weight.half()),
        "bias": (bias[:5], bias.double(), 0.5), "mean": ((1.0,), (1.0,) * 4), "scale": (2.0,), "precision": ("fp8",),
    }  # fmt: skip
    for name, values in wrong.items():
        for value in values:
            ops.block(**right)
            with pytest.raises((TypeError, ValueError)):
                ops.block(**{**right, name: value})
            ops.block(**right)


def test_a_kept_problem_is_the_one_that_the_operands_pose():
    for params in SMALL:
        for dtype in (torch.float32, torch.float64):
            x, weight, _ = (tensor.to(dtype) for tensor in operands(params))
            for source in (x, x.byte()):
                found = calls.problem_of(source, weight, params.options.flat())
                expected = params_of(x, weight, params.options)
                assert keeps_result(params.options.flat()) == expected.kept.result
                assert found.result == expected and found.gradient == expected.gradient()


def test_what_is_equal_to_the_options_before_is_not_taken_for_them(monkeypatch):
    """Calls whose options differ in one field give the same results in sequence as alone."""
    monkeypatch.setenv("DCNN_FAST_BACKEND", "reference")
    x, weight, bias = operands(SMALL[2])
    base = keywords(SMALL[2].options)
    changes = [
        {}, {"stride": 2}, {"rounding": "down"}, {"pool": None}, {"norm": None}, {"order": "conv-norm-pool"},
        {"precision": "bf16"}, {"padding": 0}, {"norm": ops.SameMapNorm(5, 0.3)}, {"norm": ops.CrossMapNorm(5, 0.4)},
    ]  # fmt: skip
    fresh = []
    for change in changes:
        calls._kept_call.cache_clear()
        calls._problem.cache_clear()
        fresh.append(_call(x, weight, bias, **{**base, **change}))
    for _ in range(2):
        for change, expected in zip(changes, fresh, strict=True):
            assert torch.equal(_call(x, weight, bias, **{**base, **change}), expected), change
    assert not any(a.shape == b.shape and torch.equal(a, b) for i, a in enumerate(fresh) for b in fresh[:i])


def test_a_backend_that_is_forced_between_two_calls_is_the_one_that_runs(monkeypatch):
    x, weight, bias = (tensor.float() for tensor in operands(SMALL[2]))
    ops.block(x, weight, bias)
    monkeypatch.setenv("DCNN_FAST_BACKEND", "cuda")
    with pytest.raises(BackendError, match="DCNN_FAST_BACKEND=cuda cannot run"):
        ops.block(x, weight, bias)


def test_what_is_kept_is_bounded():
    weight = torch.zeros(1, 1, 1, 1)
    for extent in range(1, calls._OPERANDS + 50):
        ops.block(torch.zeros(1, 1, 1, extent), weight)
    call = calls.call_of(*(getattr(BlockOptions(), name) for name in BlockOptions.__dataclass_fields__))
    assert 0 < len(call.right) <= calls._OPERANDS
    for cache in (calls._kept_call, calls._problem):
        assert cache.cache_info().maxsize is not None
