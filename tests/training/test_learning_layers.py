"""The rates at which parameters learn."""

from __future__ import annotations

import pytest

from dcnn_fast.nets import build
from dcnn_fast.networks import LayerRule
from dcnn_fast.training import Settings
from dcnn_fast.training.learning_layers import rate_groups
from tests import small


def rates(net, settings):
    """Base, momentum, decay and schedule of each parameter."""
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    found = {}
    for group in rate_groups(net, settings):
        assert group["lr"] == group["base"]
        for parameter in group["params"]:
            found[names[id(parameter)]] = (group["base"], group["momentum"], group["decay"], group["schedule"])
    assert found.keys() == set(names.values())
    return found


def test_columns_have_factors_and_biases_do_not_decay():
    found = rates(build(small.network()), Settings(rate=0.1, bias_rate=0.3, column_rates=(1.0, 0.5), schedule="exp"))
    assert found["columns.0.fc.1.weight"] == (0.1, 0.9, 0.0005, "exp")
    assert found["columns.1.blocks.0.weight"] == (0.05, 0.9, 0.0005, "exp")
    assert found["columns.1.blocks.0.bias"] == (0.15, 0.9, 0.0, "exp")
    assert found["label.bias"] == (0.3, 0.9, 0.0, "exp")


def test_a_layers_rule_stands_in_place_of_the_settings():
    net = build(small.network())
    layers = {name.rpartition(".")[0] for name, _ in net.named_parameters()}
    rule = LayerRule(
        rate=0.2, bias_rate=0.4, momentum=0.5, bias_momentum=0.6, decay=0.01, schedule="linear[tgtFactor=10]",
        bias_schedule="exp[tgtFactor=2]",
    )  # fmt: skip
    rules = {**dict.fromkeys(layers, LayerRule()), "columns.1.fc.0": rule}
    found = rates(net, Settings(rate=7.0, decay=3.0, column_rates=(1.0, 0.5), layer_rules=tuple(rules.items())))
    assert found["columns.1.fc.0.weight"] == (0.1, 0.5, 0.01, "linear[tgtFactor=10]")
    assert found["columns.1.fc.0.bias"] == (0.2, 0.6, 0.0, "exp[tgtFactor=2]")
    assert found["columns.0.fc.0.weight"] == (0.001, 0.9, 0.0005, "const")
    with pytest.raises(ValueError, match=r"layer_rules must be those of the network's layers, differing: \['label'\]"):
        rate_groups(net, Settings(layer_rules=tuple((n, r) for n, r in rules.items() if n != "label")))
