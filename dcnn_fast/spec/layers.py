"""Networks as data: frozen dataclasses that say what a network is, without torch.

A `Network` is columns plus a label layer; a `Column` is blocks plus fully-connected layers and the
view it looks at; a `Block` is conv -> bias -> ReLU -> [pool and norm, either order].
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

_T = TypeVar("_T")

View = Literal["center", "warp", "pad", "local"]
Rounding = Literal["up", "down"]
Order = Literal["conv-pool-norm", "conv-norm-pool"]
Reduce = Literal["flatten", "mean"]

VIEWS: tuple[View, ...] = ("center", "warp", "pad", "local")
ROUNDINGS: tuple[Rounding, ...] = ("up", "down")
ORDERS: tuple[Order, ...] = ("conv-pool-norm", "conv-norm-pool")
REDUCTIONS: tuple[Reduce, ...] = ("flatten", "mean")


def require_integer(owner: str, name: str, value: Any, least: int) -> None:
    """Raise ValueError unless `value` is an int (not a bool) of at least `least` and at most 2**31 - 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{owner}: {name} must be an integer of at least {least}, got {value!r}")
    if value >= 2**31:
        raise ValueError(f"{owner}: {name} must be less than 2**31, got {value}")


def require_finite(owner: str, name: str, value: Any) -> None:
    """Raise ValueError unless `value` is a finite real number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{owner}: {name} must be a finite number, got {value!r}")


def require_choice(owner: str, name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Raise ValueError unless `value` is one of `choices`."""
    if value not in choices:
        raise ValueError(f"{owner}: {name} must be one of {', '.join(choices)}; got {value!r}")


@dataclass(frozen=True)
class Pool:
    """Max-pooling over `size` x `size` windows, `stride` apart; `stride` <= `size` as in cuda-convnet (facts.md 2.1)."""

    size: int = 3
    stride: int = 2

    def __post_init__(self) -> None:
        require_integer("Pool", "size", self.size, 1)
        require_integer("Pool", "stride", self.stride, 1)
        if self.stride > self.size:
            raise ValueError(f"Pool: stride must not exceed size, got stride {self.stride} and size {self.size}")


def _require_norm(norm: CrossMapNorm | SameMapNorm) -> None:
    owner = type(norm).__name__
    require_integer(owner, "size", norm.size, 1)
    require_finite(owner, "scale", norm.scale)
    require_finite(owner, "power", norm.power)
    if norm.scale < 0:
        raise ValueError(f"{owner}: scale must not be negative, got {norm.scale}")


@dataclass(frozen=True)
class CrossMapNorm:
    """Response norm across maps (cmrnorm, facts.md 2.3): y_f = x_f * d_f**-power, d_f = k + scale/size * sum of x_j**2.

    j runs over the window f - size//2 ... f - size//2 + size - 1, clipped to the maps.
    """

    size: int = 5
    scale: float = 1e-4
    power: float = 0.75
    k: float = 1.0

    def __post_init__(self) -> None:
        _require_norm(self)
        require_finite("CrossMapNorm", "k", self.k)
        if self.k <= 0:
            raise ValueError(f"CrossMapNorm: k must be positive, got {self.k}")


@dataclass(frozen=True)
class SameMapNorm:
    """Response norm within a map (rnorm, facts.md 2.3): as CrossMapNorm with k = 1 over a size x size spatial window.

    The window starts size//2 above and left of the pixel and is clipped to the map; the sum is divided by size**2.
    """

    size: int = 3
    scale: float = 5e-5
    power: float = 0.75

    def __post_init__(self) -> None:
        _require_norm(self)


Norm = CrossMapNorm | SameMapNorm


def window_count(extent: int, size: int, stride: int, rounding: Rounding) -> int:
    """Number of windows of `size`, `stride` apart, over `extent` positions.

    `up` is cuda-convnet's 1 + ceil((extent - size) / stride): the last window may hang over the far edge
    (facts.md 1.3); `down` takes the floor. 0 when nothing fits.
    """
    steps = (extent - size) // stride if rounding == "down" else -((size - extent) // stride)
    return max(0, 1 + steps) if extent > 0 else 0


