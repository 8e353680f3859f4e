"""Operators bypass torch's dispatcher only where it has nothing to do."""

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

from dcnn_fast import ops

_DRAWS = torch.Generator().manual_seed(0)
X, WEIGHT, BIAS = (torch.randn(shape, generator=_DRAWS) for shape in ((1, 2, 5, 5), (3, 2, 3, 3), (3,)))


class Seen(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


class SeenFunctions(TorchFunctionMode):
    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


# torch sets a function mode aside while `backward` runs.
@pytest.mark.parametrize(("mode", "seen_of_backward"), [(Seen, {"block_backward"}), (SeenFunctions, set())])
def test_a_mode_sees_every_operator(mode, seen_of_backward):
    weight = WEIGHT.clone().requires_grad_()
    with mode() as seen:
        ops.block(X, WEIGHT, BIAS)
        ops.block(X, weight, BIAS).sum().backward()
    called = {name.removesuffix(".default").rsplit(".", 1)[-1] for name in seen.names if "dcnn_fast" in name}
    assert called == {"block", "block_training"} | seen_of_backward


def test_a_profile_names_every_operator():
    weight = WEIGHT.clone().requires_grad_()
    with profile(activities=[ProfilerActivity.CPU]) as found:
        ops.block(X, WEIGHT, BIAS)
        ops.block(X, weight, BIAS).sum().backward()
    named = {event.name for event in found.events()}
    assert {f"dcnn_fast::{name}" for name in ("block", "block_training", "block_backward")} <= named


def test_a_trace_holds_the_operator():
    traced = torch.jit.trace(lambda x: ops.block(x, WEIGHT, BIAS), (X,), check_trace=False)
    assert "dcnn_fast::block" in str(traced.graph)
    assert torch.equal(traced(2 * X), ops.block(2 * X, WEIGHT, BIAS))


@pytest.mark.parametrize("lazy", ["negated", "zero"])
def test_values_that_are_not_in_memory_yet_are_computed(lazy):
    x, values = (torch._neg_view(X), -X) if lazy == "negated" else (torch._efficientzerotensor(X.shape), torch.zeros_like(X))
    assert torch.equal(ops.block(x, WEIGHT, BIAS), ops.block(values, WEIGHT, BIAS))


def test_the_same_bits_past_the_dispatcher_and_through_it():
    results = []
    for through in (False, True):
        x, weight, bias = (t.clone().requires_grad_() for t in (X, WEIGHT, BIAS))
        if through:
            with Seen():
                made = ops.block(x, weight, bias, pool=(3, 2))
                made.square().sum().backward()
        else:
            made = ops.block(x, weight, bias, pool=(3, 2))
            made.square().sum().backward()
        results.append([made, x.grad, weight.grad, bias.grad])
    assert all(torch.equal(*pair) for pair in zip(*results, strict=True))


def test_inference_mode_takes_plain_and_inference_tensors():
    expected = ops.block(X, WEIGHT, BIAS)
    with torch.inference_mode():
        made = ops.block(X.clone(), WEIGHT, BIAS)
    assert torch.equal(made, expected) and made.is_inference()
