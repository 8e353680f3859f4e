"""Writes networks as cuda-convnet's layer-definition and layer-parameter files (docs/cuda-convnet.md#layer-files)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from dcnn_fast.networks.convnet_column_write import write_graph
from dcnn_fast.networks.convnet_layer import ConvNetError, Preprocessing
from dcnn_fast.networks.convnet_rules import InputRule, LayerRule
from dcnn_fast.networks.graph import GraphColumn
from dcnn_fast.networks.layers import Block, Column, CrossMapNorm
from dcnn_fast.networks.network import Network

Dialect = Literal["v1", "v2"]
_MAPS = 16  # v1's kernels compute this many maps together


def preprocessing_of(network: Network) -> Preprocessing:
    """The settings of the data provider that suit a network; cuda-convnet's files do not have them.

    Args:
        network: The network.

    Returns:
        The settings, with a view for each column.

    Raises:
        ConvNetError: Columns differ in more than their views.
    """
    first = network.columns[0]
    for name in ("plane", "window", "channels", "mean", "scale"):
        values = {getattr(column, name) for column in network.columns}
        if len(values) > 1:
            raise ConvNetError(f"columns must have one {name}, as the files have none of their own, got {sorted(values)}")
    return Preprocessing(tuple(c.view for c in network.columns), first.plane, first.window, first.mean, first.scale)


def write_convnet_cfg(
    network: Network, rules: Mapping[str, LayerRule] | None = None, dialect: Dialect = "v1"
) -> tuple[str, str]:
    """The texts of the layer-definition and the layer-parameter file of a network; layers get generated names.

    `parse_convnet_cfg` with `preprocessing_of(network)` reads an equal network, except for its name, its labels and an order of
    pool and norm that has no effect.

    Args:
        network: The network.
        rules: As in `Reading`, by default `LayerRule`'s defaults; frozen columns get rates of 0.
        dialect: "v1" or "v2", the version of cuda-convnet; v1 is the fork that has dropout.

    Returns:
        Both texts, the layer definitions first.

    Raises:
        ConvNetError: cuda-convnet cannot express the network; the message names the column or layer and why.

    Source:
        docs/cuda-convnet.md#layer-files
    """
    if dialect not in ("v1", "v2"):
        raise ConvNetError(f"dialect must be v1 or v2, got {dialect!r}")
    if network.attributes:
        raise ConvNetError("attributes: a second label layer is not written")
    columns = _written(network)
    preprocessing_of(network)
    writer = _Writer(dialect, rules or {})
    count = len(columns)
    for number in range(count):
        writer.section(f"data{number}", "data", {"dataIdx": number})
    writer.section("labels", "data", {"dataIdx": count})
    tops = []
    for number, column in enumerate(columns):
        tops += write_graph(writer, number, column) if isinstance(column, GraphColumn) else [writer.column(number, column)]
    writer.weights("label", ["label"] * len(tops), "fc", {"inputs": ",".join(tops), "outputs": len(network.labels)})
    writer.section("probs", "softmax", {"inputs": "label"})
    writer.section("logprob", "cost.logreg", {"inputs": "labels,probs"}, {"coeff": 1})
    return "\n".join(writer.layers), "\n".join(writer.params)


def _written(network: Network) -> list[Column | GraphColumn]:
    """The network's columns, if cuda-convnet has all their layers."""
    columns: list[Column | GraphColumn] = []
    for number, column in enumerate(network.columns):
        if not isinstance(column, (Column, GraphColumn)):
            raise ConvNetError(f"columns[{number}]: cuda-convnet has no layers like those of EfficientNet-Lite")
        columns.append(column)
    return columns


