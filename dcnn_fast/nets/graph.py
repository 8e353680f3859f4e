"""A column whose layers are a graph as a torch module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dcnn_fast import networks, ops
from dcnn_fast.nets import graph_layers as layers
from dcnn_fast.nets.column import HALVES, PIXEL_SPREAD, AnyColumn, draw, require_windows
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
from dcnn_fast.ops.plain_torch import plainly
from dcnn_fast.ops.precision import Precision

_TOGETHER = 16  # windows computed at a time: this keeps the maps of one layer small ...
_SEEN = 2**26  # ... and this the patches of filters that differ by place, in values


class GraphWeights(nn.Module):
    """A layer's weight and, where it has one, bias; the column computes with them."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        super().__init__()
        for name in ("weight", "bias"):
            self.register_parameter(name, nn.Parameter(_zeros(shapes[name])) if name in shapes else None)

    def forward(self) -> None:
        """Do nothing, as the column computes the layers of a graph."""
        raise NotImplementedError("a layer of a graph is computed by its column")


def _zeros(shape: tuple[int, ...]) -> Tensor:
    made = torch.zeros(shape)
    return made.contiguous(memory_format=torch.channels_last) if len(shape) == 4 else made


@dataclass(frozen=True)
class Fused:
    """Layers that one block computes. conv: the index of its convolution. last: the number of the layer of its result."""

    conv: int
    block: networks.Block
    last: int


