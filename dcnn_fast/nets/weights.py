"""The weights that a network computes with, by the names that they have in model files."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils.prune import BasePruningMethod

from dcnn_fast.nets.column import Block, Column
from dcnn_fast.nets.network import MultiColumn
from dcnn_fast.ops.plain_torch import apart


class WeightsError(ValueError):
    """A network's weights are not, or no longer, what can be used; the message says why and what to do."""


def weights_of(net: MultiColumn) -> dict[str, Tensor]:
    """Every block's and layer's weight and bias; of a parametrised or pruned layer, what it makes of its parameters.

    Raises WeightsError naming a layer that computes with something else.
    """

    def found() -> dict[str, Tensor]:
        with torch.no_grad():
            return {f"{name}.{kind}": value for name, layer in layers_of(net) for kind, value in _weights(name, layer)}

    return apart(found)


def layers_of(net: MultiColumn) -> Iterator[tuple[str, nn.Module]]:
    """Each block and fully-connected layer with its name."""
    for i, column in enumerate(net.columns):
        if not isinstance(column, Column):
            raise WeightsError(f"columns.{i} must be a Column of this project, it is a {type(column).__name__}")
        yield from ((f"columns.{i}.blocks.{j}", block) for j, block in enumerate(column.blocks))
        yield from ((f"columns.{i}.fc.{j}", layer) for j, layer in enumerate(column.fc))
    yield "label", net.label
    if net.attribute is not None:
        yield "attribute", net.attribute


def require_plain(name: str, layer: nn.Module) -> None:
    """Raise WeightsError unless the layer computes from its `weight` and `bias` alone, which are made anew where a pruning or
    the older weight norm makes them before each call. Other hooks are not called.
    """
    plain = Block if ".blocks." in name else nn.Linear
    if not isinstance(layer, plain) or type(layer).forward is not plain.forward:
        raise WeightsError(
            f"{name} must be a plain {plain.__name__} to be computed from its weights, it is a {type(layer).__name__}"
        )
    for hook in layer._forward_pre_hooks.values():
        if isinstance(hook, BasePruningMethod) or hasattr(hook, "compute_weight"):
            hook(layer, ())


def _weights(name: str, layer: nn.Module) -> Iterator[tuple[str, Tensor]]:
    require_plain(name, layer)
    for kind in ("weight", "bias"):
        value = getattr(layer, kind, None)
        if not isinstance(value, Tensor):
            raise WeightsError(f"{name} must have a {kind}, it has none")
        yield kind, value
