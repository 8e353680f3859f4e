"""Reads cuda-convnet's layer-definition and layer-parameter files, both versions' keys (docs/cuda-convnet.md#layer-files).

Every key of a layer is understood or refused with a message; none is ignored. Parameters of undefined layers, which
cuda-convnet ignores, are noted.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dcnn_fast.networks import bounds
from dcnn_fast.networks.convnet_column import matrix_name
from dcnn_fast.networks.convnet_graph import Assembly, assemble
from dcnn_fast.networks.convnet_layer import NUL, ConvNetError, Layer, Preprocessing, refuse
from dcnn_fast.networks.convnet_rules import InputRule, LayerRule
from dcnn_fast.networks.convnet_section import LONGEST, Section, sections_of
from dcnn_fast.networks.cost import parameters
from dcnn_fast.networks.network import Network
from dcnn_fast.printable import quoted, shortened

_UNSAID = {
    "blur": "a blur", "nailbed": "a nailbed", "resize": "a change of size", "rgb2yuv": "a change of colour space",
    "rgb2lab": "a change of colour space", "rscale": "a random scale", "cmpool": "a pool across maps", "crop": "a crop",
    "href": "a reflection", "sum": "a sum of numbers", "sfc": "a fully-connected layer in parts",
    "cost.sum2": "a squared cost", "cost.crossent": "a cost of several labels a picture",
    "cost.bce": "a cost of several labels a picture", "cost.dce": "a cost of several labels a picture",
}  # fmt: skip
_SCHEDULE = re.compile(r"(\w+)\[([^\]]*)\]")
_SCHEDULE_ENTRIES = {"const": (), "linear": ("tgtFactor",), "exp": ("tgtFactor",), "dexp": ("tgtFactor", "numSteps")}


@dataclass(frozen=True)
class Reading:
    """The contents of a layer-definition and a layer-parameter file.

    Attributes:
        network: The network.
        rules: The layers' rules, by the prefix of their parameters' names; empty without a layer-parameter file.
        notes: One sentence for each key that was found in an unusual place or has no meaning here.
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
    sizes_only: bool = False,
) -> Reading:
    """The network of a layer-definition file and its rules from a layer-parameter file.

    Args:
        layers: The layer-definition file.
        params: The layer-parameter file, None for none.
        data: The settings of cuda-convnet's data provider, by default those of `Preprocessing`.
        name: The network's name, by default the file's without its suffix.
        labels: The names of the label layer's outputs; by default low and high where there are two, else their numbers.
        sizes_only: Whether norms get a scale of 0 without a layer-parameter file, which is noted; sizes and counts do not
            depend on it.

    Returns:
        The network, its rules and notes. A column whose layers all have epsW = epsB = 0 is frozen.

    Raises:
        ConvNetError: A file is faulty, or no network can express it; the message names the section, the key and why.
        OSError: A file cannot be read.

    Source:
        docs/cuda-convnet.md#layer-files
    """
    texts = [_text(path) for path in ((layers,) if params is None else (layers, params))]
    return parse_convnet_cfg(
        texts[0], texts[1] if params is not None else None, data, name=name or Path(layers).stem, labels=labels,
        sizes_only=sizes_only,
    )  # fmt: skip