class _Writer:
    """The sections of both files."""

    def __init__(self, dialect: Dialect, rules: Mapping[str, LayerRule]) -> None:
        self.dialect, self.rules = dialect, rules
        self.layers: list[str] = []
        self.params: list[str] = []

    def section(self, name: str, kind: str, keys: Mapping[str, Any], params: Mapping[str, Any] | None = None) -> None:
        self.layers.append(_text(name, {"type": kind, **keys}))
        if params:
            self.params.append(_text(name, params))

    def weights(
        self,
        name: str,
        parts: Sequence[str],
        kind: str,
        keys: Mapping[str, Any],
        *,
        frozen: bool = False,
        dropout: float = 0,
    ) -> None:
        """Write a layer with weights, and its rules: one for each input's weights, whose places `parts` names."""
        rules = [self.rules.get(part, LayerRule()) for part in parts]
        if frozen:
            rules = [dataclasses.replace(rule, rate=0.0, bias_rate=0.0) for rule in rules]
        first = rules[0]
        if first.inputs:
            rules = [_of_input(first, each) for each in first.inputs]
        params = {
            "epsW": ",".join(self._rate(name, rule.rate, rule.schedule) for rule in rules),
            "epsB": self._rate(name, first.bias_rate, first.bias_schedule),
            "momW": ",".join(repr(rule.momentum) for rule in rules),
            "momB": first.bias_momentum,
            "wc": ",".join(repr(rule.decay) for rule in rules),
        }
        if dropout:
            params["dropout"] = dropout
        starts = ",".join(repr(rule.deviation) for rule in rules)
        self.section(name, kind, {**keys, "initW": starts, "initB": first.bias}, params)

    def column(self, number: int, column: Column) -> str:
        """Write a column's layers. Returns the name of its top layer."""
        self._require(number, column)
        below, channels = f"data{number}", column.channels
        for index, block in enumerate(column.blocks, 1):
            below = self._block(number, index, block, below, channels, column.frozen)
            channels = block.filters
        for index, size in enumerate(column.fc, 1):
            name = f"fc{index}_{number}"
            self.weights(
                name, [f"columns.{number}.fc.{index - 1}"], "fc", {"inputs": below, "outputs": size, "neuron": "relu"},
                frozen=column.frozen, dropout=column.dropout if self.dialect == "v1" else 0,
            )  # fmt: skip
            below = name
            if column.dropout and self.dialect == "v2":
                below = f"drop{index}_{number}"
                self.section(below, "dropout2", {"inputs": name}, {"keep": 1 - column.dropout})
        return below

    def _block(self, number: int, index: int, block: Block, below: str, channels: int, frozen: bool) -> str:
        name = f"conv{index}_{number}"
        if block.relu_last or (block.pool is not None and block.pool.kind != "max"):
            raise ConvNetError(
                f"[{name}] order and pool: a ReLU that comes last and averages are written of single layers alone"
            )
        self.require_maps(name, block.filters, block.groups, channels)
        keys = {
            "inputs": below, "channels": channels, "filters": block.filters // block.groups, "filterSize": block.size,
            "stride": block.stride, "padding": block.padding, "groups": block.groups, "neuron": "relu", "sharedBiases": 1,
            "partialSum" if self.dialect == "v1" else "sumWidth": 0 if self.dialect == "v1" else 6,
        }  # fmt: skip
        self.weights(name, [f"columns.{number}.blocks.{index - 1}"], "conv", keys, frozen=frozen)
        tail = [self._norm, self._pool] if block.norm_first else [self._pool, self._norm]
        for write in tail:
            name = write(f"{index}_{number}", block, name)
        return name

    def _pool(self, place: str, block: Block, below: str) -> str:
        if block.pool is None:
            return below
        keys = {
            "inputs": below,
            "pool": "max",
            "channels": block.filters,
            "sizeX": block.pool.size,
            "stride": block.pool.stride,
        }
        self.section(f"pool{place}", "pool", keys)
        return f"pool{place}"

    def _norm(self, place: str, block: Block, below: str) -> str:
        if block.norm is None:
            return below
        keys: dict[str, Any] = {"inputs": below, "channels": block.filters, "size": block.norm.size}
        params = {"scale": block.norm.scale, "pow": block.norm.power}
        across = isinstance(block.norm, CrossMapNorm)
        if isinstance(block.norm, CrossMapNorm) and block.norm.k != 1:
            if self.dialect == "v1":
                raise ConvNetError(f"[norm{place}] k: must be 1 in v1, got {block.norm.k}")
            params["minDiv"] = block.norm.k
        kind = "cmrnorm" if across else "rnorm"
        self.section(f"norm{place}", kind, keys, params)
        return f"norm{place}"

    def _require(self, number: int, column: Column) -> None:
        for name, wanted in (("rounding", "up"), ("reduce", "flatten")):
            if getattr(column, name) != wanted:
                raise ConvNetError(
                    f"column {number}: {name} must be {wanted}, cuda-convnet's only one, got {getattr(column, name)}"
                )
        ours = [rule for part, rule in self.rules.items() if part.startswith(f"columns.{number}.")]
        if ours and all(rule.fixed for rule in ours) and not column.frozen:
            raise ConvNetError(f"column {number}: rules without rates freeze a column, and it is not frozen")

    def require_maps(self, name: str, filters: int, groups: int, channels: int) -> None:
        """Raise ConvNetError where v1's kernels cannot compute this number of maps."""
        if self.dialect == "v2":
            return
        each = filters // groups
        if each % _MAPS:
            raise ConvNetError(f"[{name}] filters: must be a multiple of {_MAPS} in each group in v1, got {each}")
        if channels > 3 and channels % 4:
            raise ConvNetError(f"[{name}] channels: must be at most 3 or a multiple of 4 in v1, got {channels}")

    def _rate(self, name: str, rate: float, schedule: str) -> str:
        if schedule == "const":
            return repr(rate)
        if self.dialect == "v1":
            raise ConvNetError(f"[{name}] schedule: must be const in v1, got {schedule!r}")
        kind, _, entries = schedule.partition("[")
        return f"{kind}[base={rate!r};{entries}"


def _of_input(rule: LayerRule, each: InputRule) -> LayerRule:
    return dataclasses.replace(
        rule,
        rate=each.rate,
        momentum=each.momentum,
        decay=each.decay,
        schedule=each.schedule,
        deviation=each.deviation,
        inputs=(),
    )


def _text(name: str, keys: Mapping[str, Any]) -> str:
    return "".join([f"[{name}]\n", *(f"{key}={value}\n" for key, value in keys.items())])
