"""The single layers of a graph, in torch's operations and this project's own (docs/cuda-convnet.md#formulas)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dcnn_fast import ops
from dcnn_fast.networks.graph_layers import ConvLayer, DropoutLayer, NeuronLayer, NormLayer, PoolLayer
from dcnn_fast.networks.layers import SameMapNorm
from dcnn_fast.ops.block.params import Ties

_ALMOST = 4.0  # above this, cuda-convnet's softrelu is x itself


def neuron(x: Tensor, layer: NeuronLayer) -> Tensor:
    """The function of each value. Gradients are cuda-convnet's: -1 of abs at 0, 0 of relu at 0 and of brelu at its bound."""
    return _NEURONS[layer.neuron](x, *layer.values)


def _softrelu(x: Tensor) -> Tensor:
    low = x.clamp(max=_ALMOST)
    return torch.where(x > _ALMOST, x, low.exp().log1p())


_NEURONS: dict[str, Callable[..., Tensor]] = {
    "ident": lambda x: x,
    "relu": torch.relu,
    "logistic": torch.sigmoid,
    "abs": lambda x: torch.where(x > 0, x, -x),
    "softrelu": _softrelu,
    "square": torch.square,
    "sqrt": torch.sqrt,
    "tanh": lambda x, a, b: a * torch.tanh(b * x),
    "abstanh": lambda x, a, b: a * torch.tanh(b * x).abs(),
    "linear": lambda x, a, b: a * x + b,
    "brelu": lambda x, a: torch.where(x >= a, torch.full_like(x, a), torch.relu(x)),  # clamp has a gradient at its bound
    "log": lambda x, a: torch.log(a + x),
    "drelu": lambda x, a: x - a * torch.tanh(x / a),
}


def pool(x: Tensor, layer: PoolLayer, ties: Ties = "all") -> Tensor:
    """[N, C, H, W] -> [N, C, outputs, outputs]; pool windows are clipped to the image; an average is over the clipped window.

    ties: which inputs get the gradients of maxima.
    """
    extent = x.shape[2]
    span = (layer.count(extent) - 1) * layer.stride + layer.size
    before, after = -layer.start, layer.start + span - extent
    pad = (before, after, before, after)  # negative where the pool windows omit a border
    if layer.kind == "max":
        padded = F.pad(x, pad, value=float("-inf")) if any(pad) else x
        return ops.max_pool(padded, layer.size, layer.stride, rounding="down", ties=ties)
    sums = F.avg_pool2d(F.pad(x, pad), layer.size, layer.stride, divisor_override=1)
    if layer.kind == "sum":
        return sums
    ones = F.pad(torch.ones(1, 1, extent, extent, dtype=x.dtype, device=x.device), pad)
    return sums / F.avg_pool2d(ones, layer.size, layer.stride, divisor_override=1)


def norm(x: Tensor, layer: NormLayer) -> Tensor:
    """[N, C, H, W], same shape out. No gradient flows through the average that "contrast" subtracts, as in cuda-convnet."""
    if layer.kind == "contrast":
        side = x.shape[2]
        around = PoolLayer((0,), "avg", layer.size, 1, -(layer.size // 2), side)
        x = x - pool(x.detach(), around)
    known = layer.as_norm
    if known is not None:
        return ops.response_norm(x, known)
    # d = k * (1 + scale / k * ...): a norm with k = 1 computes the same
    scaled = SameMapNorm(layer.size, layer.scale / layer.k, layer.power)
    return ops.response_norm(x, scaled) * float(layer.k**-layer.power)


def dropout(x: Tensor, layer: DropoutLayer, training: bool) -> Tensor:
    """In training a share of the values becomes 0; otherwise all are multiplied by the kept share, or unchanged."""
    kept = 1 - layer.share
    if training:
        return F.dropout(x, layer.share, True) * kept
    return x * kept if layer.keeps else x


def flat(x: Tensor) -> Tensor:
    """[N, C, H, W] -> [N, C * H * W, 1, 1], in that order."""
    return x.reshape(x.shape[0], -1, 1, 1)


def concat(given: Sequence[Tensor]) -> Tensor:
    """Concatenate maps of one size as maps, other inputs as vectors."""
    if len({x.shape[2:] for x in given}) == 1:
        return torch.cat(list(given), 1)
    return torch.cat([flat(x) for x in given], 1)


def total(given: Sequence[Tensor], coefficients: Sequence[float]) -> Tensor:
    """The sum, each input multiplied by its coefficient where there are any."""
    factors = coefficients or (1.0,) * len(given)
    parts = [x if factor == 1 else x * factor for x, factor in zip(given, factors, strict=True)]
    result = parts[0]
    for part in parts[1:]:
        result = result + part
    return result


class Largest(torch.autograd.Function):
    """The elementwise maximum of its inputs; each input equal to it gets its gradient."""

    @staticmethod
    def forward(ctx: Any, *given: Tensor) -> Tensor:
        result = given[0]
        for x in given[1:]:
            result = torch.maximum(result, x)
        ctx.save_for_backward(result, *given)
        return result

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        result, *given = ctx.saved_tensors
        return tuple(grads[0] * (x == result) for x in given)


def spread(x: Tensor, layer: ConvLayer) -> Tensor:
    """The maps that the groups read, group by group."""
    return x[:, list(layer.connections)] if layer.connections else x


def overhung(x: Tensor, layer: ConvLayer) -> Tensor:
    """x padded with zeros: the padding, and at the far edges the overhang of the last window."""
    before = layer.padding
    after = (layer.side(x.shape[2]) - 1) * layer.stride + layer.size - x.shape[2] - before
    return F.pad(x, (before, after, before, after))


def patches(x: Tensor, layer: ConvLayer) -> Tensor:
    """The input patches of each place's filters: [places, groups, channels of a group * S * S, N]."""
    padded = overhung(spread(x, layer), layer)
    seen = F.unfold(padded, layer.size, stride=layer.stride)  # [N, C * S * S, places]
    count, _, places = seen.shape
    return seen.reshape(count, layer.groups, -1, places).permute(3, 1, 2, 0)


def unshared(x: Tensor, weight: Tensor, layer: ConvLayer) -> Tensor:
    """The convolution with different filters in each place: weight [places, F, C / groups, S, S] -> [N, F, H, W]."""
    seen = patches(x, layer)
    places, groups, depth, count = seen.shape
    side = round(places**0.5)
    filters = weight.reshape(places, groups, -1, depth)
    return (filters @ seen).reshape(places, -1, count).permute(2, 1, 0).reshape(count, -1, side, side)
