"""Columns of blocks as data: frozen dataclasses without torch.

A `Column` is blocks plus fully-connected layers and the column's view; a `Block` is conv -> bias -> ReLU -> [pool and norm,
either order], or has the ReLU last.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from dcnn_fast.networks import bounds
from dcnn_fast.printable import quoted

View = Literal["center", "warp", "pad", "local"]
Rounding = Literal["up", "down"]
Order = Literal["conv-pool-norm", "conv-norm-pool", "conv-pool-norm-relu", "conv-norm-pool-relu"]
PoolKind = Literal["max", "avg"]
Reduce = Literal["flatten", "mean"]

VIEWS: tuple[View, ...] = ("center", "warp", "pad", "local")
ROUNDINGS: tuple[Rounding, ...] = ("up", "down")
ORDERS: tuple[Order, ...] = ("conv-pool-norm", "conv-norm-pool", "conv-pool-norm-relu", "conv-norm-pool-relu")
POOL_KINDS: tuple[PoolKind, ...] = ("max", "avg")
REDUCTIONS: tuple[Reduce, ...] = ("flatten", "mean")

_LARGEST = sys.float_info.max


def require_integer(owner: str, name: str, value: Any, least: int, most: int = 2**31 - 1) -> None:
    """Raise ValueError unless `value` is an int (not a bool) of at least `least` and at most `most`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{owner}: {name} must be an integer of at least {least}, got {quoted(value)}")
    bounds.require_most(owner, name, value, most)


def require_finite(owner: str, name: str, value: Any) -> None:
    """Raise ValueError unless `value` is a finite real number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= _LARGEST:
        raise ValueError(f"{owner}: {name} must be a finite number, got {quoted(value)}")


def require_bool(owner: str, name: str, value: Any) -> None:
    """Raise ValueError unless `value` is true or false."""
    if not isinstance(value, bool):
        raise ValueError(f"{owner}: {name} must be true or false, got {quoted(value)}")


def require_choice(owner: str, name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Raise ValueError unless a value is one of the choices.

    Args:
        owner: The name of the thing that has the value, for the message.
        name: The value's name, for the message.
        value: The value.
        choices: The allowed texts.

    Raises:
        ValueError: The value is none of them.
    """
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{owner}: {name} must be one of {', '.join(choices)}; got {quoted(value)}")


def require_window(owner: str, plane: Any, window: Any) -> None:
    """Raise ValueError unless windows fit into planes.

    Args:
        owner: The name of the thing that has both, for the message.
        plane: The planes' side, in pixels.
        window: The windows' side, in pixels.

    Raises:
        ValueError: A side is no integer of at least 1, or larger than `networks.bounds` allows, or the window exceeds the
            plane.
    """
    for name, value in (("plane", plane), ("window", window)):
        require_integer(owner, name, value, 1, bounds.SIDE)
    if window > plane:
        raise ValueError(f"{owner}: window must not exceed plane, got {window} and {plane}")


def require_fc(owner: str, fc: Sequence[Any]) -> None:
    """Raise ValueError unless these are the sizes of at least one fully-connected layer."""
    if not fc:
        raise ValueError(f"{owner}: fc must hold at least one layer size, got none")
    bounds.require_count(owner, "fully-connected layers", fc, bounds.FC_LAYERS)
    for size in fc:
        require_integer(owner, "fc", size, 1, bounds.WIDTH)


def require_dropout(owner: str, dropout: Any) -> None:
    """Raise ValueError unless `dropout` is a share of a layer's values below 1."""
    require_finite(owner, "dropout", dropout)
    if not 0 <= dropout < 1:
        raise ValueError(f"{owner}: dropout must lie in [0, 1), got {dropout}")


