"""Reads cuda-convnet's layer-definition and layer-parameter files, both versions' keys (facts.md 2.1).

Every key is understood or refused with a sentence; none is passed over.
"""

from __future__ import annotations

import configparser
import dataclasses
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dcnn_fast.printable import quoted, shortened
from dcnn_fast.spec import bounds
from dcnn_fast.spec.convnet_graph import NUL, ConvNetError, Layer, Preprocessing, assemble, refuse
from dcnn_fast.spec.convnet_rules import LayerRule
from dcnn_fast.spec.cost import parameters
from dcnn_fast.spec.network import Network

_LONGEST = 2**20  # characters of a file; a thousand layers have a tenth of them
_TRUE, _FALSE = ("1", "true"), ("0", "false")
_UNSAID = {
    "local": "filters that differ from place to place", "cnorm": "a norm of contrasts", "eltsum": "a sum of layers",
    "eltmax": "a maximum of layers", "blur": "a blur", "nailbed": "a nailbed", "resize": "a change of size",
    "rgb2yuv": "a change of colour space", "rgb2lab": "a change of colour space", "rscale": "a random scale",
    "cmpool": "a pool across maps", "cost.sum2": "a squared cost",
}  # fmt: skip
_SCHEDULE = re.compile(r"(\w+)\[([^\]]*)\]")
_SCHEDULE_ENTRIES = {"const": (), "linear": ("tgtFactor",), "exp": ("tgtFactor",), "dexp": ("tgtFactor", "numSteps")}


@dataclass(frozen=True)
class Reading:
    """What two files say. rules: keyed by the start of the parameters' names, empty without a layer-parameter file.

    notes: what was understood in another place or has no meaning here, a sentence each.
    """

    network: Network
    rules: Mapping[str, LayerRule] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def read_convnet_cfg(
    layers: str | Path,
    params: str | Path | None = None,
    data: Preprocessing | None = None,
    *,
    name: str | None = None,
    labels: Sequence[str] | None = None,
) -> Reading:
    """The network of a layer-definition file and its rules from a layer-parameter file.

    data: what the files leave to the data provider. labels: as `assemble` takes them. A column whose layers all have
    epsW = epsB = 0 is frozen. Raises ConvNetError naming the section, the key and why; OSError where a file can't be read.
    """
    texts = [_text(path) for path in ((layers,) if params is None else (layers, params))]
    return parse_convnet_cfg(
        texts[0], texts[1] if params is not None else None, data, name=name or Path(layers).stem, labels=labels
    )


def parse_convnet_cfg(
    layers: str,
    params: str | None = None,
    data: Preprocessing | None = None,
    *,
    name: str = "cuda-convnet",
    labels: Sequence[str] | None = None,
) -> Reading:
    """As `read_convnet_cfg`, of the files' texts."""
    definitions = _sections(layers, "layer definitions")
    of_layers = _sections(params, "layer parameters") if params is not None else {}
    for section in of_layers:
        if section not in definitions:
            raise refuse(section, "layer parameters", "no layer of that name is defined")
    found: list[Layer] = []
    rules: dict[str, LayerRule] = {}
    notes: list[str] = []
    for section, keys in definitions.items():
        reader = _Section(section, dict(keys), None if params is None else dict(of_layers.get(section, {})), notes)
        found += _layers(reader, rules)
        reader.finish()
    assembly = assemble(found, data or Preprocessing(), name=name, labels=labels)
    count = parameters(assembly.network)
    if count > bounds.DRAWN:
        raise ConvNetError(f"layer definitions: must have at most {bounds.DRAWN:,} parameters, got {count:,}")
    if params is None:
        return Reading(assembly.network, {}, tuple(notes))
    placed = {part: rules[layer] for layer, part in assembly.parts.items()}
    return Reading(_frozen(assembly.network, placed), placed, tuple(notes))


def _frozen(network: Network, rules: Mapping[str, LayerRule]) -> Network:
    columns = tuple(
        dataclasses.replace(
            column, frozen=all(rule.fixed for part, rule in rules.items() if part.startswith(f"columns.{number}."))
        )
        for number, column in enumerate(network.columns)
    )
    return dataclasses.replace(network, columns=columns)


def _text(path: str | Path) -> str:
    try:
        with open(path, encoding="utf-8-sig") as file:
            return file.read(_LONGEST + 1)
    except UnicodeDecodeError:
        raise ConvNetError(f"{path}: must be text in UTF-8") from None


