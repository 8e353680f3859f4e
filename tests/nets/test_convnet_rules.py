"""A network starts and learns by its layer-parameter file."""

from __future__ import annotations

import pytest
import torch

from dcnn_fast import nets
from dcnn_fast.nets.convnet_rules import initialise, parameter_groups
from dcnn_fast.networks.convnet_cfg import parse_convnet_cfg
from dcnn_fast.networks.convnet_layer import Preprocessing
from dcnn_fast.training import ConvNetUpdate
from tests.convnet_files import LAYERS, PARAMS


def reading(params=PARAMS):
    return parse_convnet_cfg(LAYERS, params, Preprocessing(plane=40, window=32))


def test_weights_start_with_the_files_deviations():
    read = reading()
    net = initialise(nets.build(read.network), read.rules, seed=1)
    assert float(net.columns[0].fc[0].weight.detach().std()) == pytest.approx(0.02, rel=0.05)
    assert float(net.columns[0].blocks[0].weight.detach().std()) == pytest.approx(1e-4, rel=0.1)
    assert net.columns[0].blocks[1].bias.unique().tolist() == [1]
    again = initialise(nets.build(read.network, seed=5), read.rules, seed=1)
    assert all(map(torch.equal, net.parameters(), again.parameters()))


def test_every_layer_learns_at_its_own_rate():
    params = PARAMS.replace("epsW=0.001\nepsB=0.002", "epsW=0\nepsB=0.1", 1)
    read = reading(params)
    net = nets.build(read.network)
    optimiser = ConvNetUpdate(parameter_groups(net, read.rules))
    before = {name: value.detach().clone() for name, value in net.named_parameters()}
    for parameter in net.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimiser.step()
    steps = {name: before[name] - value.detach() for name, value in net.named_parameters()}
    assert not steps["columns.0.blocks.0.weight"].any()
    torch.testing.assert_close(steps["columns.0.blocks.0.bias"], torch.full((16,), 0.1))
    expected = 0.001 * (1 + 0.004 * before["label.weight"])
    torch.testing.assert_close(steps["label.weight"], expected, rtol=1e-3, atol=1e-7)
    torch.testing.assert_close(steps["label.bias"], torch.full((2,), 0.002))


def test_rules_of_another_network_are_refused():
    read = reading()
    rules = {part: rule for part, rule in read.rules.items() if part != "label"}
    with pytest.raises(ValueError, match=r"differing: \['label'\]"):
        parameter_groups(nets.build(read.network), rules)
