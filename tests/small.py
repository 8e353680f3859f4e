"""A small double-column model that tests can score with in milliseconds."""

from __future__ import annotations

from dcnn_fast.nets import Model, build
from dcnn_fast.networks import Block, Column, CrossMapNorm, Network, Pool


def column(view, **changes):
    """A column on 24-pixel windows of 32-pixel planes."""
    blocks = (Block(8, 5, stride=2, pool=Pool(), norm=CrossMapNorm()), Block(12, 3, padding=1))
    return Column(view, blocks, (20, 16), plane=32, window=24, mean=(120.5, 110.0, 100.0), scale=1 / 64, **changes)


def network(views=("local", "warp"), labels=("low", "high"), attributes=(), **changes):
    """A network of such columns."""
    return Network("small", tuple(column(view, **changes) for view in views), labels, attributes=attributes)


def model(**options):
    """The network's model, with seeded weights."""
    return Model(build(network(**options), seed=3).eval(), {"trained on": "nothing"})
