"""The single layers that a column may have instead of blocks, as data: those of cuda-convnet (docs/cuda-convnet.md).

Every layer names its inputs by number and states its parameters and its result's shape for given inputs. Images are square: a
shape is (maps, side, side), for vectors (count, 1, 1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from dcnn_fast.networks import bounds
from dcnn_fast.networks.layers import (
    CrossMapNorm,
    SameMapNorm,
    require_bool,
    require_choice,
    require_dropout,
    require_finite,
    require_integer,
    window_count,
)

Shape = tuple[int, int, int]
Bias = Literal["map", "place", "none"]
PoolKind = Literal["max", "avg", "sum"]
NormKind = Literal["cross_map", "same_map", "contrast"]

BIASES: tuple[Bias, ...] = ("map", "place", "none")
POOLS: tuple[PoolKind, ...] = ("max", "avg", "sum")
NORMS: tuple[NormKind, ...] = ("cross_map", "same_map", "contrast")
NEURONS = {
    "ident": 0, "relu": 0, "logistic": 0, "abs": 0, "softrelu": 0, "square": 0, "sqrt": 0, "tanh": 2, "abstanh": 2,
    "linear": 2, "brelu": 1, "log": 1, "drelu": 1,
}  # fmt: skip
"""The functions of a single value, with the number of parameters of each."""


class GraphLayer(Protocol):
    """The description that every layer of a graph gives. inputs: 0 is the column's input, n the result of its nth layer."""

    @property
    def inputs(self) -> tuple[int, ...]:
        """The numbers of the results that it reads."""

    def output(self, shapes: Sequence[Shape]) -> Shape:
        """The shape of its result for inputs of these shapes. Raises ValueError where they do not fit."""

    def parameters(self, shapes: Sequence[Shape]) -> dict[str, tuple[int, ...]]:
        """The shape of each of its parameters by name, the weight first; none where it has none."""

    def products(self, shapes: Sequence[Shape]) -> int:
        """Its multiplications for one window."""

    def about(self) -> str:
        """A short description, as printed by `dcnn-fast describe`."""


class _Bare:
    """A layer without parameters or products."""

    def parameters(self, shapes: Sequence[Shape]) -> dict[str, tuple[int, ...]]:
        """None."""
        del shapes
        return {}

    def products(self, shapes: Sequence[Shape]) -> int:
        """None."""
        del shapes
        return 0


def _require_inputs(layer: GraphLayer, least: int = 1, most: int = 1) -> None:
    owner = type(layer).__name__
    count = len(layer.inputs)
    if not least <= count <= most:
        wanted = str(least) if least == most else f"{least} ... {most}"
        raise ValueError(f"{owner}: inputs must be {wanted}, got {count}")
    for number in layer.inputs:
        require_integer(owner, "inputs", number, 0, bounds.LAYERS)


# A convolution's sizes with their limits.
_SIZES = (
    ("filters", 1, bounds.WIDTH), ("size", 1, bounds.FILTER_SIDE), ("stride", 1, bounds.FILTER_SIDE),
    ("padding", 0, bounds.FILTER_SIDE), ("groups", 1, bounds.WIDTH),
)  # fmt: skip