def _sections(text: str, what: str) -> dict[str, dict[str, str]]:
    if len(text) > _LONGEST:
        raise ConvNetError(f"{what}: must have at most {_LONGEST:,} characters")
    parser = configparser.ConfigParser(
        comment_prefixes=("#",), inline_comment_prefixes=("#",), delimiters=("=",), interpolation=None, default_section="\0"
    )
    try:
        parser.read_string(text)
    except configparser.Error as error:
        raise ConvNetError(f"{what}: {shortened([' '.join(str(error)[:1000].split())], longest=200)}") from None
    if not parser.sections():
        raise ConvNetError(f"{what}: must have a section for each layer, got none")
    if len(parser.sections()) > bounds.LAYERS:
        raise ConvNetError(f"{what}: must have at most {bounds.LAYERS} layers, got {len(parser.sections())}")
    return {name: dict(parser[name]) for name in parser.sections()}


class _Section:
    """The keys of one layer in both files, each taken once; `finish` refuses those that nothing took."""

    def __init__(self, name: str, keys: dict[str, str], params: dict[str, str] | None, notes: list[str]) -> None:
        self.name, self.keys, self.notes = name, keys, notes
        self.params, self.with_params = params or {}, params is not None

    def text(self, key: str, default: str | None = None) -> str:
        return self._take(self.keys, key, default, "layer definitions")

    def integer(self, key: str, default: int | None = None) -> int:
        return int(self._as(int, "an integer", key, self.text(key, None if default is None else str(default))))

    def number(self, key: str, default: float | None = None) -> float:
        return self.parsed(key, self.text(key, None if default is None else repr(default)))

    def parameter(self, key: str, default: float | None = None) -> float:
        return self.parsed(key, self._take(self.params, key, None if default is None else repr(default), "layer parameters"))

    def parameter_text(self, key: str, default: str | None = None) -> str:
        return self._take(self.params, key, default, "layer parameters")

    def must_be_off(self, key: str, why: str) -> None:
        """Refuse a switch that is on."""
        value = self.text(key, "0").lower()
        if value not in (*_TRUE, *_FALSE):
            raise refuse(self.name, key, f"must be 0, 1, true or false, got {quoted(value)}")
        if value in _TRUE:
            raise refuse(self.name, key, why)

    def must_be_absent(self, key: str, why: str) -> None:
        if self.keys.pop(key.lower(), None) or self.params.pop(key.lower(), None):
            raise refuse(self.name, key, why)

    def moot(self, key: str, why: str) -> None:
        """Note a key that changes nothing here."""
        if self.keys.pop(key.lower(), None) is not None:
            self.notes.append(f"[{self.name}] {key}: {why}")

    def same(self, key: str, value: str) -> str:
        """One value of a list that may have one for each input."""
        entries = {entry.strip() for entry in value.split(",") if entry.strip()}
        if len(entries) != 1:
            raise refuse(
                self.name, key, f"must be the same for all inputs, whose weights are one matrix here, got {quoted(value)}"
            )
        return entries.pop()

    def belongs_in_parameters(self, *keys: str) -> None:
        """Take keys that stand in the layer definitions as if they stood where cuda-convnet reads them."""
        for key in keys:
            value = self.keys.pop(key.lower(), None)
            if value is not None:
                if key.lower() in self.params:
                    raise refuse(self.name, key, "is in both files")
                self.params[key.lower()] = value
                self.notes.append(f"[{self.name}] {key}: belongs in the layer parameters; taken from the layer definitions")

    def finish(self) -> None:
        for keys, what in ((self.keys, "definitions"), (self.params, "parameters")):
            for key in keys:
                raise refuse(self.name, shortened([key]), f"is no key that a layer of this type has in layer {what}")

    def _take(self, keys: dict[str, str], key: str, default: str | None, what: str) -> str:
        value = keys.pop(key.lower(), default)
        if value is None:
            raise refuse(self.name, key, f"is missing in the {what}")
        return value.strip()

    def _as(self, kind: Callable[[str], Any], what: str, key: str, text: str) -> Any:
        try:
            return kind(text)
        except ValueError:
            raise refuse(self.name, key, f"must be {what}, got {quoted(text)}") from None

    def parsed(self, key: str, text: str) -> float:
        value = float(self._as(float, "a number", key, text))
        if not math.isfinite(value):
            raise refuse(self.name, key, f"must be finite, got {quoted(text)}")
        return value


