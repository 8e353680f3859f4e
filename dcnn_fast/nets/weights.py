"""The effective weights of a network, by their names in model files."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.utils.prune import BasePruningMethod

from dcnn_fast.nets.backbone import BACKBONE, BackboneColumn
from dcnn_fast.nets.column import AnyColumn, Block, Column
from dcnn_fast.nets.errors import WeightsError
from dcnn_fast.nets.graph import GraphColumn, GraphWeights
from dcnn_fast.nets.network import MultiColumn
from dcnn_fast.ops.plain_torch import apart


def weights_of(net: MultiColumn) -> dict[str, Tensor]:
    """The effective weights of a network.

    Args:
        net: The network.

    Returns:
        By its name in model files, every block's and layer's weight and bias; for a parametrised or pruned layer, the effective
        ones; for a backbone, the buffer of all its layers' weights (`columns.0.backbone`).

    Raises:
        WeightsError: A layer computes otherwise; the message names it.
    """
    layers, found = _layers(net), _backbones(net)
    if all(layer._parameters.keys() == _PLAIN and not layer._forward_pre_hooks for layer in layers.values()):
        return found | _weights(layers)  # nothing to compute
    with torch.no_grad():
        return found | apart(lambda: _weights(layers))


_PLAIN = {"weight", "bias"}


def _layers(net: MultiColumn) -> dict[str, nn.Module]:
    """The blocks and fully-connected layers by name, which depend only on their weights."""
    layers: dict[str, nn.Module] = {}
    for i, column in enumerate(net.columns):
        if not isinstance(column, AnyColumn):
            raise WeightsError(f"columns.{i} must be a column of this project, it is a {type(column).__name__}")
        blocks: Iterable[nn.Module] = column.blocks if isinstance(column, Column) else ()
        single = column.layers if isinstance(column, GraphColumn) else ()
        for kind, plain, found in (("blocks", Block, blocks), ("fc", nn.Linear, column.fc), ("layers", GraphWeights, single)):
            for j, layer in enumerate(found):
                layers[_require(f"columns.{i}.{kind}.{j}", layer, plain)] = layer
    layers[_require("label", net.label, nn.Linear)] = net.label
    if net.attribute is not None:
        layers[_require("attribute", net.attribute, nn.Linear)] = net.attribute
    return layers


def _backbones(net: MultiColumn) -> dict[str, Tensor]:
    columns = enumerate(net.columns)
    return {f"columns.{i}{BACKBONE}": column.backbone for i, column in columns if isinstance(column, BackboneColumn)}


def _require(name: str, layer: nn.Module, plain: type[nn.Module]) -> str:
    """The name of a layer of exactly that class. Raises WeightsError for a subclass, which may compute differently."""
    if isinstance(layer, plain) and type(layer).forward is plain.forward:
        return name
    raise WeightsError(
        f"{name} must be a plain {plain.__name__} to be computed from its weights, it is a {type(layer).__name__}"
    )


def _weights(layers: dict[str, nn.Module]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for name, layer in layers.items():
        # Pruning and torch's older weight norm recompute the weight before each call; other hooks are not called.
        for hook in layer._forward_pre_hooks.values():
            if isinstance(hook, BasePruningMethod) or hasattr(hook, "compute_weight"):
                hook(layer, ())
        for kind in ("weight", "bias"):
            value = getattr(layer, kind, None)
            if value is None and isinstance(layer, GraphWeights):
                continue  # its spec states which it has
            if not isinstance(value, Tensor):
                raise WeightsError(f"{name} must have a {kind}, it has none")
            found[f"{name}.{kind}"] = value
    return found
