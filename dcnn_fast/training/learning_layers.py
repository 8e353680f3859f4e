"""The choice of the parameters that learn, their rates and the precision of their products."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn

from dcnn_fast.nets import AnyColumn, MultiColumn
from dcnn_fast.networks import LayerRule
from dcnn_fast.ops.block.params import Ties
from dcnn_fast.ops.precision import Precision
from dcnn_fast.printable import quoted, shortened
from dcnn_fast.training.settings import Settings, TrainingPrecision

_PRODUCTS: dict[TrainingPrecision, Precision] = {"fp32": "ieee", "tf32": "tf32", "bf16": "bf16", "fp16": "fp16"}


@dataclass(frozen=True)
class _Rates:
    """A parameter's learning rate, momentum, decay and schedule. base: its rate before the schedule."""

    base: float
    momentum: float
    decay: float
    schedule: str


def rate_groups(net: nn.Module, settings: Settings) -> list[dict[str, Any]]:
    """The update rule's groups: parameters with equal rates, and apart those whose inputs have rates of their own.

    Each group's "base" is its rate before its "schedule". Biases, the parameters whose name ends in "bias", do not decay.
    "inputs" are those of a layer whose inputs learn at rates of their own, each with its own "base" and "schedule". Raises
    ValueError where `settings.layer_rules` are not those of exactly the network's layers.
    """
    columns = zip(columns_of(net), _factors(net, settings), strict=True)
    factors = {id(parameter): factor for column, factor in columns for parameter in column.parameters()}
    named = dict(net.named_parameters())
    rules = dict(settings.layer_rules)
    layers = {name.rpartition(".")[0] for name in named}
    if rules and set(rules) != layers:
        raise ValueError(f"layer_rules must be those of the network's layers, differing: {sorted(layers ^ set(rules))}")
    groups: dict[_Rates, dict[str, Any]] = {}
    apart: list[dict[str, Any]] = []
    for name, parameter in named.items():
        layer, _, kind = name.rpartition(".")
        rule, factor = rules.get(layer), factors.get(id(parameter), 1.0)
        rates = _rates(settings, rule, kind == "bias", factor)
        if rule is not None and rule.inputs and kind != "bias":
            apart.append({"params": [parameter], "lr": rates.base, **asdict(rates), "inputs": _of_inputs(rule, factor)})
            continue
        if rates not in groups:
            groups[rates] = {"params": [], "lr": rates.base, **_options(rates, settings)}
        groups[rates]["params"].append(parameter)
    return [*groups.values(), *apart]


def _of_inputs(rule: LayerRule, factor: float) -> list[dict[str, Any]]:
    """The rates of a matrix's columns, one entry for each input."""
    return [
        {
            "size": each.size, "lr": factor * each.rate, "base": factor * each.rate, "momentum": each.momentum,
            "decay": each.decay, "schedule": each.schedule,
        }
        for each in rule.inputs
    ]  # fmt: skip


def _options(rates: _Rates, settings: Settings) -> dict[str, Any]:
    """The group's entries, by the names that the update rule and `Step` read."""
    if settings.optimiser == "adamw":
        return {"base": rates.base, "schedule": rates.schedule, "weight_decay": rates.decay}
    return asdict(rates)


def _rates(settings: Settings, rule: LayerRule | None, bias: bool, factor: float) -> _Rates:
    of: Settings | LayerRule = settings if rule is None else rule
    if bias:
        schedule = settings.schedule if rule is None else rule.bias_schedule
        return _Rates(factor * of.bias_rate, of.bias_momentum, 0.0, schedule)
    return _Rates(factor * of.rate, of.momentum, of.decay, of.schedule)


def still_columns(net: nn.Module, settings: Settings) -> list[AnyColumn]:
    """The columns that this run does not change: those with factor 0, those whose layers are all frozen, or every column where
    only the label layer is tuned."""
    columns, factors = columns_of(net), _factors(net, settings)
    still = [
        column for column, factor in zip(columns, factors, strict=True) if factor == 0 or settings.tune == "label"
    ]  # fmt: skip
    held = {id(parameter) for column in still for parameter in column.parameters()}
    for name in settings.freeze:
        if all(id(parameter) in held for parameter in frozen_parameters(net, [name])):
            raise ValueError(f"freeze must name layers that would learn, got {quoted(name)} of columns that do not anyway")
    frozen = {id(parameter) for parameter in frozen_parameters(net, settings.freeze)}
    return [column for column in columns if column in still or _is_whole(column, frozen)]


