"""The first filters of each column of a model, and the names of their pictures."""

from __future__ import annotations

from torch import Tensor

from dcnn_fast.nets import BackboneColumn, Column, GraphColumn, Model
from dcnn_fast.networks import Network
from dcnn_fast.networks.graph_layers import ConvLayer
from dcnn_fast.viz.picture_files import safe


def filter_files(network: Network, name: str = "") -> tuple[str, ...]:
    """The names of the pictures of each column's first filters.

    Args:
        network: The network whose columns are drawn.
        name: Tells the pictures of several models apart; empty for none.

    Returns:
        filters-<name>-<column>.png for each column; filters-<column>.png where the name is empty.
    """
    return tuple("-".join(filter(None, ("filters", safe(name), safe(key)))) + ".png" for key in network.column_keys())


def first_filters(model: Model) -> list[Tensor]:
    """The first filters of each column.

    Args:
        model: The model, whose own parameters are handed out, not copies.

    Returns:
        A weight for each column, in their order.

    Raises:
        ValueError: A column has no convolution of pixels.
    """
    found = []
    for column in model.net.columns:
        if isinstance(column, BackboneColumn):
            found.append(column.stem)
            continue
        if isinstance(column, GraphColumn):
            found.append(_of_pixels(column))
            continue
        assert isinstance(column, Column)
        weight = column.blocks[0].weight
        assert isinstance(weight, Tensor)
        found.append(weight)
    return found


def _of_pixels(column: GraphColumn) -> Tensor:
    """The filters of the first convolution that reads pixels. Raises ValueError where there is none."""
    for layer, module in zip(column.spec.layers, column.layers, strict=True):
        weight = module.weight
        if isinstance(layer, ConvLayer) and layer.shared and layer.inputs == (0,) and isinstance(weight, Tensor):
            return weight
    raise ValueError("filters are those of a convolution of pixels, which this network's column has not")
