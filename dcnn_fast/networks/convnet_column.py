"""cuda-convnet's layers as a column whose layers are a graph, where blocks cannot express them (docs/cuda-convnet.md)."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dcnn_fast.networks.convnet_layer import ConvNetError, Layer, Preprocessing, refuse
from dcnn_fast.networks.graph import GraphColumn
from dcnn_fast.networks.graph_layers import (
    NEURONS,
    AnyLayer,
    Bias,
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
from dcnn_fast.networks.layers import View
from dcnn_fast.printable import quoted

_NEURON = re.compile(r"(\w+)\s*(?:\[([^\]]*)\])?")
_NORMS = {"cmrnorm": "cross_map", "rnorm": "same_map", "cnorm": "contrast"}


def graph_column(
    tops: Sequence[Layer], by_name: Mapping[str, Layer], data: Preprocessing, view: View, prefix: str
) -> tuple[GraphColumn, dict[str, str], tuple[int, ...]]:
    """The column below these layers, which see one picture, the places of cuda-convnet's layers with weights in it, and the
    width of each of `tops`.

    prefix: the prefix of its parameters' names. A layer with several inputs has a matrix for each: "conv3" for the first,
    "conv3[1]" for the second. Raises ConvNetError naming a layer, the key and why.
    """
    builder = _GraphBuilder(data, prefix)
    wanted = ancestors(tops, by_name)
    for name, layer in by_name.items():
        if name in wanted:
            builder.add(layer)
    column = builder.column(view, tops)
    return column, builder.parts, tuple(math.prod(builder.shapes[builder.numbers[top.name]]) for top in tops)


def ancestors(tops: Iterable[Layer], by_name: Mapping[str, Layer]) -> set[str]:
    """The names of these layers and of all below them."""
    found: set[str] = set()
    waiting = [layer.name for layer in tops]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += by_name[name].inputs
    return found


class _GraphBuilder:
    """Builds a column from cuda-convnet's layers, `add`ed in order; records those with weights in `parts`."""

    def __init__(self, data: Preprocessing, prefix: str) -> None:
        self.data, self.prefix = data, prefix
        self.parts: dict[str, str] = {}
        self.layers: list[AnyLayer] = []
        self.shapes: list[Shape] = [(len(data.mean), data.window, data.window)]
        self.numbers: dict[str, int] = {}  # the number of each layer's result

    def add(self, layer: Layer) -> None:
        """Add a layer whose inputs were added before. Raises ConvNetError."""
        makers = {
            "data": self._data, "conv": self._conv, "local": self._conv, "fc": self._fc, "pool": self._pool,
            "neuron": self._neuron, "dropout": self._dropout, "concat": self._concat, "pass": self._concat, "eltsum": self._sum,
            "eltmax": self._max,
            **dict.fromkeys(_NORMS, self._norm),
        }  # fmt: skip
        if layer.kind not in makers:
            raise refuse(layer.name, "type", f"a {layer.kind} layer inside a column cannot be said")
        try:
            self.numbers[layer.name] = makers[layer.kind](layer)
            if layer.dropout and layer.kind != "dropout":
                self.numbers[layer.name] = self._dropout(layer, self.numbers[layer.name])
        except ConvNetError:
            raise
        except ValueError as error:
            raise refuse(layer.name, "type", str(error)) from None

    def column(self, view: View, tops: Sequence[Layer]) -> GraphColumn:
        """The column that returns the concatenated results of these layers."""
        numbers = tuple(self.numbers[top.name] for top in tops)
        if numbers != (len(self.layers),) or not self.layers:
            self._put(ConcatLayer(numbers))
        data = self.data
        try:
            return GraphColumn(tuple(self.layers), view, data.plane, data.window, len(data.mean), data.mean, data.scale)
        except ValueError as error:
            raise refuse(tops[-1].name, "inputs", str(error)) from None

    def _put(self, layer: AnyLayer) -> int:
        """Append a layer. Returns the number of its result."""
        self.shapes.append(layer.output([self.shapes[below] for below in layer.inputs]))
        self.layers.append(layer)
        return len(self.layers)

    def _below(self, layer: Layer) -> tuple[int, ...]:
        return tuple(self.numbers[name] for name in layer.inputs)

    def _only(self, layer: Layer) -> tuple[int]:
        if len(layer.inputs) != 1:
            raise refuse(layer.name, "inputs", f"must be one layer, got {len(layer.inputs)}")
        return (self.numbers[layer.inputs[0]],)

    def _data(self, layer: Layer) -> int:
        if any(number == 0 for number in self.numbers.values()):
            raise refuse(layer.name, "type", "a second data layer below one column: columns meet in the label layer alone")
        return 0

    def _conv(self, layer: Layer) -> int:
        results = []
        for index, (below, values) in enumerate(zip(self._below(layer), layer.values["each"], strict=True)):
            self._require_channels(layer, values["channels"], below)
            bias: Bias = "none" if index else "place" if layer.kind == "local" or not layer.values["sharedBiases"] else "map"
            made = ConvLayer(
                (below,), values["filters"], values["filterSize"], values["stride"], values["padding"], values["groups"],
                layer.kind == "conv", bias, _connections(layer.name, len(self.layers), values),
            )  # fmt: skip
            results.append(self._weighted(layer, index, made))
        return self._summed(results)

    def _fc(self, layer: Layer) -> int:
        outputs = int(layer.values["outputs"])
        made = [FcLayer((below,), outputs, index == 0) for index, below in enumerate(self._below(layer))]
        return self._summed([self._weighted(layer, index, each) for index, each in enumerate(made)])

    def _weighted(self, layer: Layer, index: int, made: ConvLayer | FcLayer) -> int:
        self.parts[matrix_name(layer.name, index)] = f"{self.prefix}.layers.{len(self.layers)}"
        return self._put(made)

    def _summed(self, results: Sequence[int]) -> int:
        return results[0] if len(results) == 1 else self._put(SumLayer(tuple(results)))

    def _require_channels(self, layer: Layer, channels: int, below: int) -> None:
        wanted = self.shapes[below][0]
        if channels != wanted:
            raise refuse(layer.name, "channels", f"must be its input's {wanted}, got {quoted(channels)}")

    def _pool(self, layer: Layer) -> int:
        values, below = layer.values, self._only(layer)
        self._require_channels(layer, values["channels"], below[0])
        extent = self.shapes[below[0]][1]
        if values["sizeX"] > extent:
            raise refuse(layer.name, "sizeX", f"must be at most {extent}, its input's side, got {quoted(values['sizeX'])}")
        made = PoolLayer(below, values["pool"], values["sizeX"], values["stride"], values["start"])
        if values["outputsX"] not in (0, made.count(extent)):
            made = PoolLayer(below, made.kind, made.size, made.stride, made.start, values["outputsX"])
        return self._put(made)

    def _norm(self, layer: Layer) -> int:
        values, below = layer.values, self._only(layer)
        self._require_channels(layer, values["channels"], below[0])
        return self._put(NormLayer(below, _NORMS[layer.kind], values["size"], values["scale"], values["pow"], values["k"]))  # type: ignore[arg-type]

    def _neuron(self, layer: Layer) -> int:
        (below,) = self._only(layer)
        name, values = neuron_of(layer.name, layer.values["neuron"])
        return below if name == "ident" else self._put(NeuronLayer((below,), name, values))

    def _dropout(self, layer: Layer, below: int | None = None) -> int:
        number = self._only(layer)[0] if below is None else below
        return self._put(DropoutLayer((number,), layer.dropout, layer.keeps)) if layer.dropout else number

    def _concat(self, layer: Layer) -> int:
        below = self._below(layer)
        return below[0] if len(below) == 1 else self._put(ConcatLayer(below))

    def _sum(self, layer: Layer) -> int:
        coefficients = tuple(layer.values["coeffs"])
        return self._put(SumLayer(self._below(layer), () if set(coefficients) <= {1.0} else coefficients))

    def _max(self, layer: Layer) -> int:
        return self._put(MaxLayer(self._below(layer)))


