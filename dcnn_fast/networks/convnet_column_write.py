"""Writes a column of single layers as sections of cuda-convnet's layer files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from dcnn_fast.networks.convnet_column import drawn_connections
from dcnn_fast.networks.convnet_layer import ConvNetError
from dcnn_fast.networks.graph import GraphColumn
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
    kind_of,
)

_NORMS = {"cross_map": "cmrnorm", "same_map": "rnorm", "contrast": "cnorm"}


class Sections(Protocol):
    """The receiver of both files' sections. dialect: v1 is the fork that has dropout."""

    @property
    def dialect(self) -> str: ...

    def section(self, name: str, kind: str, keys: Mapping[str, Any], params: Mapping[str, Any] | None = None) -> None: ...

    def weights(
        self, name: str, parts: Sequence[str], kind: str, keys: Mapping[str, Any], *, frozen: bool = False, dropout: float = 0
    ) -> None: ...

    def require_maps(self, name: str, filters: int, groups: int, channels: int) -> None: ...


def write_graph(sections: Sections, number: int, column: GraphColumn) -> list[str]:
    """Write the layers of a network's column `number`. Returns the names of the label layer's inputs among them.

    Raises ConvNetError naming a layer and why cuda-convnet cannot express it.
    """
    return _GraphWriter(sections, number, column).written()


