"""A model with a column of EfficientNet-Lite0's layers on windows of a few pixels, beside a small column of blocks."""

from __future__ import annotations

import torch

from dcnn_fast import nets, networks
from dcnn_fast.nets.backbone import flattened
from tests.lite_files import lite_state
from tests.small import column

LITE = networks.BackboneColumn("lite0", "warp", (1, 4), (12, 8), plane=36, window=33)
LOCAL = networks.BackboneColumn("lite0", "local", (), (8,), plane=40, window=40)


def network(*columns: networks.AnyColumn) -> networks.Network:
    """A network of these columns; by default LITE and one of blocks."""
    return networks.Network("small-lite", columns or (LITE, column("local")))


def model(*columns: networks.AnyColumn, seed: int = 3) -> nets.Model:
    """The network's model, with seeded weights."""
    net = nets.build(network(*columns), seed=seed).eval()
    weights = flattened(nets.import_lite(lite_state(seed=seed), "lite0"))
    for each in net.columns:
        if isinstance(each, nets.BackboneColumn):
            each.backbone.copy_(weights)
    with torch.no_grad():
        net.label.weight.mul_(0.2)  # means are large: no probability is to be 0 or 1
    return nets.Model(net, {"trained on": "nothing"})