def keeps_pixels(column: AnyColumn) -> bool:
    """Whether a column keeps its mean: its `keeps_mean` says so, or a layer below its fully-connected ones is frozen."""
    below = (each for name, each in column.named_parameters() if not name.startswith("fc."))
    return column.keeps_mean or any(not parameter.requires_grad for parameter in below)


def _is_whole(column: AnyColumn, frozen: Collection[int]) -> bool:
    own = [id(parameter) for parameter in column.parameters()]
    return bool(own) and all(each in frozen for each in own)


def frozen_parameters(net: nn.Module, names: Sequence[str]) -> list[nn.Parameter]:
    """The parameters of the layers with these names (`Settings.freeze`).

    Raises ValueError for a name of no layer that would learn.
    """
    found: dict[str, nn.Parameter] = {}
    learning = {name: parameter for name, parameter in net.named_parameters() if parameter.requires_grad}
    layers = sorted({name.rpartition(".")[0] for name in learning})
    for wanted in names:
        mine = {name: each for name, each in learning.items() if _is_named(name.rpartition(".")[0], wanted)}
        if not mine:
            raise ValueError(f"freeze must name layers that learn, of {shortened(layers, 30)}; got {quoted(wanted)}")
        found |= mine
    return list(found.values())


def _is_named(layer: str, wanted: str) -> bool:
    """Whether a layer, or one that contains it, matches the wanted name."""
    parts = layer.split(".")
    return any(fnmatchcase(".".join(parts[:end]), wanted) for end in range(1, len(parts) + 1))


@contextmanager
def held_still(net: nn.Module, columns: Sequence[AnyColumn], freeze: Sequence[str] = ()) -> Iterator[None]:
    """Freeze columns and layers while the context lasts: their parameters require no gradients.

    Raises ValueError where nothing would be left to learn, or for a name as `frozen_parameters` does.
    """
    chosen = [*(parameter for column in columns for parameter in column.parameters()), *frozen_parameters(net, freeze)]
    parameters = list({id(parameter): parameter for parameter in chosen if parameter.requires_grad}.values())
    if len(parameters) == sum(parameter.requires_grad for parameter in net.parameters()):
        raise ValueError("freeze must leave a layer that learns, got all of them")
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_()


@contextmanager
def computed_in(net: nn.Module, precision: TrainingPrecision, device: torch.device) -> Iterator[None]:
    """Compute the network's products in `precision`, forward and backward, while the context lasts; the label layer's in fp32.

    On a GPU, torch's own products follow a setting of the whole process, which is restored afterwards.
    """
    columns = [module for module in net.modules() if isinstance(module, AnyColumn)]
    before = [column.precision for column in columns]
    for column in columns:
        column.compute_in(_PRODUCTS[precision])
    try:
        with _tf32(precision == "tf32") if device.type == "cuda" else nullcontext():
            yield
    finally:
        for column, former in zip(columns, before, strict=True):
            column.compute_in(former)


@contextmanager
def tied(net: nn.Module, ties: Ties) -> Iterator[None]:
    """Give the gradients of the network's max-pools to "all" equal maxima or to the "first", while the context lasts."""
    columns = [module for module in net.modules() if isinstance(module, AnyColumn)]
    before = [column.ties for column in columns]
    for column in columns:
        column.give_ties(ties)
    try:
        yield
    finally:
        for column, former in zip(columns, before, strict=True):
            column.give_ties(former)


@contextmanager
def _tf32(wanted: bool) -> Iterator[None]:
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = wanted
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def multi_column(net: nn.Module) -> MultiColumn | None:
    """The `MultiColumn` that `net` is or contains; None without one."""
    return next((module for module in net.modules() if isinstance(module, MultiColumn)), None)


def columns_of(net: nn.Module) -> list[AnyColumn]:
    """The columns of `net`, or of the first module in it that has some."""
    for module in net.modules():
        columns = getattr(module, "columns", None)
        if isinstance(columns, nn.ModuleList):
            return [column for column in columns if isinstance(column, AnyColumn)]
    return []


def _factors(net: nn.Module, settings: Settings) -> tuple[float, ...]:
    columns = columns_of(net)
    if settings.column_rates and len(settings.column_rates) != len(columns):
        raise ValueError(
            f"column_rates must be one factor for each of {len(columns)} columns, got {len(settings.column_rates)}"
        )
    return settings.column_rates or (1.0,) * len(columns)