@dataclass(frozen=True)
class Pool:
    """Pooling over pool windows of `size` x `size`, `stride` apart.

    Args:
        size: The side of a pool window, in convolution outputs, at least 1.
        stride: The step from window to window, in convolution outputs, 1 to `size`.
        kind: "max", the largest value, or "avg", the average over the part of the pool window inside the maps.

    Raises:
        ValueError: A value breaks its rule; the message names it.

    Example:
        >>> Pool(3, 2)
        Pool(size=3, stride=2, kind='max')

    Source:
        docs/cuda-convnet.md#layer-files
    """

    size: int = 3
    stride: int = 2
    kind: PoolKind = "max"

    def __post_init__(self) -> None:
        require_integer("Pool", "size", self.size, 1, bounds.FILTER_SIDE)
        require_integer("Pool", "stride", self.stride, 1)
        require_choice("Pool", "kind", self.kind, POOL_KINDS)
        if self.stride > self.size:
            raise ValueError(f"Pool: stride must not exceed size, got stride {self.stride} and size {self.size}")


def _require_norm(norm: CrossMapNorm | SameMapNorm) -> None:
    owner = type(norm).__name__
    require_integer(owner, "size", norm.size, 1, bounds.NORM_SIZE)
    require_finite(owner, "scale", norm.scale)
    require_finite(owner, "power", norm.power)
    if norm.scale < 0:
        raise ValueError(f"{owner}: scale must not be negative, got {norm.scale}")


