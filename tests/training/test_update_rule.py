"""cuda-convnet's update rule as an optimiser: against numpy, and against torch's SGD where both agree and where they differ."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from dcnn_fast.training import ConvNetUpdate, groups_of
from tests.ops import statements
from tests.ops.on_cpu import kernels_on_cpu

TIGHT = {"rtol": 1e-12, "atol": 1e-12}


def _net(dtype=torch.float64):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(16, 2)).to(dtype)
    net[0].weight.data = net[0].weight.data.contiguous(memory_format=torch.channels_last)
    return net


def _losses(dtype=torch.float64, steps=6):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(5, 3, 4, 4, generator=generator, dtype=torch.float64).to(dtype) for _ in range(steps)]


def _backward(net, x):
    net.zero_grad()
    net(x).square().mean().backward()


def test_steps_are_those_of_the_rule_for_weights_and_biases_while_the_rate_changes():
    net = _net()
    optimiser = ConvNetUpdate(groups_of(net, rate=0.01, bias_rate=0.03, momentum=0.9, bias_momentum=0.7, decay=0.2))
    state = {name: (p.detach().numpy().copy(), np.zeros(p.shape)) for name, p in net.named_parameters()}
    for step, x in enumerate(_losses()):
        factor = 0.5**step
        optimiser.param_groups[0]["lr"], optimiser.param_groups[1]["lr"] = 0.01 * factor, 0.03 * factor
        _backward(net, x)
        optimiser.step()
        for name, parameter in net.named_parameters():
            rate, momentum, decay = (0.03, 0.7, 0.0) if name.endswith("bias") else (0.01, 0.9, 0.2)
            weight, increment = state[name]
            state[name] = statements.update(weight, parameter.grad.numpy(), increment, rate * factor, momentum, decay)
            np.testing.assert_allclose(parameter.detach().numpy(), state[name][0], **TIGHT)
            np.testing.assert_allclose(optimiser.state[parameter]["increment"].numpy(), state[name][1], **TIGHT)


def test_defaults_are_those_of_the_design():
    net = _net()
    weights, biases = ConvNetUpdate(groups_of(net)).param_groups
    assert [len(weights["params"]), len(biases["params"])] == [2, 2]
    assert all(p.ndim > 1 for p in weights["params"])
    assert (weights["lr"], weights["momentum"], weights["decay"]) == (0.001, 0.9, 0.0005)
    assert (biases["lr"], biases["momentum"], biases["decay"]) == (0.002, 0.9, 0.0)


@pytest.mark.parametrize("factor", [1.0, 0.5])
def test_it_equals_torchs_sgd_only_while_the_rate_is_constant(factor):
    ours, theirs = _net(), _net()
    optimisers = [
        ConvNetUpdate(ours.parameters(), lr=0.05, momentum=0.9, decay=0.1),
        torch.optim.SGD(theirs.parameters(), lr=0.05, momentum=0.9, weight_decay=0.1),
    ]
    for x in _losses():
        for net, optimiser in zip((ours, theirs), optimisers, strict=True):
            _backward(net, x)
            optimiser.step()
            optimiser.param_groups[0]["lr"] *= factor
    pairs = zip(ours.parameters(), theirs.parameters(), strict=True)
    gap = max(float((a - b).detach().abs().max()) for a, b in pairs)
    assert gap < 1e-12 if factor == 1 else gap > 1e-3


def test_torchs_schedulers_set_the_rate():
    net = _net()
    optimiser = ConvNetUpdate(groups_of(net))
    schedule = torch.optim.lr_scheduler.StepLR(optimiser, 1, gamma=0.1)
    _backward(net, _losses()[0])
    optimiser.step()
    schedule.step()
    assert [group["lr"] for group in optimiser.param_groups] == pytest.approx([1e-4, 2e-4])


def test_what_is_frozen_has_no_gradient_or_no_rate_is_left_alone():
    net = _net()
    optimiser = ConvNetUpdate([{"params": list(net[0].parameters())}, {"params": list(net[2].parameters()), "lr": 0.0}], lr=0.1)
    _backward(net, _losses()[0])
    net[0].weight.requires_grad_(False)
    net[0].bias.grad = None
    before = copy.deepcopy(list(net.parameters()))
    optimiser.step()
    assert all(map(torch.equal, net.parameters(), before))
    assert not optimiser.state
    net[0].weight.requires_grad_(True)
    optimiser.step()
    assert [not torch.equal(a, b) for a, b in zip(net.parameters(), before, strict=True)] == [True, False, False, False]


def test_the_closure_computes_the_gradient():
    parameter = nn.Parameter(torch.tensor([3.0]))
    optimiser = ConvNetUpdate([parameter], lr=0.5, momentum=0.0, decay=0.0)

    def loss():
        optimiser.zero_grad()
        value = (parameter**2).sum()
        value.backward()
        return value

    assert optimiser.step(loss).item() == 9
    assert parameter.item() == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_saved_state_goes_on_bit_for_bit(dtype, tmp_path):
    nets, losses = [_net(dtype), _net(dtype)], _losses(dtype)
    optimiser = ConvNetUpdate(groups_of(nets[0], rate=0.1))
    for x in losses[:3]:
        _backward(nets[0], x)
        optimiser.step()
    torch.save({"net": nets[0].state_dict(), "update": optimiser.state_dict()}, tmp_path / "saved.pt")
    saved = torch.load(tmp_path / "saved.pt", weights_only=True)
    nets[1].load_state_dict(saved["net"])
    other = ConvNetUpdate(groups_of(nets[1]))
    other.load_state_dict(saved["update"])
    for x in losses[3:]:
        for net, each in zip(nets, (optimiser, other), strict=True):
            _backward(net, x)
            each.step()
    assert all(map(torch.equal, nets[0].parameters(), nets[1].parameters()))
    assert all(state["increment"].dtype == torch.float32 for state in other.state.values())
    assert not torch.equal(nets[0][0].weight, _net(dtype)[0].weight)


def test_on_triton_a_step_is_one_launch_for_each_dtype_whatever_the_memory_format():
    nets = [_net(torch.float32), _net(torch.float32)]
    optimisers = [ConvNetUpdate(groups_of(net, rate=0.1)) for net in nets]
    for x in _losses(torch.float32, 3):
        for net in nets:
            _backward(net, x)
        weight = nets[1][0].weight
        weight.grad = weight.grad.contiguous()
        assert weight.grad.stride() != weight.stride()
        optimisers[0].step()
        with kernels_on_cpu(80) as done:
            optimisers[1].step()
        assert len(done) == 1
    for ours, theirs in zip(nets[1].parameters(), nets[0].parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    # The parameter's layout changes: its increment follows.
    nets[1][0].weight.data = nets[1][0].weight.data.contiguous()
    with kernels_on_cpu(80) as done:
        optimisers[1].step()
    optimisers[0].step()
    assert len(done) == 1
    torch.testing.assert_close(nets[1][0].weight, nets[0][0].weight, rtol=1e-5, atol=1e-6)


def test_bad_options_are_named():
    parameter = nn.Parameter(torch.zeros(2))
    for name in ("lr", "momentum", "decay"):
        for value in (-0.1, float("nan"), float("inf")):
            with pytest.raises(ValueError, match=f"{name} must be finite and not negative, got {value}"):
                ConvNetUpdate([parameter], **{name: value})
            with pytest.raises(ValueError, match=f"{name} must be finite"):
                ConvNetUpdate([{"params": [parameter], name: value}])
