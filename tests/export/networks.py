"""Networks of every kind, small, with seeded weights, and photographs for them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dcnn_fast import nets, networks
from dcnn_fast.nets.backbone import flattened
from dcnn_fast.networks import Block, Column, CrossMapNorm, Network, Pool, SameMapNorm
from tests import small, small_lite
from tests.lite_files import lite_state

VIEWS = 5
NORMS = (
    CrossMapNorm(5, 0.05), CrossMapNorm(9, 0.05, 0.5, 2.0), CrossMapNorm(4, 0.05), CrossMapNorm(16, 0.1), CrossMapNorm(1, 0.1),
    CrossMapNorm(5, 0.0), CrossMapNorm(5, 0.02, -0.5), CrossMapNorm(5, 0.02, 0.0), SameMapNorm(3, 0.05), SameMapNorm(4, 0.05),
    SameMapNorm(11, 0.05),
)  # fmt: skip


def built(network, seed=3):
    """The network's model; columns of EfficientNet-Lite0 have random weights."""
    net = nets.build(network, seed=seed).eval()
    for column in net.columns:
        if isinstance(column, nets.BackboneColumn):
            column.backbone.copy_(flattened(nets.import_lite(lite_state(seed=seed), "lite0")))
    return nets.Model(net, {"trained on": "nothing"})


def preset(name, geometry="convnet", *, plane=72, window=64):
    """A preset with fewer filters, on smaller windows."""
    return built(networks.compact(networks.preset(name, geometry), plane=plane, window=window, filters=0.125, fc=(12, 8)))


def overhanging(norm=None, order="conv-pool-norm", *, rounding="up", view="pad", reduce="flatten", plane=41, window=37):
    """A column whose convolutions and pools hang over, with groups."""
    blocks = (
        Block(8, 5, stride=2, padding=2, pool=Pool(3, 2), norm=norm, order=order),
        Block(12, 4, stride=3, padding=1, groups=2, pool=Pool(2, 2), norm=norm, order=order),
    )
    return Column(
        view, blocks, (10, 8), plane=plane, window=window, mean=(120.0, 110.0, 100.0), scale=1 / 64, rounding=rounding,
        reduce=reduce,
    )  # fmt: skip


def of_columns(*columns, labels=("low", "high"), **changes):
    """A network of these columns."""
    return built(Network("columns", columns, labels, **changes))


KINDS = {
    "dcnn": small.model,
    "three labels": lambda: small.model(labels=("a", "b", "c")),
    "labels in the other order": lambda: small.model(labels=("high", "low")),
    "two other labels": lambda: small.model(labels=("dog", "cat")),
    "all views": lambda: small.model(views=("local", "center", "pad", "warp")),
    "two columns of one view": lambda: small.model(views=("local", "local")),
    "attributes": lambda: small.model(attributes=("macro", "duotone")),
    "reduced photographs": lambda: built(replace(small.network(), long_side=60)),
    "EfficientNet-Lite and blocks": small_lite.model,
    "EfficientNet-Lite, local": lambda: small_lite.model(small_lite.LOCAL),
    "EfficientNet-Lite, whole": lambda: small_lite.model(replace(small_lite.LITE, plane=33)),
    "a whole plane beside windows": lambda: of_columns(replace(small.column("warp"), plane=24), small.column("local")),
    "local windows as large as their plane": lambda: of_columns(replace(small.column("local"), plane=24)),
    "SCNN": lambda: preset("scnn-arch4"),
    "Style-SCNN": lambda: preset("style-scnn-arch1"),
    "RDCNN": lambda: built(
        Network("rdcnn", (small.column("local"), small.column("warp"), replace(small.column("warp"), frozen=True)))
    ),
    "preset dcnn": lambda: preset("dcnn"),
    "preset dcnn, valid": lambda: preset("dcnn", "valid", plane=112, window=104),
    "preset scnn-arch1+scnn-arch3": lambda: preset("scnn-arch1+scnn-arch3"),
}


def photograph(height=57, width=75, seed=0):
    """Noise on a slope: [height, width, 3] uint8."""
    noise = np.random.default_rng(seed).integers(-60, 60, (height, width, 3))
    slope = np.linspace(60, 190, width)[None, :, None] + np.linspace(-40, 40, height)[:, None, None]
    return np.clip(slope + noise, 0, 255).astype(np.uint8)