@dataclass(frozen=True)
class ConvLayer:
    """A convolution without a neuron or, with `shared` false, with different filters for each place (cuda-convnet's `local`).

    filters, size, stride, padding, groups: as in `Block`; the last filter window may hang over the far edge and reads zeros
    there. bias: one per "map", one per "place" of each map, or "none". connections: the maps that the groups read, group by
    group; empty where each reads its share in order.
    """

    inputs: tuple[int, ...]
    filters: int
    size: int
    stride: int = 1
    padding: int = 0
    groups: int = 1
    shared: bool = True
    bias: Bias = "map"
    connections: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        _require_inputs(self)
        for name, least, most in _SIZES:
            require_integer("ConvLayer", name, getattr(self, name), least, most)
        require_bool("ConvLayer", "shared", self.shared)
        require_choice("ConvLayer", "bias", self.bias, BIASES)
        if self.filters % self.groups:
            raise ValueError(f"ConvLayer: filters must be a multiple of groups, got {self.filters} and {self.groups}")
        if self.stride > self.size:
            raise ValueError(f"ConvLayer: stride must not exceed size, got stride {self.stride} and size {self.size}")
        bounds.require_count("ConvLayer", "connections", self.connections, bounds.WIDTH)
        if len(self.connections) % self.groups:
            raise ValueError(f"ConvLayer: connections must be as many for each of {self.groups} groups")
        for channel in self.connections:
            require_integer("ConvLayer", "connections", channel, 0, bounds.WIDTH)

    def output(self, shapes: Sequence[Shape]) -> Shape:
        """A map for each filter."""
        ((channels, extent, _),) = shapes
        if not self.connections and channels % self.groups:
            raise ValueError(f"has {self.groups} groups, which do not divide its {channels} inputs")
        if any(channel >= channels for channel in self.connections):
            raise ValueError(f"has connections to more than its {channels} inputs")
        side = self.side(extent)
        if side < 1 or self.size > extent + 2 * self.padding:
            raise ValueError(f"does not fit its {extent} x {extent} input")
        return self.filters, side, side

    def side(self, extent: int) -> int:
        """Windows along a side of `extent` places."""
        return window_count(extent + 2 * self.padding, self.size, self.stride, "up")

    def own_channels(self, channels: int) -> int:
        """The number of maps that each filter reads out of `channels`."""
        return (len(self.connections) or channels) // self.groups

    def parameters(self, shapes: Sequence[Shape]) -> dict[str, tuple[int, ...]]:
        """weight [F, C / groups, S, S], with a leading axis of places where not shared; bias [F] or [F, H, W]."""
        filters, *sides = self.output(shapes)
        kernel = (filters, self.own_channels(shapes[0][0]), self.size, self.size)
        found: dict[str, tuple[int, ...]] = {"weight": kernel if self.shared else (math.prod(sides), *kernel)}
        if self.bias != "none":
            found["bias"] = (filters,) if self.bias == "map" else (filters, *sides)
        return found

    def products(self, shapes: Sequence[Shape]) -> int:
        """Its multiplications for one window, including those with padding."""
        return math.prod(self.output(shapes)) * self.own_channels(shapes[0][0]) * self.size**2

    def about(self) -> str:
        """A short description."""
        what = f"{self.size}x{self.size} stride {self.stride} pad {self.padding}"
        what += f" groups {self.groups}" if self.groups > 1 else ""
        what += ", drawn connections" if self.connections else ""
        what += "" if self.shared else ", filters of each place"
        return what + (", biases of each place" if self.shared and self.bias == "place" else "")


@dataclass(frozen=True)
class PoolLayer(_Bare):
    """A pool over pool windows of `size` x `size`, `stride` apart, the first one at `start`, `outputs` of them along a side.

    kind: the largest value, the average over the part of the pool window inside the image, or the sum. outputs: 0 for as many
    as cover the image. Raises ValueError for a stride beyond the size; `output` does where a window lies outside the image.
    """

    inputs: tuple[int, ...]
    kind: PoolKind = "max"
    size: int = 3
    stride: int = 2
    start: int = 0
    outputs: int = 0

    def __post_init__(self) -> None:
        _require_inputs(self)
        require_choice("PoolLayer", "kind", self.kind, POOLS)
        require_integer("PoolLayer", "size", self.size, 1, bounds.FILTER_SIDE)
        require_integer("PoolLayer", "stride", self.stride, 1)
        require_integer("PoolLayer", "start", self.start, -bounds.SIDE, bounds.SIDE)
        require_integer("PoolLayer", "outputs", self.outputs, 0, bounds.SIDE)
        if self.stride > self.size:
            raise ValueError(f"PoolLayer: stride must not exceed size, got stride {self.stride} and size {self.size}")

    def count(self, extent: int) -> int:
        """Windows along a side of `extent` places."""
        return self.outputs or window_count(extent - self.start, self.size, self.stride, "up")

    def output(self, shapes: Sequence[Shape]) -> Shape:
        """As many maps as before."""
        ((channels, extent, _),) = shapes
        count = self.count(extent)
        last = self.start + (count - 1) * self.stride
        if count < 1 or self.start + self.size < 1 or last >= extent:
            raise ValueError(f"has windows outside its {extent} x {extent} input")
        return channels, count, count

    def about(self) -> str:
        """A short description."""
        start = f" start {self.start}" if self.start else ""
        return f"{self.kind} {self.size}x{self.size} stride {self.stride}{start}"