def matrix_name(layer: str, index: int) -> str:
    """cuda-convnet's name for a layer's weights for one of its inputs: "fc", "fc[1]"."""
    return f"{layer}[{index}]" if index else layer


def neuron_of(layer: str, text: str) -> tuple[str, tuple[float, ...]]:
    """The name and the numbers of "tanh[1.7,0.6]". Raises ConvNetError naming the layer."""
    match = _NEURON.fullmatch(text.strip())
    name, inside = match.groups() if match is not None else ("", None)
    if name not in NEURONS:
        raise refuse(layer, "neuron", f"must be one of {', '.join(NEURONS)}; got {quoted(text)}")
    try:
        values = tuple(float(value) for value in inside.split(",")) if inside else ()
        return NeuronLayer((0,), name, values).neuron, values
    except ValueError:
        count = NEURONS[name]
        raise refuse(layer, "neuron", f"{name} must have {count} numbers in brackets, got {quoted(text)}") from None


def _connections(layer: str, number: int, values: Mapping[str, Any]) -> tuple[int, ...]:
    """The maps that each group reads with `randSparse`: the given ones, or newly drawn."""
    if not values.get("randSparse"):
        return ()
    channels, groups, own = (int(values[key]) for key in ("channels", "groups", "filterChannels"))
    if groups < 2 or own * groups % channels:
        raise refuse(
            layer, "randSparse", f"must have 2 groups at least and filterChannels * groups a multiple of channels, got "
            f"{groups} groups of {quoted(own)} and {quoted(channels)}",
        )  # fmt: skip
    given = values.get("filterConns")
    if given is not None:
        if len(given) != own * groups:
            raise refuse(layer, "filterConns", f"must be {own * groups} maps, got {len(given)}")
        return tuple(given)
    return drawn_connections(number, channels, groups, own)


def drawn_connections(number: int, channels: int, groups: int, own: int) -> tuple[int, ...]:
    """The maps that each of `groups` reads, `own` each, drawn like cuda-convnet's: concatenated permutations of all maps, cut.

    number: the layer's number in its column; it is the seed, so that a written file reads back equal.
    """
    draw, found = random.Random(number), list[int]()
    for _ in range(own * groups // channels):
        found += draw.sample(range(channels), channels)
    return tuple(found)