class _GraphWriter:
    """Writes the layers of one column. names: the results' names. shares: dropout by layer, in v1."""

    def __init__(self, sections: Sections, number: int, column: GraphColumn) -> None:
        self.sections, self.number, self.column = sections, number, column
        self.shapes = column.shapes()
        self.names = {0: f"data{number}"}
        self.shares = self._dropouts() if sections.dialect == "v1" else {}
        self.inputs_of = {number: self._matrices(number) for number in range(1, len(column.layers) + 1)}
        self.summed = {below for group in self.inputs_of.values() if len(group) > 1 for below in group}

    def written(self) -> list[str]:
        """Write all layers."""
        last = len(self.column.layers)
        for number, layer in enumerate(self.column.layers, 1):
            if number in self.summed or (number == last and isinstance(layer, ConcatLayer)):
                continue
            self._write(number, layer)
        top = self.column.layers[-1]
        return [self.names[below] for below in (top.inputs if isinstance(top, ConcatLayer) else (last,))]

    def _write(self, number: int, layer: AnyLayer) -> None:
        group = self.inputs_of[number]
        if group:
            self._weighted(number, group)
            return
        writers: dict[type[AnyLayer], Callable[[Any], tuple[str, dict[str, Any], dict[str, Any]] | None]] = {
            PoolLayer: self._pool, NormLayer: self._norm, NeuronLayer: self._neuron, DropoutLayer: self._dropout,
            ConcatLayer: self._concat, SumLayer: self._sum, MaxLayer: self._max,
        }  # fmt: skip
        found = writers[type(layer)](layer)
        if found is None:  # stated in the layer below
            self.names[number] = self.names[layer.inputs[0]]
            return
        kind, keys, params = found
        name = self.names[number] = f"{kind_of(layer)}{number}_{self.number}"
        if number in self.shares:
            params["dropout"] = self.shares[number]
        self.sections.section(name, kind, {"inputs": self._below(layer.inputs), **keys}, params)

    def _below(self, inputs: Sequence[int]) -> str:
        return ",".join(self.names[below] for below in inputs)

    def _refuse(self, layer: AnyLayer, why: str) -> ConvNetError:
        number = next(n for n, each in enumerate(self.column.layers, 1) if each is layer)
        return ConvNetError(f"column {self.number}, layer {number}: {why}")

    def _matrices(self, number: int) -> tuple[int, ...]:
        """The layers with weights that form one cuda-convnet layer with the result `number`: itself, or those that it sums."""
        layer = self.column.layers[number - 1]
        if isinstance(layer, (ConvLayer, FcLayer)):
            return (number,) if _has_bias(layer) else ()
        if not isinstance(layer, SumLayer) or layer.coefficients:
            return ()
        first, *others = (self.column.layers[below - 1] if below else None for below in layer.inputs)
        weighted = isinstance(first, (ConvLayer, FcLayer)) and _has_bias(first)
        rest = [each for each in others if type(each) is type(first) and not _has_bias(each)]
        return layer.inputs if weighted and rest and len(rest) == len(others) else ()

    def _weighted(self, number: int, group: Sequence[int]) -> None:
        layers = [self.column.layers[each - 1] for each in group]
        first, inputs = layers[0], [layer.inputs[0] for layer in layers]
        kind = "local" if isinstance(first, ConvLayer) and not first.shared else kind_of(first)
        name = self.names[number] = f"{kind}{number}_{self.number}"
        keys: dict[str, Any] = {"inputs": self._below(inputs)}
        if isinstance(first, FcLayer):
            keys["outputs"] = first.outputs
        else:
            keys |= self._convolution(name, [layer for layer in layers if isinstance(layer, ConvLayer)], inputs)
        self.sections.weights(
            name, [f"columns.{self.number}.layers.{each - 1}" for each in group], kind, keys, frozen=self.column.frozen,
            dropout=self.shares.get(number, 0),
        )  # fmt: skip

    def _convolution(self, name: str, layers: Sequence[ConvLayer], inputs: Sequence[int]) -> dict[str, Any]:
        first = layers[0]
        if not first.shared and first.bias != "place":
            raise self._refuse(first, "filters of each place have biases of each place in cuda-convnet")
        channels = [self.shapes[below][0] for below in inputs]
        for layer, given in zip(layers, channels, strict=True):
            self.sections.require_maps(name, layer.filters, layer.groups, given)
            self._require_drawn(layer, given)
        columns: dict[str, list[int]] = {
            "channels": channels, "filters": [layer.filters // layer.groups for layer in layers],
            "filterSize": [layer.size for layer in layers], "stride": [layer.stride for layer in layers],
            "padding": [layer.padding for layer in layers], "groups": [layer.groups for layer in layers],
        }  # fmt: skip
        if any(layer.connections for layer in layers):
            columns["randSparse"] = [int(bool(layer.connections)) for layer in layers]
            columns["filterChannels"] = [layer.own_channels(c) for layer, c in zip(layers, channels, strict=True)]
        keys: dict[str, Any] = {key: ",".join(map(str, values)) for key, values in columns.items()}
        if first.shared:
            keys["sharedBiases"] = int(first.bias == "map")
            keys |= {"partialSum": 0} if self.sections.dialect == "v1" else {"sumWidth": 6}
        return keys

    def _require_drawn(self, layer: ConvLayer, channels: int) -> None:
        number = next(n for n, each in enumerate(self.column.layers) if each is layer)
        own = layer.own_channels(channels)
        if layer.connections and layer.connections != drawn_connections(number, channels, layer.groups, own):
            raise self._refuse(layer, "its connections are not those that layer files are read with, which hold none")

    def _pool(self, layer: PoolLayer) -> tuple[str, dict[str, Any], dict[str, Any]]:
        if layer.kind == "sum" and self.sections.dialect == "v1":
            raise self._refuse(layer, "a pool that sums must be avg or max in v1")
        keys = {
            "pool": "max" if layer.kind == "max" else "avg", "channels": self.shapes[layer.inputs[0]][0], "sizeX": layer.size,
            "stride": layer.stride, "start": layer.start, "outputsX": layer.outputs,
        }  # fmt: skip
        return "pool", {**keys, "sum": 1} if layer.kind == "sum" else keys, {}

    def _norm(self, layer: NormLayer) -> tuple[str, dict[str, Any], dict[str, Any]]:
        params = {"scale": layer.scale, "pow": layer.power}
        if layer.k != 1:
            if self.sections.dialect == "v1":
                raise self._refuse(layer, f"k must be 1 in v1, got {layer.k}")
            params["minDiv"] = layer.k
        return _NORMS[layer.kind], {"channels": self.shapes[layer.inputs[0]][0], "size": layer.size}, params

    def _neuron(self, layer: NeuronLayer) -> tuple[str, dict[str, Any], dict[str, Any]]:
        values = f"[{','.join(map(repr, layer.values))}]" if layer.values else ""
        return "neuron", {"neuron": layer.neuron + values}, {}

    def _dropout(self, layer: DropoutLayer) -> tuple[str, dict[str, Any], dict[str, Any]] | None:
        if self.sections.dialect == "v1":
            return None
        return "dropout2" if layer.keeps else "dropout", {}, {"enable": 1, "keep": 1 - layer.share}

    def _dropouts(self) -> dict[int, float]:
        """Dropout by layer: in v1 the layer below states it."""
        shares: dict[int, float] = {}
        users = [below for layer in self.column.layers for below in layer.inputs]
        for layer in self.column.layers:
            if not isinstance(layer, DropoutLayer):
                continue
            (below,) = layer.inputs
            if (
                not below
                or users.count(below) > 1
                or not layer.keeps
                or isinstance(self.column.layers[below - 1], DropoutLayer)
            ):
                raise self._refuse(layer, "dropout must be of one layer's whole result, scaled when it is off, in v1")
            shares[below] = layer.share
        return shares

    def _concat(self, layer: ConcatLayer) -> tuple[str, dict[str, Any], dict[str, Any]]:
        if self.sections.dialect == "v1":
            raise self._refuse(layer, "only the label layer joins others in v1")
        return "concat", {}, {}

    def _sum(self, layer: SumLayer) -> tuple[str, dict[str, Any], dict[str, Any]]:
        values = layer.coefficients or (1.0,) * len(layer.inputs)
        return "eltsum", {}, {"coeffs": ",".join(map(repr, values))}

    def _max(self, layer: MaxLayer) -> tuple[str, dict[str, Any], dict[str, Any]]:
        del layer
        return "eltmax", {}, {}


def _has_bias(layer: AnyLayer | None) -> bool:
    return (isinstance(layer, ConvLayer) and layer.bias != "none") or (isinstance(layer, FcLayer) and layer.bias)