@dataclass(frozen=True)
class NormLayer(_Bare):
    """A response norm: y = x * d**-power, d = k + scale / n * the sum of x**2 over a norm window of n values.

    kind: the window is of `size` maps, or of `size` x `size` places of a map; with "contrast" the average of that window is
    subtracted from x before. Windows are clipped at the border (docs/cuda-convnet.md#formulas).
    """

    inputs: tuple[int, ...]
    kind: NormKind = "cross_map"
    size: int = 5
    scale: float = 1e-4
    power: float = 0.75
    k: float = 1.0

    def __post_init__(self) -> None:
        _require_inputs(self)
        require_choice("NormLayer", "kind", self.kind, NORMS)
        CrossMapNorm(self.size, self.scale, self.power, self.k)  # raises ValueError for its numbers

    @property
    def as_norm(self) -> CrossMapNorm | SameMapNorm | None:
        """The equal norm of a block; None where blocks have none."""
        if self.kind == "cross_map":
            return CrossMapNorm(self.size, self.scale, self.power, self.k)
        return SameMapNorm(self.size, self.scale, self.power) if self.kind == "same_map" and self.k == 1 else None

    def output(self, shapes: Sequence[Shape]) -> Shape:
        """The input's shape."""
        return shapes[0]

    def sums(self, shape: Shape) -> int:
        """The number of terms that it sums for one window."""
        channels, side, _ = shape
        places = min(self.size, channels) if self.kind == "cross_map" else min(self.size, side) ** 2
        return channels * side**2 * places

    def about(self) -> str:
        """A short description."""
        kind = {"cross_map": "across maps", "same_map": "same map", "contrast": "contrast"}[self.kind]
        return f"{kind}, size {self.size}, scale {self.scale:g}"


@dataclass(frozen=True)
class NeuronLayer(_Bare):
    """An elementwise function, one of `NEURONS`, with its parameters, such as a and b of a * tanh(b * x)."""

    inputs: tuple[int, ...]
    neuron: str = "relu"
    values: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        _require_inputs(self)
        require_choice("NeuronLayer", "neuron", self.neuron, tuple(NEURONS))
        if len(self.values) != NEURONS[self.neuron]:
            raise ValueError(f"NeuronLayer: {self.neuron} must have {NEURONS[self.neuron]} values, got {len(self.values)}")
        for value in self.values:
            require_finite("NeuronLayer", "values", value)
        if self.neuron == "drelu" and self.values[0] == 0:
            raise ValueError("NeuronLayer: drelu's value must not be 0, by which it divides")

    def output(self, shapes: Sequence[Shape]) -> Shape:
        """The input's shape."""
        return shapes[0]

    def about(self) -> str:
        """The layer in a layer file's notation."""
        return self.neuron + (f"[{','.join(f'{value:g}' for value in self.values)}]" if self.values else "")


@dataclass(frozen=True)
class FcLayer:
    """A fully-connected layer without a neuron, with its input in (C, H, W) order. bias: whether it has one."""

    inputs: tuple[int, ...]
    outputs: int = 1
    bias: bool = True

    def __post_init__(self) -> None:
        _require_inputs(self)
        require_integer("FcLayer", "outputs", self.outputs, 1, bounds.WIDTH)
        require_bool("FcLayer", "bias", self.bias)

    def output(self, shapes: Sequence[Shape]) -> Shape:
        """A number for each output."""
        del shapes
        return self.outputs, 1, 1

    def parameters(self, shapes: Sequence[Shape]) -> dict[str, tuple[int, ...]]:
        """weight [outputs, inputs] and bias [outputs]."""
        weight = (self.outputs, math.prod(shapes[0]))
        return {"weight": weight, "bias": (self.outputs,)} if self.bias else {"weight": weight}

    def products(self, shapes: Sequence[Shape]) -> int:
        """Its multiplications for one window."""
        return self.outputs * math.prod(shapes[0])

    def about(self) -> str:
        """A short description."""
        return f"to {self.outputs}"