class GraphColumn(AnyColumn):
    """A column of single layers.

    `ops.block`, on any backend, computes a convolution with one bias per map with its relu, pool and norm in any order; torch's
    operations compute other layers. Outside training, where no gradient is needed, all products are the engine's (`ops.block`,
    `ops.linear`), whose bits depend on the window alone.

    Args:
        column: The column as data; all weights are zero at first.
    """

    mean: Tensor

    def __init__(self, column: networks.GraphColumn) -> None:
        super().__init__(column)
        self.spec: networks.GraphColumn = column
        self.fc = nn.ModuleList()
        shapes = column.shapes()
        self.layers = nn.ModuleList(
            GraphWeights(layer.parameters([shapes[below] for below in layer.inputs])) for layer in column.layers
        )
        self.fused = {each.last: each for each in fused_layers(column)}
        seen = [_seen(layer, shapes) for layer in column.layers if isinstance(layer, ConvLayer) and not layer.shared]
        self._together = min(_TOGETHER, max(1, _SEEN // max(seen, default=1)))
        self.register_buffer(
            "mean",
            torch.tensor(column.mean, dtype=torch.float32, device=torch.get_default_device()).reshape(1, -1, 1, 1),
            persistent=False,
        )
        self.requires_grad_(not column.frozen)

    def forward(self, windows: Tensor) -> Tensor:
        """Compute the column.

        Args:
            windows: [N, C, window, window] pixels 0-255, uint8 or floating point.

        Returns:
            [N, outputs] in (C, H, W) order.

        Raises:
            ValueError: The windows do not fit the column.
        """
        require_windows(self.spec, windows)
        return self._computed(windows, self.precision, training=self.training)

    @torch.no_grad()
    def features(self, windows: Tensor, precision: Precision = "ieee") -> Tensor:
        """Like `forward` outside training, independent of the process's settings.

        Args:
            windows: [N, C, window, window] uint8.
            precision: The precision of the products in layers that blocks compute.

        Returns:
            [N, outputs].
        """
        count = self._together
        parts = [self._apart(windows[first : first + count], precision) for first in range(0, len(windows), count)]
        return torch.cat(parts) if len(parts) > 1 else parts[0]

    @plainly
    def _apart(self, windows: Tensor, precision: Precision) -> Tensor:
        return self._computed(windows, precision, training=False)

    def _computed(self, windows: Tensor, precision: Precision, *, training: bool) -> Tensor:
        x = (windows.to(self.mean.dtype) - self.mean) * self.spec.scale
        results: dict[int, Tensor] = {0: x}
        inside = {number for each in self.fused.values() for number in range(each.conv + 1, each.last)}
        for number, layer in enumerate(self.spec.layers, 1):
            if number in self.fused:
                results[number] = self._block(results, self.fused[number], precision)
            elif number not in inside:
                given = [results[below] for below in layer.inputs]
                results[number] = self._layer(number - 1, layer, given, precision, training)
        return results[len(self.spec.layers)].flatten(1)

    def _block(self, results: Mapping[int, Tensor], fused: Fused, precision: Precision) -> Tensor:
        block, weights = fused.block, self._weights(fused.conv)
        return ops.block(
            results[self.spec.layers[fused.conv].inputs[0]], *weights, stride=block.stride, padding=block.padding,
            groups=block.groups, pool=block.pool, norm=block.norm, order=block.order, ties=self.ties,
            precision=precision,
        )  # fmt: skip

    def _layer(self, index: int, layer: AnyLayer, given: Sequence[Tensor], precision: Precision, training: bool) -> Tensor:
        x = given[0]
        match layer:
            case ConvLayer():
                result = self._convolved(index, layer, x, precision)
            case FcLayer():
                result = self._connected(index, x, precision)
            case PoolLayer():
                result = layers.pool(x, layer, self.ties)
            case NormLayer():
                result = layers.norm(x, layer)
            case NeuronLayer():
                result = layers.neuron(x, layer)
            case DropoutLayer():
                result = layers.dropout(x, layer, training)
            case ConcatLayer():
                result = layers.concat(given)
            case SumLayer():
                result = layers.total(given, layer.coefficients)
            case MaxLayer():
                result = layers.Largest.apply(*given)  # type: ignore[no-untyped-call]
        return result

    def _convolved(self, index: int, layer: ConvLayer, x: Tensor, precision: Precision) -> Tensor:
        weight, bias = self._weights(index)
        if not layer.shared:
            y = _unshared(x, weight, layer)
        elif torch.is_grad_enabled():
            y = _narrowed(layers.overhung(layers.spread(x, layer), layer), weight, precision, layer)
        else:
            y = _linear_block(layers.spread(x, layer), weight, layer, precision)
        if bias is None:
            return y
        return y + (bias.reshape(1, -1, 1, 1) if layer.bias == "map" else bias)

    def _connected(self, index: int, x: Tensor, precision: Precision) -> Tensor:
        weight, bias = self._weights(index)
        x = x.flatten(1)
        if not torch.is_grad_enabled() and weight.dtype == torch.float32:
            return ops.linear(x, weight, weight.new_zeros(len(weight)) if bias is None else bias)[:, :, None, None]
        half = HALVES.get(precision)
        if half is None:
            return F.linear(x, weight, bias)[:, :, None, None]
        y = F.linear(x.to(half), weight.to(half), None if bias is None else bias.to(half))
        return y.to(x.dtype)[:, :, None, None]

    def _weights(self, index: int) -> tuple[Tensor, Tensor | None]:
        module = self.layers[index]
        weight, bias = module.weight, module.bias
        assert isinstance(weight, Tensor) and (bias is None or isinstance(bias, Tensor))
        return weight, bias

    def set_mean(self, mean: Sequence[float]) -> None:
        """Set the mean subtracted from the pixels; the spec records it.

        Args:
            mean: One value per channel.
        """
        self.spec = replace(self.spec, mean=tuple(mean))
        self.mean = torch.tensor(self.spec.mean, dtype=self.mean.dtype, device=self.mean.device).reshape(1, -1, 1, 1)

    def settle(self) -> None:
        """As in every column, and the mean, too."""
        super().settle()
        self.mean = torch.tensor(self.spec.mean, dtype=torch.float32, device="cpu").reshape(1, -1, 1, 1)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw every layer's weights for pixels with a deviation of 64 levels.

        Args:
            generator: The source of random numbers, on the cpu.
        """
        gain = 1 / (PIXEL_SPREAD * abs(self.spec.scale) or 1.0)
        for layer, module in zip(self.spec.layers, self.layers, strict=True):
            if module.weight is not None:
                draw(module, generator, gain if 0 in layer.inputs else 1.0, depth=_depth(layer, module))


def _seen(layer: ConvLayer, shapes: Sequence[Shape]) -> int:
    """The number of values in one window's patches for the filters of all places."""
    given = shapes[layer.inputs[0]]
    return layer.products([given]) // layer.filters * layer.groups


def _depth(layer: AnyLayer, module: nn.Module) -> int:
    """The number of products summed in one of the layer's results."""
    weight = module.weight
    assert isinstance(weight, Tensor)
    return weight[0, 0].numel() if isinstance(layer, ConvLayer) and not layer.shared else weight[0].numel()


def _narrowed(x: Tensor, weight: Tensor, precision: Precision, layer: ConvLayer) -> Tensor:
    half = HALVES.get(precision)
    if half is None:
        return F.conv2d(x, weight, stride=layer.stride, groups=layer.groups)
    return F.conv2d(x.to(half), weight.to(half), stride=layer.stride, groups=layer.groups).to(x.dtype)


def _linear_block(x: Tensor, weight: Tensor, layer: ConvLayer, precision: Precision) -> Tensor:
    """A convolution without a neuron, computed by blocks, which always have one: relu(z) - relu(-z) is exactly z."""
    up, down = (
        ops.block(
            layers.overhung(x, layer), signed, None, stride=layer.stride, groups=layer.groups, precision=precision,
        )
        for signed in (weight, -weight)
    )  # fmt: skip
    return up - down


def _unshared(x: Tensor, weight: Tensor, layer: ConvLayer) -> Tensor:
    if torch.is_grad_enabled() or weight.dtype != torch.float32:
        return layers.unshared(x, weight, layer)
    seen = layers.patches(x, layer)  # [places, groups, depth, N]
    places, groups, depth, count = seen.shape
    filters = weight.reshape(places, groups, -1, depth)
    none = weight.new_zeros(filters.shape[2])
    rows = seen.transpose(2, 3).contiguous()
    found = torch.stack([
        torch.cat([ops.linear(rows[place, group], filters[place, group], none) for group in range(groups)], 1)
        for place in range(places)
    ])  # fmt: skip
    side = round(places**0.5)
    return found.permute(1, 2, 0).reshape(count, -1, side, side)


def fused_layers(column: networks.GraphColumn) -> list[Fused]:
    """The convolutions that blocks compute, each with its relu, pool and norm."""
    used: dict[int, list[int]] = {}
    for index, layer in enumerate(column.layers):
        for below in layer.inputs:
            used.setdefault(below, []).append(index)
    found, shapes = [], column.shapes()
    for index, layer in enumerate(column.layers):
        if isinstance(layer, ConvLayer) and layer.shared and layer.bias == "map" and not layer.connections:
            made = _fused(_following(column, index, used), index, layer, shapes[index + 1][1])
            found += [] if made is None else [made]
    return found


def _fused(following: Sequence[AnyLayer], index: int, conv: ConvLayer, extent: int) -> Fused | None:
    """The block of a convolution with maps of side `extent` and the first layers after it; None where they form no block."""
    tail = _block_tail(following, extent)
    if not tail:
        return None
    pool = next((networks.Pool(each.size, each.stride, _kind_of(each)) for each in tail if isinstance(each, PoolLayer)), None)
    norm = next((each.as_norm for each in tail if isinstance(each, NormLayer)), None)
    try:
        block = networks.Block(conv.filters, conv.size, conv.stride, conv.padding, conv.groups, pool, norm, _order_of(tail))
    except ValueError:  # padding as wide as the filters
        return None
    return Fused(index, block, index + 1 + len(tail))


def _following(column: networks.GraphColumn, index: int, used: Mapping[int, list[int]]) -> list[AnyLayer]:
    """Up to three layers after a layer, as long as each has the one before as its only input and is its only user."""
    found: list[AnyLayer] = []
    while used.get(index + 1) == [index + 1] and len(found) < 3:
        index += 1
        found.append(column.layers[index])
    return found


def _block_tail(following: Sequence[AnyLayer], extent: int) -> list[AnyLayer]:
    """The first of these layers that fit into a block whose convolution gives maps of side `extent`.

    They are a relu, then a pool and a norm in either order, or these with the relu last. The relu may also be between a
    max-pool and a norm, as it commutes with the maximum.
    """
    tail: list[AnyLayer] = []
    for layer in following:
        known = (
            _is_relu(layer) or _is_blocks_pool(layer, extent) or (isinstance(layer, NormLayer) and layer.as_norm is not None)
        )
        if not known or any(type(layer) is type(each) for each in tail):
            break
        tail.append(layer)
    place = next((place for place, layer in enumerate(tail) if isinstance(layer, NeuronLayer)), None)
    if place is None:
        return []
    if (
        place == 1
        and len(tail) == 3
        and isinstance(tail[0], NormLayer)
        and isinstance(tail[2], PoolLayer)
        and not _averages(tail)
    ):
        return [tail[0], tail[2], tail[1]]  # the relu commutes with the maximum
    late = place and not (place == 1 and isinstance(tail[0], PoolLayer) and tail[0].kind == "max")
    return tail[: place + 1] if late else tail


def _order_of(tail: Sequence[AnyLayer]) -> networks.Order:
    kinds = [type(each) for each in tail if not isinstance(each, NeuronLayer)]
    first: networks.Order = "conv-norm-pool" if kinds[:1] == [NormLayer] else "conv-pool-norm"
    late = isinstance(tail[-1], NeuronLayer) and (kinds == [NormLayer] or len(kinds) > 1 or _averages(tail))
    return "conv-norm-pool-relu" if late and first == "conv-norm-pool" else "conv-pool-norm-relu" if late else first


def _averages(tail: Sequence[AnyLayer]) -> bool:
    return any(isinstance(each, PoolLayer) and each.kind == "avg" for each in tail)


def _kind_of(layer: PoolLayer) -> networks.PoolKind:
    return "avg" if layer.kind == "avg" else "max"


def _is_relu(layer: AnyLayer) -> bool:
    return isinstance(layer, NeuronLayer) and layer.neuron == "relu"


def _is_blocks_pool(layer: AnyLayer, extent: int) -> bool:
    """Whether a block's pool computes the same on maps of that side."""
    if not isinstance(layer, PoolLayer) or layer.kind == "sum" or layer.start:
        return False
    return layer.count(extent) == PoolLayer(layer.inputs, layer.kind, layer.size, layer.stride).count(extent)
