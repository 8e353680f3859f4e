"""Columns of single layers as ONNX nodes (`networks.graph_layers` defines the layers)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch import nn

from dcnn_fast.export.graph import Graph
from dcnn_fast.export.norm_nodes import norm_nodes
from dcnn_fast.nets import GraphColumn
from dcnn_fast.networks.graph_layers import (
    AnyLayer,
    ConcatLayer,
    ConvLayer,
    DropoutLayer,
    FcLayer,
    MaxLayer,
    NeuronLayer,
    NormLayer,
    PoolLayer,
    Shape,
    SumLayer,
)
from dcnn_fast.networks.layers import SameMapNorm

_ALMOST = 4.0  # above this, cuda-convnet's softrelu is x itself


def single_layers(graph: Graph, column: GraphColumn, pixels: str) -> str:
    """Add nodes for its layers. pixels: [N, C, window, window]. Returns the name of [N, outputs] in (C, H, W) order."""
    shapes, results = column.spec.shapes(), [pixels]
    for index, layer in enumerate(column.spec.layers):
        given = [results[below] for below in layer.inputs]
        results.append(_layer(graph, layer, column.layers[index], given, [shapes[below] for below in layer.inputs]))
    return graph.add("Flatten", results[-1], axis=1)


def _layer(graph: Graph, layer: AnyLayer, weights: nn.Module, given: Sequence[str], shapes: Sequence[Shape]) -> str:
    """Add a layer's nodes: from the inputs' [N, C, H, W] to its result's."""
    x, shape = given[0], shapes[0]
    match layer:
        case ConvLayer():
            result = _conv(graph, layer, weights, x, shape)
        case FcLayer():
            result = _connected(graph, layer, weights, x)
        case PoolLayer():
            result = _pool(graph, layer, x, shape[1])
        case NormLayer():
            result = _norm(graph, layer, x, shape)
        case NeuronLayer():
            result = _NEURONS[layer.neuron](graph, x, *layer.values)
        case DropoutLayer():
            result = _times(graph, x, 1 - layer.share) if layer.keeps else x
        case ConcatLayer():
            is_maps = len({each[1] for each in shapes}) == 1
            parts = given if is_maps else [graph.add("Reshape", each, graph.integers(0, -1, 1, 1)) for each in given]
            result = graph.add("Concat", *parts, axis=1)
        case SumLayer():
            factors = layer.coefficients or (1.0,) * len(given)
            result = graph.add("Sum", *(_times(graph, each, factor) for each, factor in zip(given, factors, strict=True)))
        case MaxLayer():
            result = graph.add("Max", *given)
    return result


def _connected(graph: Graph, layer: FcLayer, weights: nn.Module, x: str) -> str:
    flat = graph.add("Flatten", x, axis=1)
    bias = [_constant(graph, weights.get_parameter("bias"))] if layer.bias else []
    made = graph.add("Gemm", flat, _constant(graph, weights.get_parameter("weight")), *bias, transB=1)
    return graph.add("Unsqueeze", made, graph.integers(2, 3))


def _conv(graph: Graph, layer: ConvLayer, weights: nn.Module, x: str, shape: Shape) -> str:
    if layer.connections:
        x = graph.add("Gather", x, graph.integers(*layer.connections), axis=1)
        shape = (len(layer.connections), *shape[1:])
    side = layer.side(shape[1])
    after = (side - 1) * layer.stride + layer.size - shape[1] - layer.padding
    where: dict[str, Any] = {
        "kernel_shape": [layer.size] * 2, "strides": [layer.stride] * 2, "pads": [layer.padding, layer.padding, after, after],
    }  # fmt: skip
    if layer.shared:
        made = graph.add("Conv", x, _constant(graph, weights.get_parameter("weight")), group=layer.groups, **where)
    else:
        made = _of_each_place(graph, layer, weights, _seen(graph, x, shape[0], layer.size, where), (side, shape[0]))
    if layer.bias == "none":
        return made
    bias = _values(weights.get_parameter("bias"))
    return graph.add("Add", made, graph.constant(bias.reshape(1, layer.filters, *bias.shape[1:] or (1, 1))))


def _seen(graph: Graph, x: str, channels: int, size: int, where: dict[str, Any]) -> str:
    """The input patch of each place, [N, channels * size * size, side, side]: a convolution that takes each value once."""
    takes = np.eye(size * size, dtype=np.float32).reshape(-1, 1, size, size)
    return graph.add("Conv", x, graph.constant(np.tile(takes, (channels, 1, 1, 1))), group=channels, **where)


