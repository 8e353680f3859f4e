"""Columns as ONNX nodes: from windows of pixels to the activations of the last fully-connected layer."""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn

from dcnn_fast import networks
from dcnn_fast.export.extents import conv_padding, pool_overhang
from dcnn_fast.export.graph import Graph
from dcnn_fast.export.norm_nodes import norm_nodes
from dcnn_fast.export.single_layers import single_layers
from dcnn_fast.nets import AnyColumn, BackboneColumn, Block, Column, GraphColumn
from dcnn_fast.nets.backbone import backbone_weights, params_of
from dcnn_fast.networks import Pool, Rounding
from dcnn_fast.ops.mbconv import MbConvParams, MbConvWeights, same_padding

_CEILING = 6.0  # ReLU6's upper bound


def column_nodes(graph: Graph, column: AnyColumn, windows: str) -> str:
    """Nodes of one column.

    windows: name of uint8 [N, window, window, 3]. Returns the name of float32 [N, outputs].
    """
    pixels = _pixels(graph, windows, column.spec.mean, column.spec.scale)
    if isinstance(column, Column):
        features = _blocks(graph, column, pixels)
    elif isinstance(column, BackboneColumn):
        features = _backbone(graph, column, pixels)
    elif isinstance(column, GraphColumn):
        features = single_layers(graph, column, pixels)
    else:
        raise ValueError(f"model must have columns of a known kind, got {type(column).__name__}")
    for layer in column.fc:
        features = graph.add("Relu", linear(graph, layer, features))
    return features


def linear(graph: Graph, layer: nn.Module, x: str, name: str | None = None) -> str:
    """A fully-connected layer over [N, inputs]."""
    weight, bias = layer.get_parameter("weight"), layer.get_parameter("bias")
    return graph.add("Gemm", x, _weights(graph, weight), _weights(graph, bias), transB=1, name=name)


def _weights(graph: Graph, values: Tensor) -> str:
    return graph.constant(values.detach().cpu().float().numpy())


def _pixels(graph: Graph, windows: str, mean: tuple[float, ...], scale: float) -> str:
    """[N, H, W, C] bytes as [N, C, H, W] of (pixel - mean) * scale."""
    planar = graph.add("Cast", graph.add("Transpose", windows, perm=[0, 3, 1, 2]), to=1)  # 1: float32
    taken = graph.constant(np.array(mean, np.float32).reshape(1, -1, 1, 1))
    return graph.add("Mul", graph.add("Sub", planar, taken), graph.number(scale))


def _blocks(graph: Graph, column: Column, x: str) -> str:
    rounding = column.spec.rounding
    for block, extent in zip(column.blocks, column.spec.extents(), strict=False):
        assert isinstance(block, Block)
        x = _block(graph, block, x, extent, rounding)
    if column.spec.reduce == "mean":
        x = graph.add("GlobalAveragePool", x)
    return graph.add("Flatten", x, axis=1)  # in (C, H, W) order


def _block(graph: Graph, block: Block, x: str, extent: int, rounding: Rounding) -> str:
    described = block.spec
    before, after = conv_padding(described, extent, rounding)
    x = graph.add(
        "Conv", x, _weights(graph, block.weight), _weights(graph, block.bias), kernel_shape=[described.size] * 2,
        strides=[described.stride] * 2, pads=[before, before, after, after], group=described.groups,
    )  # fmt: skip
    x = graph.add("Relu", x)
    conv = described.conv_extent(extent, rounding)
    if described.order == "conv-pool-norm":
        return _norm(graph, described, _pool(graph, described.pool, x, conv, rounding))
    return _pool(graph, described.pool, _norm(graph, described, x), conv, rounding)


def _norm(graph: Graph, described: networks.Block, x: str) -> str:
    return x if described.norm is None else norm_nodes(graph, described.norm, x, described.filters)


def _pool(graph: Graph, pool: Pool | None, x: str, extent: int, rounding: Rounding) -> str:
    """Padding counts as minus infinity, so that a pool window's maximum is that of its places in the image."""
    if pool is None:
        return x
    over = pool_overhang(pool, extent, rounding)
    return graph.add(
        "MaxPool", x, kernel_shape=[pool.size] * 2, strides=[pool.stride] * 2, pads=[0, 0, over, over], ceil_mode=0
    )


def _backbone(graph: Graph, column: BackboneColumn, x: str) -> str:
    described = column.spec
    params = params_of(described.lite, described.stages, side=described.window)
    weights = backbone_weights(column.backbone.detach().cpu().float(), described.lite)
    stem = params.stem
    before, after = same_padding(described.window, stem.size, stem.stride)
    x = _relu6(graph, _conv(graph, x, *weights.stem, stride=stem.stride, pads=(before, before, after, after)))
    means = []
    for number, (problem, layers) in enumerate(zip(params.problems(), weights.blocks, strict=True)):
        x = _inverted_residual(graph, problem, layers, x)
        if number in params.taps:
            means.append(graph.add("GlobalAveragePool", x))
    means.append(graph.add("GlobalAveragePool", _relu6(graph, _at_each_pixel(graph, x, *weights.head))))
    return graph.add("Flatten", graph.add("Concat", *means, axis=1), axis=1)


def _inverted_residual(graph: Graph, problem: MbConvParams, weights: MbConvWeights, x: str) -> str:
    maps = x if weights.expand is None else _relu6(graph, _at_each_pixel(graph, x, *weights.expand))
    above, below, left, right = problem.padding
    filters, bias = weights.depthwise
    maps = _conv(
        graph, maps, filters[:, None], bias, stride=problem.stride, pads=(above, left, below, right), groups=problem.expanded
    )
    maps = _at_each_pixel(graph, _relu6(graph, maps), *weights.project)
    return graph.add("Add", maps, x) if problem.residual else maps


def _at_each_pixel(graph: Graph, x: str, weight: Tensor, bias: Tensor) -> str:
    return _conv(graph, x, weight[:, :, None, None], bias)


def _conv(
    graph: Graph, x: str, weight: Tensor, bias: Tensor, *, stride: int = 1, pads: tuple[int, int, int, int] = (0, 0, 0, 0),
    groups: int = 1,
) -> str:  # fmt: skip
    return graph.add(
        "Conv", x, _weights(graph, weight), _weights(graph, bias), kernel_shape=list(weight.shape[2:]), strides=[stride] * 2,
        pads=list(pads), group=groups,
    )  # fmt: skip


def _relu6(graph: Graph, x: str) -> str:
    return graph.add("Clip", x, graph.number(0.0), graph.number(_CEILING))