@dataclass(frozen=True)
class DropoutLayer(_Bare):
    """In training a `share` of the values, newly drawn each time, is zero and the others are unchanged.

    keeps: outside training all are multiplied by 1 - share, the average in training (cuda-convnet's `dropout2`); without it
    they are unchanged (its `dropout`).
    """

    inputs: tuple[int, ...]
    share: float = 0.5
    keeps: bool = True

    def __post_init__(self) -> None:
        _require_inputs(self)
        require_dropout("DropoutLayer", self.share)
        require_bool("DropoutLayer", "keeps", self.keeps)

    def output(self, shapes: Sequence[Shape]) -> Shape:
        """The input's shape."""
        return shapes[0]

    def about(self) -> str:
        """A short description."""
        return f"{self.share:g}" + (", the rest scaled when it is off" if self.keeps else "")


@dataclass(frozen=True)
class ConcatLayer(_Bare):
    """The concatenation of its inputs; maps of one size stay maps."""

    inputs: tuple[int, ...]

    def __post_init__(self) -> None:
        _require_inputs(self, 1, bounds.INPUTS)

    def output(self, shapes: Sequence[Shape]) -> Shape:
        """All maps, or all values where sides differ."""
        sides = {shape[1] for shape in shapes}
        if len(sides) == 1:
            side = sides.pop()
            return sum(shape[0] for shape in shapes), side, side
        return sum(map(math.prod, shapes)), 1, 1

    def about(self) -> str:
        """A short description."""
        return f"{len(self.inputs)} joined"


@dataclass(frozen=True)
class SumLayer(_Bare):
    """The sum of its inputs, each multiplied by its coefficient. coefficients: as many as inputs; empty means ones."""

    inputs: tuple[int, ...]
    coefficients: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        _require_inputs(self, 1, bounds.INPUTS)
        if len(self.coefficients) not in (0, len(self.inputs)):
            raise ValueError(f"SumLayer: coefficients must be {len(self.inputs)}, got {len(self.coefficients)}")
        for value in self.coefficients:
            require_finite("SumLayer", "coefficients", value)

    def output(self, shapes: Sequence[Shape]) -> Shape:
        """Each input's shape."""
        return _one_shape(shapes)

    def about(self) -> str:
        """A short description."""
        return f"of {len(self.inputs)}"


@dataclass(frozen=True)
class MaxLayer(_Bare):
    """The elementwise maximum of its inputs; each input equal to it gets its gradient, as in cuda-convnet."""

    inputs: tuple[int, ...]

    def __post_init__(self) -> None:
        _require_inputs(self, 2, bounds.INPUTS)

    def output(self, shapes: Sequence[Shape]) -> Shape:
        """Each input's shape."""
        return _one_shape(shapes)

    def about(self) -> str:
        """A short description."""
        return f"of {len(self.inputs)}"


def _one_shape(shapes: Sequence[Shape]) -> Shape:
    if len(set(shapes)) != 1:
        raise ValueError(f"must have inputs of one shape, got {', '.join('x'.join(map(str, shape)) for shape in shapes)}")
    return shapes[0]


AnyLayer = ConvLayer | PoolLayer | NormLayer | NeuronLayer | FcLayer | DropoutLayer | ConcatLayer | SumLayer | MaxLayer

KINDS: dict[str, type[AnyLayer]] = {
    "conv": ConvLayer, "pool": PoolLayer, "norm": NormLayer, "neuron": NeuronLayer, "fc": FcLayer, "dropout": DropoutLayer,
    "concat": ConcatLayer, "sum": SumLayer, "max": MaxLayer,
}  # fmt: skip
"""The layers by their names in model files."""


def kind_of(layer: AnyLayer) -> str:
    """The name of a layer's kind."""
    return next(name for name, kind in KINDS.items() if type(layer) is kind)
