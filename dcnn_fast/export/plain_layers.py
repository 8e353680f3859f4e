"""Columns of single layers in torch's own operators, so that `torch.export` can lower them to aten."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dcnn_fast.nets import GraphColumn
from dcnn_fast.nets import graph_layers as layers
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
    SumLayer,
)
from dcnn_fast.networks.layers import SameMapNorm
from dcnn_fast.ops.norm import reference as norms


class PlainLayers(nn.Module):
    """[N, C, window, window] pixels -> [N, outputs]. Its weights are copies."""

    def __init__(self, column: GraphColumn) -> None:
        super().__init__()
        self._layers = column.spec.layers
        for name, parameter in column.named_parameters():
            self.register_buffer(name.replace(".", "_"), parameter.detach().float().contiguous().clone())

    def forward(self, x: Tensor) -> Tensor:
        results = [x]
        for index, layer in enumerate(self._layers):
            results.append(self._layer(index, layer, [results[below] for below in layer.inputs]))
        return results[-1].flatten(1)

    def _layer(self, index: int, layer: AnyLayer, given: Sequence[Tensor]) -> Tensor:
        x = given[0]
        match layer:
            case ConvLayer():
                result = self._convolved(index, layer, x)
            case FcLayer():
                result = F.linear(x.flatten(1), self._of(index, "weight"), self._bias(index, layer.bias))[:, :, None, None]
            case PoolLayer():
                result = _pool(x, layer)
            case NormLayer():
                result = _norm(x, layer)
            case NeuronLayer():
                result = layers.neuron(x, layer)
            case DropoutLayer():
                result = layers.dropout(x, layer, training=False)
            case ConcatLayer():
                result = layers.concat(given)
            case SumLayer():
                result = layers.total(given, layer.coefficients)
            case MaxLayer():
                result = reduce(torch.maximum, given)
        return result

    def _convolved(self, index: int, layer: ConvLayer, x: Tensor) -> Tensor:
        weight, bias = self._of(index, "weight"), self._bias(index, layer.bias != "none")
        if layer.shared:
            padded = layers.overhung(layers.spread(x, layer), layer)
            y = F.conv2d(padded, weight, stride=layer.stride, groups=layer.groups)
        else:
            y = layers.unshared(x, weight, layer)
        if bias is None:
            return y
        return y + (bias.reshape(1, -1, 1, 1) if layer.bias == "map" else bias)

    def _of(self, index: int, name: str) -> Tensor:
        return self.get_buffer(f"layers_{index}_{name}")

    def _bias(self, index: int, is_there: bool) -> Tensor | None:
        return self._of(index, "bias") if is_there else None


def _pool(x: Tensor, layer: PoolLayer) -> Tensor:
    if layer.kind != "max":
        return layers.pool(x, layer)
    after = layer.start + (layer.count(x.shape[2]) - 1) * layer.stride + layer.size - x.shape[2]
    padded = F.pad(x, (-layer.start, after, -layer.start, after), value=float("-inf"))
    return F.max_pool2d(padded, layer.size, layer.stride)


def _norm(x: Tensor, layer: NormLayer) -> Tensor:
    if layer.kind == "contrast":
        x = x - layers.pool(x, PoolLayer((0,), "avg", layer.size, 1, -(layer.size // 2), x.shape[2]))
    if layer.as_norm is not None:
        return norms.forward(x, layer.as_norm)
    return norms.forward(x, SameMapNorm(layer.size, layer.scale / layer.k, layer.power)) * float(layer.k**-layer.power)
