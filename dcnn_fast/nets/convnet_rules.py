"""Applies the rules of cuda-convnet's layer-parameter files to a network: its initial weights and its learning rates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from dcnn_fast.nets.column import drawn
from dcnn_fast.nets.network import MultiColumn
from dcnn_fast.networks.convnet_rules import LayerRule


def parameter_groups(net: MultiColumn, rules: Mapping[str, LayerRule]) -> list[dict[str, Any]]:
    """Groups for `training.ConvNetUpdate`: the weights and the biases of each layer with their rates; biases do not decay.

    Args:
        net: The network.
        rules: The layers' rules, as in `networks.Reading`.

    Returns:
        The groups. Each names its parameters in "name" and its schedule in "schedule", which `training.parse_schedule` reads;
        the caller updates "lr" by it.

    Raises:
        ValueError: The rules are not for exactly the network's layers, or a layer's inputs have different rates.
    """
    groups: list[dict[str, Any]] = []
    for part, rule in rules.items():
        rule.require_one_rate()
        weight, bias = _parameters(net, rules, part)
        groups += [
            {
                "params": [weight], "lr": rule.rate, "momentum": rule.momentum, "decay": rule.decay,
                "name": f"{part}.weight", "schedule": rule.schedule,
            },
            *([] if bias is None else [{
                "params": [bias], "lr": rule.bias_rate, "momentum": rule.bias_momentum, "decay": 0.0,
                "name": f"{part}.bias", "schedule": rule.bias_schedule,
            }]),
        ]  # fmt: skip
    return groups


@torch.no_grad()
def initialise(net: MultiColumn, rules: Mapping[str, LayerRule], seed: int = 0) -> MultiColumn:
    """Start a network as cuda-convnet would: normal weights with each layer's deviation, constant biases.

    Args:
        net: The network.
        rules: The layers' rules, as in `networks.Reading`.
        seed: The seed of the weights.

    Returns:
        `net` itself.

    Raises:
        ValueError: The rules are not for exactly the network's layers.

    Source:
        docs/cuda-convnet.md#layer-files
    """
    generator = torch.Generator("cpu").manual_seed(seed)
    for part, rule in sorted(rules.items()):
        weight, bias = _parameters(net, rules, part)
        weight.copy_(drawn(weight.shape, generator) * _deviation(rule, weight))
        if bias is not None:
            bias.fill_(rule.bias)
    return net


def _deviation(rule: LayerRule, weight: Tensor) -> Tensor | float:
    """The deviation of all weights, or of each column of a matrix, ordered by input."""
    if not rule.inputs:
        return rule.deviation
    sizes = [each.size for each in rule.inputs]
    if sum(sizes) != weight.shape[1]:
        raise ValueError(f"rules must have deviations of {weight.shape[1]} numbers that [{rule.layer}] is given, got {sizes}")
    return torch.cat([torch.full((each.size,), each.deviation, dtype=weight.dtype, device="cpu") for each in rule.inputs])


def _parameters(net: nn.Module, rules: Mapping[str, LayerRule], part: str) -> tuple[Tensor, Tensor | None]:
    named = dict(net.named_parameters())
    layers = {name.rpartition(".")[0] for name in named}
    if layers != set(rules):
        raise ValueError(f"rules must be those of the network's layers, differing: {sorted(layers ^ set(rules))}")
    return named[f"{part}.weight"], named.get(f"{part}.bias")