def _layers(section: _Section, rules: dict[str, LayerRule]) -> list[Layer]:
    """The layer of a section, and its neuron as a layer of its own; enters its rule."""
    kind = section.text("type")
    section.moot("gpu", "where a layer is computed changes nothing here")
    if kind in _UNSAID:
        raise refuse(section.name, "type", f"{kind}, {_UNSAID[kind]}, cannot be said by a network")
    if kind not in _KINDS:
        raise refuse(section.name, "type", f"must be one of {', '.join((*_KINDS, *_UNSAID))}; got {quoted(kind)}")
    if kind == "data":
        section.integer("dataIdx")
        return [Layer(section.name, kind)]
    inputs = tuple(entry.strip() for entry in section.text("inputs").split(",") if entry.strip())
    dropout = 0.0
    if kind in ("conv", "fc", "pool", "cmrnorm", "rnorm", "neuron"):
        dropout = section.parameter("dropout", 0.0)
    layer = Layer(section.name, kind, inputs, _KINDS[kind](section), dropout)
    if kind in ("conv", "fc"):
        rule = _rule(section, kind)
        if rule is not None:
            rules[section.name] = rule
    if kind in ("dropout", "dropout2"):
        section.belongs_in_parameters("enable", "keep")
        enable = section.parameter_text("enable", "1").lower()
        if enable not in (*_TRUE, *_FALSE):
            raise refuse(section.name, "enable", f"must be 0, 1, true or false, got {quoted(enable)}")
        dropout = round(1 - section.parameter("keep", 0.5), 12)
        if enable in _FALSE and kind == "dropout2" and dropout:
            raise refuse(section.name, "enable", "a dropout2 that is off still multiplies by keep, which cannot be said")
        layer = Layer(section.name, "dropout", inputs, {}, dropout if enable in _TRUE else 0.0, kind == "dropout2")
    if not 0 <= layer.dropout < 1:
        raise refuse(section.name, "dropout", f"must lie in [0, 1), got {layer.dropout}")
    neuron = section.text("neuron", "") if kind in ("conv", "fc", "pool") else ""
    if neuron in ("", "ident"):
        return [layer]
    # the layers above name this section and mean its neuron
    raw = section.name + NUL
    placed = dataclasses.replace(layer, name=raw)
    if section.name in rules:
        rules[raw] = rules.pop(section.name)
    return [placed, Layer(section.name, "neuron", (raw,), {"neuron": neuron})]