@dataclass(frozen=True)
class CrossMapNorm:
    """Response norm across maps (cmrnorm): y_f = x_f * d_f**-power, d_f = k + scale/size * sum of x_j**2.

    j runs over the window f - size//2 ... f - size//2 + size - 1, clipped to the maps.

    Args:
        size: The window's length, in maps, at least 1.
        scale: The factor of the mean square, finite and not negative.
        power: The exponent of d, finite.
        k: The summand of d, finite and positive.

    Raises:
        ValueError: A value breaks its rule; the message names it.

    Source:
        docs/cuda-convnet.md#formulas
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
    """Response norm within a map (rnorm): as CrossMapNorm with k = 1 over a spatial norm window of size x size.

    The window starts size//2 above and left of the pixel and is clipped to the map; the sum is divided by size**2.

    Args:
        size: The window's side, in values of a map, at least 1.
        scale: The factor of the mean square, finite and not negative.
        power: The exponent of d, finite.

    Raises:
        ValueError: A value breaks its rule; the message names it.

    Source:
        docs/cuda-convnet.md#formulas
    """

    size: int = 3
    scale: float = 5e-5
    power: float = 0.75

    def __post_init__(self) -> None:
        _require_norm(self)


Norm = CrossMapNorm | SameMapNorm
# A block's sizes with their limits.
_SIZES = (
    ("filters", 1, bounds.WIDTH), ("size", 1, bounds.FILTER_SIDE), ("stride", 1, bounds.FILTER_SIDE),
    ("padding", 0, bounds.FILTER_SIDE), ("groups", 1, bounds.WIDTH),
)  # fmt: skip


def window_count(extent: int, size: int, stride: int, rounding: Rounding) -> int:
    """The number of windows along an axis.

    Args:
        extent: Positions along the axis.
        size: The windows' side.
        stride: The step from window to window.
        rounding: "up" is cuda-convnet's 1 + ceil((extent - size) / stride): the last window may hang over the far edge
            (docs/paper.md#sizes); "down" takes the floor.

    Returns:
        The number, 0 where nothing fits.

    Example:
        >>> window_count(54, 3, 2, "up"), window_count(54, 3, 2, "down")
        (27, 26)

    Source:
        docs/paper.md#sizes
    """
    steps = (extent - size) // stride if rounding == "down" else -((size - extent) // stride)
    return max(0, 1 + steps) if extent > 0 else 0


@dataclass(frozen=True)
class Block:
    """conv -> bias -> ReLU -> [pool and norm, either order], or, where the order ends in relu, with the ReLU last.

    Args:
        filters: The number of filters, a multiple of `groups`.
        size: The side of a filter.
        stride: The convolution's step, 1 to `size`.
        padding: Zeros around the input on every side, less than `size`.
        groups: The number of groups into which filters and input maps are divided.
        pool: The pooling, None for none.
        norm: The response norm, None for none.
        order: "conv-pool-norm" or "conv-norm-pool", or one of these followed by "-relu" for the ReLU last.

    Raises:
        ValueError: An argument breaks a rule; the message names it.

    Example:
        >>> Block(64, 11, stride=2, pool=Pool()).out_extent(224, "up")
        54
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
        for name, least, most in _SIZES:
            require_integer("Block", name, getattr(self, name), least, most)
        require_choice("Block", "order", self.order, ORDERS)
        if self.filters % self.groups:
            raise ValueError(f"Block: filters must be a multiple of groups, got {self.filters} and {self.groups}")
        if self.stride > self.size:
            raise ValueError(f"Block: stride must not exceed size, got stride {self.stride} and size {self.size}")
        if self.padding >= self.size:
            raise ValueError(f"Block: padding must be less than size, got {self.padding} and {self.size}")

    @property
    def norm_first(self) -> bool:
        """Whether the norm comes before the pool."""
        return self.order.startswith("conv-norm")

    @property
    def relu_last(self) -> bool:
        """Whether the ReLU comes after pool and norm."""
        return self.order.endswith("relu")

    def conv_extent(self, extent: int, rounding: Rounding) -> int:
        """Convolution outputs along an axis.

        Args:
            extent: Inputs along the axis.
            rounding: The rounding of the count, as in `window_count`.

        Returns:
            The number of outputs, 0 where no filter fits.
        """
        return window_count(extent + 2 * self.padding, self.size, self.stride, rounding)

    def out_extent(self, extent: int, rounding: Rounding) -> int:
        """Block outputs along an axis.

        Args:
            extent: Inputs along the axis.
            rounding: The rounding of the counts, as in `window_count`.

        Returns:
            The number of outputs, after the pooling where there is one; 0 where nothing fits.
        """
        conv = self.conv_extent(extent, rounding)
        return conv if self.pool is None else window_count(conv, self.pool.size, self.pool.stride, rounding)


@dataclass(frozen=True)
class Column:
    """One view's path through the network: blocks, then fully-connected layers, each followed by ReLU.

    Args:
        view: The view that the column sees: "center", "warp", "pad" or "local".
        blocks: The blocks, at least one.
        fc: The sizes of the fully-connected layers, at least one.
        plane: The side of the normalised input, in pixels; for `local`, of a plane-sized crop of the original.
        window: The side of the rectangles of the plane that the column sees, in pixels.
        channels: The number of the pixels' channels.
        rounding: The rounding of extents, as in `window_count`.
        dropout: The share of values dropped from every layer of `fc` in training (paper III-G), from 0 to below 1.
        mean: The mean of each channel; a pixel p enters as (p - mean) * scale. Padding and overhang are zeros after that.
        scale: The factor of the pixels minus their mean.
        frozen: Whether the column is not trained.
        reduce: The way from the last block's maps to the input of `fc`: "flatten", all of them in (C, H, W) order, or "mean",
            the average of each.

    Raises:
        ValueError: An argument breaks a rule, a block does not fit its input, or the column exceeds `networks.bounds`.
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
        require_integer("Column", "channels", self.channels, 1, bounds.CHANNELS)
        require_window("Column", self.plane, self.window)
        if not self.blocks:
            raise ValueError("Column: blocks must hold at least one Block, got none")
        bounds.require_count("Column", "blocks", self.blocks, bounds.BLOCKS)
        require_fc("Column", self.fc)
        if len(self.mean) != self.channels:
            raise ValueError(f"Column: mean must have {self.channels} entries, one per channel, got {len(self.mean)}")
        for value in (*self.mean, self.scale):
            require_finite("Column", "mean and scale", value)
        require_dropout("Column", self.dropout)
        require_bool("Column", "frozen", self.frozen)
        self.extents()
        from dcnn_fast.networks.cost import require_affordable  # noqa: PLC0415 - it imports this module

        require_affordable("Column", (self,))

    def extents(self) -> tuple[int, ...]:
        """The sides of the window and of each block's output.

        Returns:
            The sides in order, e.g. (224, 54, 27, 27, 27).

        Raises:
            ValueError: A block does not fit its input.
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
    def outputs(self) -> int:
        """The number of the label layer's inputs from this column."""
        return self.fc[-1]

    @property
    def features(self) -> int:
        """The number of the first fully-connected layer's inputs."""
        return self.blocks[-1].filters * (self.extents()[-1] ** 2 if self.reduce == "flatten" else 1)