def _of_each_place(graph: Graph, layer: ConvLayer, weights: nn.Module, seen: str, sizes: tuple[int, int]) -> str:
    """Apply each place's filters to its patch."""
    (side, channels), groups = sizes, layer.groups
    depth = channels // groups * layer.size**2
    rows = graph.add("Reshape", seen, graph.integers(-1, groups, depth, side * side))
    rows = graph.add("Transpose", rows, perm=[3, 1, 2, 0])  # [places, groups, depth, N]
    filters = _values(weights.get_parameter("weight")).reshape(side * side, groups, -1, depth)
    made = graph.add("MatMul", graph.constant(filters), rows)  # [places, groups, filters of a group, N]
    made = graph.add("Transpose", made, perm=[3, 1, 2, 0])
    return graph.add("Reshape", made, graph.integers(-1, layer.filters, side, side))


def _pool(graph: Graph, layer: PoolLayer, x: str, extent: int) -> str:
    """Padding counts as minus infinity or not at all; parts at the edges outside all pool windows are cut off before."""
    count = layer.count(extent)
    last = layer.start + (count - 1) * layer.stride + layer.size
    first, end = max(0, layer.start), min(extent, last)
    if (first, end) != (0, extent):
        ends = [graph.integers(each, each) for each in (first, end)]
        x = graph.add("Slice", x, *ends, graph.integers(2, 3))
    before, after = max(0, -layer.start), max(0, last - extent)
    where: dict[str, Any] = {
        "kernel_shape": [layer.size] * 2, "strides": [layer.stride] * 2, "pads": [before, before, after, after], "ceil_mode": 0,
    }  # fmt: skip
    if layer.kind == "max":
        return graph.add("MaxPool", x, **where)
    means = graph.add("AveragePool", x, count_include_pad=1, **where)
    if layer.kind == "sum":
        return _times(graph, means, layer.size**2)
    starts = layer.start + layer.stride * np.arange(count)
    there = np.minimum(extent, starts + layer.size) - np.maximum(0, starts)  # each window's places inside, along a side
    shares = layer.size**2 / (there[:, None] * there[None, :])
    return graph.add("Mul", means, graph.constant(shares.astype(np.float32)[None, None]))


def _norm(graph: Graph, layer: NormLayer, x: str, shape: Shape) -> str:
    if layer.kind == "contrast":
        around = PoolLayer((0,), "avg", layer.size, 1, -(layer.size // 2), shape[1])
        x = graph.add("Sub", x, _pool(graph, around, x, shape[1]))
    if layer.as_norm is not None:
        return norm_nodes(graph, layer.as_norm, x, shape[0])
    # d = k * (1 + scale / k * ...): a norm with k = 1 computes the same
    scaled = SameMapNorm(layer.size, layer.scale / layer.k, layer.power)
    return _times(graph, norm_nodes(graph, scaled, x, shape[0]), layer.k**-layer.power)


def _softrelu(graph: Graph, x: str) -> str:
    grown = graph.add("Exp", graph.add("Min", x, graph.number(_ALMOST)))
    low = graph.add("Log", graph.add("Add", grown, graph.number(1.0)))
    return graph.add("Where", graph.add("Greater", x, graph.number(_ALMOST)), x, low)


def _tanh(graph: Graph, x: str, a: float, b: float) -> str:
    return _times(graph, graph.add("Tanh", _times(graph, x, b)), a)


_NEURONS: dict[str, Callable[..., str]] = {
    "ident": lambda graph, x: x,
    "relu": lambda graph, x: graph.add("Relu", x),
    "logistic": lambda graph, x: graph.add("Sigmoid", x),
    "abs": lambda graph, x: graph.add("Abs", x),
    "softrelu": _softrelu,
    "square": lambda graph, x: graph.add("Mul", x, x),
    "sqrt": lambda graph, x: graph.add("Sqrt", x),
    "tanh": _tanh,
    "abstanh": lambda graph, x, a, b: _times(graph, graph.add("Abs", _tanh(graph, x, 1.0, b)), a),
    "linear": lambda graph, x, a, b: graph.add("Add", _times(graph, x, a), graph.number(b)),
    "brelu": lambda graph, x, a: graph.add("Min", graph.add("Relu", x), graph.number(a)),
    "log": lambda graph, x, a: graph.add("Log", graph.add("Add", x, graph.number(a))),
    "drelu": lambda graph, x, a: graph.add("Sub", x, _times(graph, graph.add("Tanh", _times(graph, x, 1 / a)), a)),
}


def _times(graph: Graph, x: str, factor: float) -> str:
    return x if factor == 1 else graph.add("Mul", x, graph.number(factor))


def _values(parameter: nn.Parameter) -> np.ndarray:
    values: np.ndarray = parameter.detach().cpu().float().contiguous().numpy()
    return values


def _constant(graph: Graph, parameter: nn.Parameter) -> str:
    return graph.constant(_values(parameter))