@dataclass(frozen=True)
class Block:
    """conv -> bias -> ReLU -> [pool and norm, either order].

    `filters` kernels of `size` x `size`, `stride` apart, over an input padded by `padding` zeros, in `groups` groups.
    """

    filters: int
    size: int
    stride: int = 1
    padding: int = 0
    groups: int = 1
    pool: Pool | None = None
    norm: Norm | None = None
    order: Order = "conv-pool-norm"

    def __post_init__(self) -> None:
        for name, least in (("filters", 1), ("size", 1), ("stride", 1), ("padding", 0), ("groups", 1)):
            require_integer("Block", name, getattr(self, name), least)
        require_choice("Block", "order", self.order, ORDERS)
        if self.filters % self.groups:
            raise ValueError(f"Block: filters must be a multiple of groups, got {self.filters} and {self.groups}")
        if self.stride > self.size:
            raise ValueError(f"Block: stride must not exceed size, got stride {self.stride} and size {self.size}")
        if self.padding >= self.size:
            raise ValueError(f"Block: padding must be less than size, got {self.padding} and {self.size}")

    def conv_extent(self, extent: int, rounding: Rounding) -> int:
        """Convolution outputs along an axis of `extent` inputs."""
        return window_count(extent + 2 * self.padding, self.size, self.stride, rounding)

    def out_extent(self, extent: int, rounding: Rounding) -> int:
        """Block outputs along an axis of `extent` inputs."""
        conv = self.conv_extent(extent, rounding)
        return conv if self.pool is None else window_count(conv, self.pool.size, self.pool.stride, rounding)


@dataclass(frozen=True)
class Column:
    """One view's path through the network: blocks, then fully-connected layers, each followed by ReLU.

    The column sees `window` x `window` rectangles of a `plane` x `plane` normalised input (for `local`, of a
    plane-sized crop of the original). A pixel p enters as (p - mean) * scale; padding and overhang are zeros after that.
    `reduce` is what the last block's maps become for the first layer of `fc`: "flatten", all of them in (C, H, W) order, or
    "mean", the average of each. `dropout` acts on every layer of `fc` (paper III-G). A `frozen` column is not trained.
    """

    view: View = "warp"
    blocks: tuple[Block, ...] = ()
    fc: tuple[int, ...] = (1000, 256)
    plane: int = 256
    window: int = 224
    channels: int = 3
    rounding: Rounding = "up"
    dropout: float = 0.5
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    scale: float = 1.0
    frozen: bool = False
    reduce: Reduce = "flatten"

    def __post_init__(self) -> None:
        require_choice("Column", "view", self.view, VIEWS)
        require_choice("Column", "rounding", self.rounding, ROUNDINGS)
        require_choice("Column", "reduce", self.reduce, REDUCTIONS)
        for name in ("plane", "window", "channels"):
            require_integer("Column", name, getattr(self, name), 1)
        if self.window > self.plane:
            raise ValueError(f"Column: window must not exceed plane, got {self.window} and {self.plane}")
        if not self.blocks:
            raise ValueError("Column: blocks must hold at least one Block, got none")
        if not self.fc:
            raise ValueError("Column: fc must hold at least one layer size, got none")
        for size in self.fc:
            require_integer("Column", "fc", size, 1)
        if len(self.mean) != self.channels:
            raise ValueError(f"Column: mean must have {self.channels} entries, one per channel, got {len(self.mean)}")
        for value in (*self.mean, self.scale, self.dropout):
            require_finite("Column", "mean, scale and dropout", value)
        if not 0 <= self.dropout < 1:
            raise ValueError(f"Column: dropout must lie in [0, 1), got {self.dropout}")
        self.extents()

    def extents(self) -> tuple[int, ...]:
        """Side of the window and of each block's output, e.g. (224, 54, 27, 27, 27).

        Raises ValueError where a block does not fit.
        """
        extent, channels = self.window, self.channels
        extents = [extent]
        for number, block in enumerate(self.blocks, 1):
            if channels % block.groups:
                raise ValueError(f"Column: block {number} has {block.groups} groups, which do not divide its {channels} inputs")
            extent = block.out_extent(extent, self.rounding)
            if extent < 1:
                raise ValueError(f"Column: block {number} does not fit its {extents[-1]} x {extents[-1]} input")
            channels = block.filters
            extents.append(extent)
        return tuple(extents)

    @property
    def features(self) -> int:
        """Numbers that the first fully-connected layer is given."""
        return self.blocks[-1].filters * (self.extents()[-1] ** 2 if self.reduce == "flatten" else 1)


