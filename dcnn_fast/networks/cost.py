"""A column's cost per view: sizes, parameters and multiplications of each layer."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dcnn_fast.networks import bounds
from dcnn_fast.networks.backbone import BackboneColumn
from dcnn_fast.networks.efficientnet import HEAD, STEM, lite_stages
from dcnn_fast.networks.graph import GraphColumn
from dcnn_fast.networks.graph_layers import ConvLayer, NormLayer, kind_of
from dcnn_fast.networks.layers import Block, Column, CrossMapNorm

if TYPE_CHECKING:
    from dcnn_fast.networks.network import AnyColumn, Network


@dataclass(frozen=True)
class LayerCost:
    """One row of `dcnn-fast describe`.

    Attributes:
        name: The layer's name.
        what: Its description.
        shape: Its output, [C, H, W].
        parameters: The number of its parameters.
        macs: The number of its multiply-adds.
    """

    name: str
    what: str
    shape: tuple[int, int, int]
    parameters: int
    macs: int


def column_costs(column: AnyColumn) -> tuple[LayerCost, ...]:
    """The layer table of one column for one window, without the label layer (docs/paper.md#sizes counts the same way).

    Args:
        column: The column.

    Returns:
        A row for each layer, in order.

    Source:
        docs/paper.md#sizes
    """
    if isinstance(column, GraphColumn):
        return tuple(_graph_costs(column))
    rows = list(_backbone_costs(column)) if isinstance(column, BackboneColumn) else _block_costs(column)
    inputs = column.features
    for number, size in enumerate(column.fc, 1):
        rows.append(LayerCost(f"fc{number}", f"{inputs} -> {size} + ReLU", (size, 1, 1), size * (inputs + 1), size * inputs))
        inputs = size
    return tuple(rows)


def parameters(network: Network) -> int:
    """The number of parameters in all columns and the layers on top of them."""
    joined = sum(column.outputs for column in network.columns)
    outputs = len(network.labels) + len(network.attributes)
    return sum(layer.parameters for column in network.columns for layer in column_costs(column)) + outputs * (joined + 1)


def require_affordable(owner: str, columns: Sequence[AnyColumn], outputs: int = 0) -> None:
    """Raise ValueError where columns with a layer of `outputs` on top of them exceed `bounds`.

    The sums of response norms count as multiplications here.
    """
    costs = [
        (layer.parameters, layer.macs, layer.shape[0] * layer.shape[1] * layer.shape[2])
        for column in columns
        for layer in column_costs(column)
    ]
    for column in columns:
        if isinstance(column, Column):
            costs += [(0, sums, 0) for sums in _norm_sums(column)]
        elif isinstance(column, GraphColumn):
            shapes = column.shapes()
            costs += [(0, layer.sums(shapes[layer.inputs[0]]), 0) for layer in column.layers if isinstance(layer, NormLayer)]
    joined = sum(column.outputs for column in columns)
    bounds.require_affordable(owner, [*costs, (outputs * (joined + 1), outputs * joined, outputs)])


def _norm_sums(column: Column) -> Iterator[int]:
    """The number of terms that each norm of a column sums for one window."""
    extent = column.window
    for block in column.blocks:
        side = _norm_side(block, extent, column)
        if isinstance(block.norm, CrossMapNorm):
            yield block.filters * side**2 * min(block.norm.size, block.filters)
        elif block.norm is not None:
            yield block.filters * side**2 * min(block.norm.size, side) ** 2
        extent = block.out_extent(extent, column.rounding)


def _norm_side(block: Block, extent: int, column: Column) -> int:
    return block.conv_extent(extent, column.rounding) if block.norm_first else block.out_extent(extent, column.rounding)


def _backbone_costs(column: BackboneColumn) -> Iterator[LayerCost]:
    """Multiplications with padding count, as in blocks."""
    side = -(-column.window // 2)
    taps = 9 * column.channels
    yield LayerCost("stem", "3x3 stride 2 + ReLU6", (STEM, side, side), STEM * (taps + 1), STEM * taps * side**2)
    for stage, blocks in enumerate(lite_stages(column.lite)):
        for number, block in enumerate(blocks, 1):
            before, side = side, -(-side // block.stride)
            expands = block.expansion > 1
            parameters = block.expanded * (block.size**2 + 1) + block.filters * (block.expanded + 1)
            macs = block.expanded * (block.size**2 + block.filters) * side**2
            if expands:
                parameters += block.expanded * (block.channels + 1)
                macs += block.expanded * block.channels * before**2
            what = f"{'1x1 to ' if expands else ''}{block.expanded}, {block.size}x{block.size} stride {block.stride} each, 1x1"
            what += " + input" if block.residual else ""
            yield LayerCost(f"stage{stage}.{number}", what, (block.filters, side, side), parameters, macs)
    last = lite_stages(column.lite)[-1][-1].filters
    yield LayerCost("head", "1x1 + ReLU6", (HEAD, side, side), HEAD * (last + 1), HEAD * last * side**2)
    about = "of each map" + (f", those of stages {', '.join(map(str, column.stages))} too" if column.stages else "")
    yield LayerCost("mean", about, (column.features, 1, 1), 0, 0)


def _graph_costs(column: GraphColumn) -> Iterator[LayerCost]:
    """A row for each layer, numbered, with the numbers of its inputs unless its input is the layer before."""
    shapes = column.shapes()
    for number, layer in enumerate(column.layers, 1):
        given = [shapes[below] for below in layer.inputs]
        below = "" if layer.inputs == (number - 1,) else f" (of {', '.join(map(str, layer.inputs))})"
        parameters = sum(map(math.prod, layer.parameters(given).values()))
        kind = "local" if isinstance(layer, ConvLayer) and not layer.shared else kind_of(layer)
        yield LayerCost(f"{kind}{number}", layer.about() + below, shapes[number], parameters, layer.products(given))


def _block_costs(column: Column) -> list[LayerCost]:
    rows: list[LayerCost] = []
    channels, extent = column.channels, column.window
    for number, block in enumerate(column.blocks, 1):
        conv = block.conv_extent(extent, column.rounding)
        taps = block.size**2 * channels // block.groups
        what = f"{block.size}x{block.size} stride {block.stride} pad {block.padding}"
        if block.groups > 1:
            what += f" groups {block.groups}"
        rows.append(
            LayerCost(
                f"conv{number}",
                what if block.relu_last else f"{what} + ReLU",
                (block.filters, conv, conv),
                block.filters * (taps + 1),
                block.filters * taps * conv**2,
            )
        )
        out = block.out_extent(extent, column.rounding)
        tail = []
        if block.pool is not None:
            tail.append(("pool", f"{block.pool.kind} {block.pool.size}x{block.pool.size} stride {block.pool.stride}", out))
        if block.norm is not None:
            kind = "across maps" if isinstance(block.norm, CrossMapNorm) else "same map"
            side = conv if block.norm_first else out
            tail.append(("norm", f"{kind}, size {block.norm.size}, scale {block.norm.scale:g}", side))
        if block.norm_first:
            tail.reverse()
        if block.relu_last:
            tail.append(("relu", "", out))
        rows += [LayerCost(f"{kind}{number}", about, (block.filters, side, side), 0, 0) for kind, about, side in tail]
        channels, extent = block.filters, out
    if column.reduce == "mean":
        rows.append(LayerCost("mean", "of each map", (column.features, 1, 1), 0, 0))
    return rows