def parse_convnet_cfg(
    layers: str,
    params: str | None = None,
    data: Preprocessing | None = None,
    *,
    name: str = "cuda-convnet",
    labels: Sequence[str] | None = None,
    sizes_only: bool = False,
) -> Reading:
    """Like `read_convnet_cfg`, but from the files' texts.

    Args:
        layers: The text of the layer-definition file.
        params: The text of the layer-parameter file, None for none.
        data: The settings of cuda-convnet's data provider, by default those of `Preprocessing`.
        name: The network's name.
        labels: The names of the label layer's outputs; by default low and high where there are two, else their numbers.
        sizes_only: Whether norms get a scale of 0 without a layer-parameter file, which is noted; sizes and counts do not
            depend on it.

    Returns:
        The network, its rules and notes. A column whose layers all have epsW = epsB = 0 is frozen.

    Raises:
        ConvNetError: A file is faulty, or no network can express it; the message names the section, the key and why.

    Source:
        docs/cuda-convnet.md#layer-files
    """
    notes: list[str] = []
    definitions = sections_of(layers, "layer definitions", notes)
    of_layers = sections_of(params, "layer parameters", notes) if params is not None else {}
    notes += [
        f"[{shortened([section])}] layer parameters: no layer of that name is defined; passed over"
        for section in of_layers
        if section not in definitions
    ]
    found: list[Layer] = []
    rules: dict[str, list[LayerRule]] = {}
    for section, keys in definitions.items():
        of_it = None if params is None else dict(of_layers.get(section, {}))
        reader = Section(section, dict(keys), of_it, notes, sizes_only=sizes_only)
        found += _layers(reader, rules)
        reader.finish()
    assembly = assemble(found, data or Preprocessing(), name=name, labels=labels)
    count = parameters(assembly.network)
    if count > bounds.DRAWN:
        raise ConvNetError(f"layer definitions: must have at most {bounds.DRAWN:,} parameters, got {count:,}")
    if params is None:
        return Reading(assembly.network, {}, tuple(notes))
    placed = _placed(rules, assembly)
    return Reading(_frozen(assembly.network, placed), placed, tuple(notes))


def _placed(rules: Mapping[str, list[LayerRule]], assembly: Assembly) -> dict[str, LayerRule]:
    """The rules, by the layers' places in the network."""
    of_matrices = {matrix_name(layer, index): rule for layer, each in rules.items() for index, rule in enumerate(each)}
    placed = {part: of_matrices[matrix] for matrix, part in assembly.parts.items() if part != "label"}
    label = next(layer for layer, part in assembly.parts.items() if part == "label")
    return placed | {"label": _of_one_matrix(label, rules[label], assembly.label_inputs)}


def _of_one_matrix(layer: str, rules: Sequence[LayerRule], widths: Sequence[int]) -> LayerRule:
    """The rule of a layer with several inputs of these widths, whose weights are one matrix."""
    first = rules[0]
    if all(rule == first for rule in rules):
        return first
    if len(rules) != len(widths):
        raise refuse(layer, "initW", "must be the same for all inputs where one of them joins others")
    inputs = tuple(
        InputRule(width, rule.rate, rule.momentum, rule.decay, rule.schedule, rule.deviation)
        for width, rule in zip(widths, rules, strict=True)
    )
    return dataclasses.replace(first, inputs=inputs)


def _frozen(network: Network, rules: Mapping[str, LayerRule]) -> Network:
    columns = tuple(
        dataclasses.replace(
            column, frozen=_all_fixed(rule for part, rule in rules.items() if part.startswith(f"columns.{number}."))
        )
        for number, column in enumerate(network.columns)
    )
    return dataclasses.replace(network, columns=columns)


def _all_fixed(rules: Iterable[LayerRule]) -> bool:
    fixed = [rule.fixed for rule in rules]
    return bool(fixed) and all(fixed)


def _text(path: str | Path) -> str:
    try:
        with open(path, encoding="utf-8-sig") as file:
            return file.read(LONGEST + 1)
    except UnicodeDecodeError:
        raise ConvNetError(f"{path}: must be text in UTF-8") from None


def _layers(section: Section, rules: dict[str, list[LayerRule]]) -> list[Layer]:
    """The layer of a section, and its neuron as a separate layer; adds its rules, one for each of its inputs."""
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
    layer = _dropout(section, kind, inputs) if kind in _DROPOUTS else _plain(section, kind, inputs)
    if not 0 <= layer.dropout < 1:
        raise refuse(section.name, "dropout", f"must lie in [0, 1), got {layer.dropout}")
    if kind in _WEIGHTED:
        of_inputs = _rules(section, kind, max(1, len(inputs)))
        if of_inputs is not None:
            rules[section.name] = of_inputs
    neuron = section.text("neuron", "") if kind not in ("neuron", "softmax", "cost.logreg") else ""
    if neuron in ("", "ident"):
        return [layer]
    # layers above refer to this section's name, meaning its neuron
    raw = section.name + NUL
    placed = dataclasses.replace(layer, name=raw)
    if section.name in rules:
        rules[raw] = rules.pop(section.name)
    return [placed, Layer(section.name, "neuron", (raw,), {"neuron": neuron})]