def _conv(section: _Section) -> dict[str, Any]:
    values = {
        "channels": section.integer("channels"), "filters": section.integer("filters"),
        "filterSize": section.integer("filterSize"), "padding": section.integer("padding", 0),
        "stride": section.integer("stride", 1), "groups": section.integer("groups", 1),
    }  # fmt: skip
    if section.text("sharedBiases", "1").lower() not in _TRUE:
        raise refuse(section.name, "sharedBiases", "must be 1, as a bias for each place cannot be said")
    section.must_be_off("randSparse", "random connections cannot be said")
    own = section.integer("filterChannels", values["channels"] // max(1, values["groups"]))
    if own * values["groups"] != values["channels"]:
        raise refuse(section.name, "filterChannels", f"must be channels / groups, got {quoted(own)}")
    values["filters"] *= values["groups"]  # layer.py of both versions: the file says how many each group has
    section.moot("partialSum", "how the original's kernels sum changes nothing here")
    section.moot("sumWidth", "how the original's kernels sum changes nothing here")
    section.moot("modulesX", "follows from the input's size, which the file does not say")
    return values


def _fc(section: _Section) -> dict[str, Any]:
    return {"outputs": section.integer("outputs")}


def _pool(section: _Section) -> dict[str, Any]:
    which = section.text("pool")
    if which != "max":
        raise refuse(section.name, "pool", f"must be max, as other pools cannot be said, got {quoted(which)}")
    if section.integer("start", 0):
        raise refuse(section.name, "start", "must be 0, as a pool that starts elsewhere cannot be said")
    section.must_be_off("sum", "a sum of what is pooled cannot be said")
    return {
        "channels": section.integer("channels"), "sizeX": section.integer("sizeX"), "stride": section.integer("stride"),
        "outputsX": section.integer("outputsX", 0),
    }  # fmt: skip


def _norm(section: _Section) -> dict[str, Any]:
    section.must_be_off("blocked", "a norm of fixed groups of maps cannot be said")
    section.belongs_in_parameters("scale", "pow", "minDiv")
    if "sizex" in section.keys:
        if "size" in section.keys:
            raise refuse(section.name, "sizeX", "an obsolete name of size, which is there too")
        section.keys["size"] = section.keys.pop("sizex")
        section.notes.append(f"[{section.name}] sizeX: the obsolete name of size; taken as that")
    if not section.with_params and "scale" not in section.params:
        raise refuse(section.name, "scale", "a norm needs the layer-parameter file")
    return {
        "channels": section.integer("channels"), "size": section.integer("size"),
        "scale": section.parameter("scale"), "pow": section.parameter("pow"), "k": section.parameter("minDiv", 1.0),
    }  # fmt: skip


def _neuron(section: _Section) -> dict[str, Any]:
    return {"neuron": section.text("neuron")}


def _nothing(section: _Section) -> dict[str, Any]:
    del section
    return {}


def _cost(section: _Section) -> dict[str, Any]:
    if section.with_params and section.parameter("coeff") != 1:
        raise refuse(section.name, "coeff", "must be 1, as a network has one cost")
    section.belongs_in_parameters("topk")
    section.parameter("topk", 1)  # accuracies are the evaluation's
    return {}


_KINDS: dict[str, Callable[[_Section], dict[str, Any]]] = {
    "data": _nothing, "conv": _conv, "fc": _fc, "pool": _pool, "cmrnorm": _norm, "rnorm": _norm, "neuron": _neuron,
    "dropout": _nothing, "dropout2": _nothing, "concat": _nothing, "pass": _nothing, "softmax": _nothing, "cost.logreg": _cost,
}  # fmt: skip


def _rule(section: _Section, kind: str) -> LayerRule | None:
    for key in ("initWFunc", "initBFunc"):
        section.must_be_absent(key, "a Python function that makes weights is not run")
    section.must_be_absent("weightSource", "weights that layers share cannot be said")
    deviation = section.parsed("initW", section.same("initW", section.text("initW", None if kind == "conv" else "0.01")))
    bias = section.number("initB", 0.0)
    if not section.with_params:
        return None
    for key, neutral in (("wball", 0.0), ("superEps", 0.0), ("superMom", 0.0)):
        if section.parameter(key, neutral) != neutral:
            raise refuse(section.name, key, f"must be {neutral:g}, as another update than the plain one is not made here")
    if section.parameter("updatePeriod", 0) not in (0, 1):
        raise refuse(section.name, "updatePeriod", "must be 1, as every mini-batch is a step here")
    rate, schedule = _rate(section, "epsW", section.same("epsW", section.parameter_text("epsW")))
    bias_rate, bias_schedule = _rate(section, "epsB", section.parameter_text("epsB"))
    momentum, decay = (section.parsed(key, section.same(key, section.parameter_text(key))) for key in ("momW", "wc"))
    try:
        return LayerRule(
            section.name, rate, bias_rate, momentum, section.parameter("momB"), decay, schedule, bias_schedule, deviation, bias
        )
    except ValueError as error:
        raise refuse(section.name, "epsW", str(error)) from None


def _rate(section: _Section, key: str, text: str) -> tuple[float, str]:
    """A rate and its schedule."""
    match = _SCHEDULE.fullmatch(text)
    if match is None:
        return section.parsed(key, text), "const"
    kind, inside = match.groups()
    if kind not in _SCHEDULE_ENTRIES:
        raise refuse(section.name, key, f"a schedule must be one of {', '.join(_SCHEDULE_ENTRIES)}; got {quoted(kind)}")
    entries = {name.strip(): value.strip() for name, _, value in (entry.partition("=") for entry in inside.split(";"))}
    wanted = ("base", *_SCHEDULE_ENTRIES[kind])
    if sorted(entries) != sorted(wanted):
        raise refuse(section.name, key, f"{kind} must have the entries {', '.join(wanted)}; got {quoted(text)}")
    numbers = {name: section.parsed(key, value) for name, value in entries.items()}
    if numbers.get("tgtFactor", 1) <= 0 or numbers.get("numSteps", 2) not in range(2, 1000):
        raise refuse(section.name, key, f"tgtFactor must be positive and numSteps an integer from 2 on, got {quoted(text)}")
    rest = ";".join(f"{name}={numbers[name]:.12g}" for name in wanted[1:])
    return numbers["base"], f"{kind}[{rest}]" if rest else kind
