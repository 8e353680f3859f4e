"""Response norms as ONNX nodes."""

from __future__ import annotations

import numpy as np

from dcnn_fast.export.extents import norm_reach
from dcnn_fast.export.graph import Graph
from dcnn_fast.networks import CrossMapNorm, Norm, SameMapNorm


def norm_nodes(graph: Graph, norm: Norm, x: str, maps: int) -> str:
    """The norm of [N, maps, H, W], with the same shape."""
    if isinstance(norm, CrossMapNorm) and norm.size % 2 and norm.scale > 0 and norm.power > 0:  # LRN's domain
        return graph.add("LRN", x, size=norm.size, alpha=norm.scale, beta=norm.power, bias=norm.k)
    squares = graph.add("Mul", x, x)
    if isinstance(norm, CrossMapNorm):
        scaled, least = _across_maps(graph, norm, squares, maps), norm.k
    else:
        scaled, least = _within_maps(graph, norm, squares), 1.0
    denominator = graph.add("Add", scaled, graph.number(least))
    return graph.add("Div", x, graph.add("Pow", denominator, graph.number(norm.power)))


def _across_maps(graph: Graph, norm: CrossMapNorm, squares: str, maps: int) -> str:
    """scale / size times the sum over each window of maps, as a convolution of 1 x 1 with a band of weights."""
    before, after = norm_reach(norm.size)
    distance = np.arange(maps)[None, :] - np.arange(maps)[:, None]
    band = np.where((distance >= -before) & (distance <= after), norm.scale / norm.size, 0.0)
    return graph.add("Conv", squares, graph.constant(band.astype(np.float32)[:, :, None, None]), kernel_shape=[1, 1])


def _within_maps(graph: Graph, norm: SameMapNorm, squares: str) -> str:
    """scale / size**2 times the sum over each window of places; places outside the map count as zeros."""
    before, after = norm_reach(norm.size)
    means = graph.add(
        "AveragePool", squares, kernel_shape=[norm.size] * 2, strides=[1, 1], pads=[before, before, after, after],
        count_include_pad=1,
    )  # fmt: skip
    return graph.add("Mul", means, graph.number(norm.scale))