@dataclass(frozen=True)
class Network:
    """Columns whose last fc outputs are joined in order and mapped to `labels` by one linear layer and a softmax.

    `attributes`: the labels of a second task, learnt from the same features by a layer of its own (paper eq. 3), or none.
    """

    name: str
    columns: tuple[Column, ...]
    labels: tuple[str, ...] = ("low", "high")
    notes: str = field(default="", compare=False)
    attributes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.columns:
            raise ValueError("Network: columns must hold at least one Column, got none")
        if len(self.labels) < 2 or len(set(self.labels)) != len(self.labels):
            raise ValueError(f"Network: labels must be at least two different names, got {self.labels!r}")
        if len(self.attributes) == 1 or len(set(self.attributes)) != len(self.attributes):
            raise ValueError(f"Network: attributes must be none or at least two different names, got {self.attributes!r}")

    def column_keys(self) -> tuple[str, ...]:
        """Each column's key for the view generator: its view and its ordinal among equals, e.g. ("local:0", "warp:0")."""
        views = [column.view for column in self.columns]
        return tuple(f"{view}:{views[:i].count(view)}" for i, view in enumerate(views))


_NORMS: dict[str, type[Norm]] = {"cross_map": CrossMapNorm, "same_map": SameMapNorm}


def _norm_from_dict(data: dict[str, Any]) -> Norm:
    fields = dict(data)
    kind = fields.pop("kind", None)
    if kind not in _NORMS:
        raise ValueError(f"norm kind must be one of {', '.join(_NORMS)}; got {kind!r}")
    return _build(_NORMS[kind], fields)


def _build(cls: type[_T], data: Any) -> _T:
    """`cls(**data)` with unknown and missing names reported as ValueError."""
    if not isinstance(data, dict):
        raise ValueError(f"{cls.__name__} must be a JSON object, got {type(data).__name__}")
    known = {f.name for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(set(data) - known)
    if unknown:
        raise ValueError(f"{cls.__name__} has no field named {', '.join(unknown)}")
    try:
        return cls(**data)
    except TypeError as error:
        raise ValueError(f"{cls.__name__}: {error}") from None


def _sequence(owner: str, value: Any) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"{owner} must be a list, got {type(value).__name__}")
    return tuple(value)


def _block_from_dict(data: Any) -> Block:
    if not isinstance(data, dict):
        raise ValueError(f"Block must be a JSON object, got {type(data).__name__}")
    fields = dict(data)
    if fields.get("pool") is not None:
        fields["pool"] = _build(Pool, fields["pool"])
    if fields.get("norm") is not None:
        if not isinstance(fields["norm"], dict):
            raise ValueError(f"norm must be a JSON object, got {type(fields['norm']).__name__}")
        fields["norm"] = _norm_from_dict(fields["norm"])
    return _build(Block, fields)


def _column_from_dict(data: Any) -> Column:
    if not isinstance(data, dict):
        raise ValueError(f"Column must be a JSON object, got {type(data).__name__}")
    fields = dict(data)
    fields["blocks"] = tuple(_block_from_dict(block) for block in _sequence("Column.blocks", fields.get("blocks")))
    for name in ("fc", "mean"):
        if name in fields:
            fields[name] = _sequence(f"Column.{name}", fields[name])
    return _build(Column, fields)


def network_from_dict(data: Any) -> Network:
    """The network that `network_to_dict` wrote. Raises ValueError naming what is wrong in any other input."""
    if not isinstance(data, dict):
        raise ValueError(f"Network must be a JSON object, got {type(data).__name__}")
    fields = dict(data)
    fields["columns"] = tuple(_column_from_dict(column) for column in _sequence("Network.columns", fields.get("columns")))
    for key, default in (("labels", ("low", "high")), ("attributes", ())):
        names = _sequence(f"Network.{key}", fields.get(key, default))
        if not all(isinstance(name, str) for name in names):
            raise ValueError(f"Network.{key} must be names, got {names!r}")
        fields[key] = names
    return _build(Network, fields)


def network_to_dict(network: Network) -> dict[str, Any]:
    """A JSON-ready dict of the whole network; `network_from_dict` reads it back to an equal Network."""

    def plain(value: Any) -> Any:
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
            kind = next((name for name, cls in _NORMS.items() if isinstance(value, cls)), None)
            return fields if kind is None else {"kind": kind, **fields}
        if isinstance(value, tuple):
            return [plain(item) for item in value]
        return value

    result: dict[str, Any] = plain(network)
    return result