def _plain(section: Section, kind: str, inputs: tuple[str, ...]) -> Layer:
    dropout = 0.0 if kind in ("softmax", "cost.logreg") else section.parameter("dropout", 0.0)
    return Layer(section.name, kind, inputs, _KINDS[kind](section, len(inputs)), dropout)


def _dropout(section: Section, kind: str, inputs: tuple[str, ...]) -> Layer:
    section.belongs_in_parameters("enable", "keep")
    on = section.on("enable", section.parameter_text("enable", "1"))
    dropout = round(1 - section.parameter("keep", 0.5), 12)
    if not on and kind == "dropout2" and dropout:
        raise refuse(section.name, "enable", "a dropout2 that is off still multiplies by keep, which cannot be said")
    return Layer(section.name, "dropout", inputs, {}, dropout if on else 0.0, kind == "dropout2")


def _conv(section: Section, inputs: int) -> dict[str, Any]:
    """The values of the first input, and those of `each`."""
    columns = {
        "channels": section.integers("channels", inputs), "filters": section.integers("filters", inputs),
        "filterSize": section.integers("filterSize", inputs), "padding": section.integers("padding", inputs, 0),
        "stride": section.integers("stride", inputs, 1), "groups": section.integers("groups", inputs, 1),
    }  # fmt: skip
    sparse = section.list_of("randSparse", section.text("randSparse", "0"), inputs)
    shares = [channels // max(1, groups) for channels, groups in zip(columns["channels"], columns["groups"], strict=True)]
    given = section.list_of("filterChannels", section.text("filterChannels", ",".join(map(str, shares))), inputs)
    each = []
    for index, numbers in enumerate(zip(*columns.values(), strict=True)):
        values: dict[str, Any] = dict(zip(columns, numbers, strict=True))
        values["randSparse"] = section.on("randSparse", sparse[index])
        values["filterChannels"] = int(section.parsed("filterChannels", given[index]))
        if not values["randSparse"] and values["filterChannels"] * values["groups"] != values["channels"]:
            raise refuse(section.name, "filterChannels", f"must be channels / groups, got {quoted(values['filterChannels'])}")
        values["filters"] *= values["groups"]  # as in layer.py of both versions: the file states the number per group
        each.append(values)
    if any(values["randSparse"] for values in each):
        section.notes.append(f"[{section.name}] randSparse: which maps the groups read is drawn anew, always alike")
    section.must_be_absent("initCFunc", "a Python function that makes connections is not run")
    shared = section.switch("sharedBiases", True)
    for key in ("partialSum", "sumWidth"):
        section.moot(key, "how the original's kernels sum changes nothing here")
    section.moot("modulesX", "follows from the input's size, which the file does not say")
    return {**(each[0] if each else {}), "sharedBiases": shared, "each": tuple(each)}


def _fc(section: Section, inputs: int) -> dict[str, Any]:
    del inputs
    return {"outputs": section.integer("outputs")}


def _pool(section: Section, inputs: int) -> dict[str, Any]:
    del inputs
    which = section.text("pool")
    if which not in ("max", "avg"):
        raise refuse(section.name, "pool", f"must be max or avg, as other pools cannot be said, got {quoted(which)}")
    sums = section.switch("sum", False)
    return {
        "pool": "sum" if sums and which == "avg" else which, "start": section.integer("start", 0),
        "channels": section.integer("channels"), "sizeX": section.integer("sizeX"), "stride": section.integer("stride"),
        "outputsX": section.integer("outputsX", 0),
    }  # fmt: skip


def _norm(section: Section, inputs: int) -> dict[str, Any]:
    del inputs
    section.must_be_off("blocked", "a norm of fixed groups of maps cannot be said")
    section.belongs_in_parameters("scale", "pow", "minDiv")
    if "sizex" in section.keys:
        if "size" in section.keys:
            raise refuse(section.name, "sizeX", "an obsolete name of size, which is there too")
        section.keys["size"] = section.keys.pop("sizex")
        section.notes.append(f"[{section.name}] sizeX: the obsolete name of size; taken as that")
    if section.sizes_only and not section.with_params and "scale" not in section.params:
        section.notes.append(f"[{section.name}] scale, pow: are in the layer parameters, which are not given; shown as 0")
        section.params |= {"scale": "0", "pow": "0"}
    if not section.with_params and "scale" not in section.params:
        raise refuse(section.name, "scale", "a norm needs the layer-parameter file")
    return {
        "channels": section.integer("channels"), "size": section.integer("size"),
        "scale": section.parameter("scale"), "pow": section.parameter("pow"), "k": section.parameter("minDiv", 1.0),
    }  # fmt: skip


def _sum(section: Section, inputs: int) -> dict[str, Any]:
    section.belongs_in_parameters("coeffs")
    texts = section.list_of("coeffs", section.parameter_text("coeffs", "1"), inputs)
    return {"coeffs": [section.parsed("coeffs", text) for text in texts]}


def _neuron(section: Section, inputs: int) -> dict[str, Any]:
    del inputs
    return {"neuron": section.text("neuron")}


def _nothing(section: Section, inputs: int) -> dict[str, Any]:
    del section, inputs
    return {}


def _cost(section: Section, inputs: int) -> dict[str, Any]:
    del inputs
    if section.with_params and section.parameter("coeff") != 1:
        raise refuse(section.name, "coeff", "must be 1, as a network has one cost")
    section.belongs_in_parameters("topk")
    section.parameter("topk", 1)  # only evaluation computes accuracies
    return {}


_WEIGHTED, _DROPOUTS = ("conv", "local", "fc"), ("dropout", "dropout2")
_KINDS: dict[str, Callable[[Section, int], dict[str, Any]]] = {
    "data": _nothing, "conv": _conv, "local": _conv, "fc": _fc, "pool": _pool, "cmrnorm": _norm, "rnorm": _norm, "cnorm": _norm,
    "neuron": _neuron, "dropout": _nothing, "dropout2": _nothing, "concat": _nothing, "pass": _nothing, "eltsum": _sum,
    "eltmax": _nothing, "softmax": _nothing, "cost.logreg": _cost,
}  # fmt: skip


def _rules(section: Section, kind: str, inputs: int) -> list[LayerRule] | None:
    """The rule of each input's weights; None without layer parameters."""
    for key in ("initWFunc", "initBFunc"):
        section.must_be_absent(key, "a Python function that makes weights is not run")
    section.must_be_absent("weightSource", "weights that layers share cannot be said")
    deviations = section.list_of("initW", section.text("initW", "0.01" if kind == "fc" else None), inputs)
    deviation = [section.parsed("initW", text) for text in deviations]
    bias = section.number("initB", 0.0)
    if not section.with_params:
        return None
    _require_plain_update(section, inputs)
    rates = [_rate(section, "epsW", text) for text in section.list_of("epsW", section.parameter_text("epsW"), inputs)]
    bias_rate, bias_schedule = _rate(section, "epsB", section.parameter_text("epsB"))
    momenta, decays = (
        [section.parsed(key, text) for text in section.list_of(key, section.parameter_text(key, default), inputs)]
        for key, default in (("momW", None), ("wc", "0"))  # version 2's defaults
    )
    bias_momentum = section.parameter("momB")
    try:
        each = zip(rates, momenta, decays, deviation, strict=True)
        return [
            LayerRule(section.name, rate, bias_rate, mom, bias_momentum, wc, schedule, bias_schedule, start, bias)
            for (rate, schedule), mom, wc, start in each
        ]
    except ValueError as error:
        raise refuse(section.name, "epsW", str(error)) from None


def _require_plain_update(section: Section, inputs: int) -> None:
    for key in ("wball", "superEps", "superMom"):
        texts = section.list_of(key, section.parameter_text(key, "0"), inputs)
        if any(section.parsed(key, text) for text in texts):
            raise refuse(section.name, key, "must be 0, as another update than the plain one is not made here")
    if section.parameter("updatePeriod", 0) not in (0, 1):
        raise refuse(section.name, "updatePeriod", "must be 1, as every mini-batch is a step here")


def _rate(section: Section, key: str, text: str) -> tuple[float, str]:
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
