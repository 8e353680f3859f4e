"""One block problem as data: cache key, test id, shape function, and source of operation and byte counts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from dcnn_fast.networks import ORDERS, ROUNDINGS, Column, CrossMapNorm, Norm, Order, Pool, Rounding, SameMapNorm, window_count
from dcnn_fast.networks import Block as BlockSpec
from dcnn_fast.ops.precision import PRECISIONS, Precision

Ties = Literal["all", "first"]
TIES: tuple[Ties, ...] = ("all", "first")

Flat = tuple[int, int, int, str, list[int], str, list[float], str, str, str]
FLAT_SCHEMA = (
    "int stride, int padding, int groups, str rounding, int[] pool, str norm, float[] norm_values, "
    "str order, str ties, str precision"
)


@dataclass(frozen=True)
class BlockOptions:
    """The keyword arguments of `ops.block`, checked. Raises ValueError naming the argument, the rule and what came."""

    stride: int = 1
    padding: int = 0
    groups: int = 1
    rounding: Rounding = "up"
    pool: Pool | None = None
    norm: Norm | None = None
    order: Order = "conv-pool-norm"
    ties: Ties = "all"
    precision: Precision = "ieee"

    def __post_init__(self) -> None:
        for name, least in (("stride", 1), ("padding", 0), ("groups", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}")
        for name, choices in (("rounding", ROUNDINGS), ("order", ORDERS), ("ties", TIES), ("precision", PRECISIONS)):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}; got {getattr(self, name)!r}")
        if self.pool is not None and not isinstance(self.pool, Pool):
            raise ValueError(f"pool must be None, (size, stride) or Pool, got {self.pool!r}")
        if self.norm is not None and not isinstance(self.norm, (CrossMapNorm, SameMapNorm)):
            raise ValueError(f"norm must be None, CrossMapNorm or SameMapNorm, got {self.norm!r}")

    @classmethod
    def of_spec(cls, block: BlockSpec, rounding: Rounding, ties: Ties = "all") -> BlockOptions:
        """The options of a block of a network spec."""
        return cls(block.stride, block.padding, block.groups, rounding, block.pool, block.norm, block.order, ties)

    def flat(self) -> Flat:
        """The options as the plain arguments of a registered operator (`FLAT_SCHEMA`)."""
        pool = [] if self.pool is None else [self.pool.size, self.pool.stride]
        if self.pool is not None and self.pool.kind == "avg":
            pool.append(1)
        kind, values = "", []
        if isinstance(self.norm, CrossMapNorm):
            kind, values = "cross_map", [float(self.norm.size), self.norm.scale, self.norm.power, self.norm.k]
        elif isinstance(self.norm, SameMapNorm):
            kind, values = "same_map", [float(self.norm.size), self.norm.scale, self.norm.power]
        return (
            self.stride, self.padding, self.groups, self.rounding, pool, kind, values,
            self.order, self.ties, self.precision,
        )  # fmt: skip

    @classmethod
    def from_flat(cls, *flat: Any) -> BlockOptions:
        """The inverse of `flat`. Raises ValueError for values that `flat` never gives."""
        stride, padding, groups, rounding, pool, kind, values, order, ties, precision = flat
        if len(pool) not in (0, 2) and (len(pool) != 3 or pool[2] != 1):
            raise ValueError(f"pool must be empty, (size, stride) or (size, stride, 1), which averages, got {list(pool)}")
        made = Pool(pool[0], pool[1], "avg" if len(pool) == 3 else "max") if pool else None
        return cls(stride, padding, groups, rounding, made, _norm_of(kind, values), order, ties, precision)

    @property
    def norm_first(self) -> bool:
        """Whether the norm comes before the pool."""
        return self.order.startswith("conv-norm")

    @property
    def relu_last(self) -> bool:
        """Whether the ReLU follows pool and norm."""
        return self.order.endswith("relu")

    @property
    def averages(self) -> bool:
        """Whether the pool takes averages."""
        return self.pool is not None and self.pool.kind == "avg"


def _norm_of(kind: str, values: Sequence[float]) -> Norm | None:
    """The norm of `BlockOptions.flat`."""
    counts = {"": 0, "cross_map": 4, "same_map": 3}
    if len(values) != counts.get(kind, -1) or not all(map(math.isfinite, values)):
        raise ValueError(
            f"norm must be '', cross_map or same_map with 0, 4 or 3 finite values, got '{kind}' with {list(values)}"
        )
    if not kind:
        return None
    size, *others = values
    return CrossMapNorm(int(size), *others) if kind == "cross_map" else SameMapNorm(int(size), *others)


def keeps_result(flat: Sequence[Any]) -> bool:
    """`BlockParams.kept.result` from flat options (`BlockOptions.flat`), in a form that torch.compile can trace."""
    _stride, _padding, _groups, _rounding, pool, norm, *_rest = flat
    return not pool and not norm


@dataclass(frozen=True)
class OutputTile:
    """The outputs of a convolution that are computed from the same products, and their cost.

    side: outputs per axis, 1 where each is computed alone; tiles lie on the lattice of `Region.lattice_top` and
    `lattice_left`. size: inputs per axis that decide an output's bits, as those of a filter of this size (at least the filter's
    own): a tile's bits depend on stride * (side - 1) + size inputs, and two regions give an output the same bits where both see
    them all. macs: multiply-adds of an output for each channel of its group and filter, transforms included.
    """

    side: int
    size: int
    macs: float


@dataclass(frozen=True)
class Kept:
    """The tensors that training keeps for the backward beside x and the weights; the least that spares the convolution.

    values: the norm's input, [N, F, H, W] as large as the result and in its dtype. hits: for each pooled result an
    int16, whose bit i * size + j says that the convolution's output at row i, column j of its pool window equals the maximum;
    none is set where the maximum is not positive, since no gradient passes the ReLU there. result: the result itself, whose
    sign is the ReLU's.
    again: none of these; the backward computes the convolution once more. A norm before a pool, an average and a ReLU that
    comes last need the convolution's whole output, which is larger than the block's input by so much that this is the least by
    far; a pool window of more than 16 outputs has no bits.
    """

    values: bool = False
    hits: bool = False
    result: bool = False
    again: bool = False


HIT_BITS = 16


@dataclass(frozen=True)
class BlockParams:
    """One problem: `images` images [channels, height, width] through `filters` kernels of `size`, with `options`.

    `dtype` is the source's, `weight_dtype` the weights', `out_dtype` the result's; `backward` asks for the gradients instead
    of the result. For region lists, images, height and width are those of the largest source.
    """

    images: int
    channels: int
    height: int
    width: int
    filters: int
    size: int
    options: BlockOptions
    dtype: torch.dtype = torch.float32
    out_dtype: torch.dtype = torch.float32
    backward: bool = False
    weight_dtype: torch.dtype = torch.float32

    @property
    def conv_shape(self) -> tuple[int, int, int, int]:
        """[N, F, H, W] of the convolution's output."""
        rows, cols = (self._conv_extent(extent) for extent in (self.height, self.width))
        return self.images, self.filters, rows, cols

    @property
    def out_shape(self) -> tuple[int, int, int, int]:
        """[N, F, H, W] of the block's result."""
        pool = self.options.pool or Pool(1, 1)
        rows, cols = (
            window_count(self._conv_extent(extent), pool.size, pool.stride, self.options.rounding)
            for extent in (self.height, self.width)
        )
        return self.images, self.filters, rows, cols

    @property
    def kept(self) -> Kept:
        """The tensors that a training forward keeps."""
        pool, norm = self.options.pool, self.options.norm
        options = self.options
        if pool is None and norm is None:
            return Kept(result=True)
        if options.relu_last or options.averages:
            return Kept(again=True)
        if pool is None:
            return Kept(values=True)
        if pool.size**2 > HIT_BITS or (norm is not None and options.norm_first):
            return Kept(again=True)
        return Kept(hits=True, values=norm is not None)

    @property
    def depth(self) -> int:
        """Products summed for one convolution output: the accumulation depth that tolerances derive from."""
        return self.size**2 * self.channels // self.options.groups

    @property
    def macs(self) -> int:
        """Multiply-adds of the forward convolution."""
        images, filters, rows, cols = self.conv_shape
        return images * filters * rows * cols * self.depth

    @property
    def bytes(self) -> int:
        """Bytes that must move: source, weights, bias and result, each once."""
        images, filters, rows, cols = self.out_shape
        source = self.images * self.channels * self.height * self.width * self.dtype.itemsize
        weights = self.filters * (self.depth + 1) * self.out_dtype.itemsize
        return source + weights + images * filters * rows * cols * self.out_dtype.itemsize

    def tolerance(self, dtype: torch.dtype | None = None) -> float:
        """Largest allowed error, relative to the largest magnitude, of a sum of `depth` products in `dtype`.

        A sum of n products in any order errs by at most about n * eps relative to the sum of magnitudes; random signs
        make the typical error sqrt(n) * eps. 4 * sqrt(n) * eps leaves room for pool and norm; n is at least 16.
        """
        eps = torch.finfo(dtype or self.out_dtype).eps
        return float(4 * max(self.depth, 16) ** 0.5 * eps)

    def gradient_tolerances(self) -> tuple[float, float, float]:
        """`tolerance` for the gradients of x, summed over filters and taps, and of weight and bias, over all positions."""
        images, filters, rows, cols = self.conv_shape
        taps = -(-self.size // self.options.stride)  # that meet one pixel, per axis
        depths = (filters // self.options.groups * taps**2, images * rows * cols, images * rows * cols)
        eps = torch.finfo(self.out_dtype).eps
        # Each term passes the pool and the norm first, whose input is a sum of `depth` products.
        x, weight, bias = (float(4 * (max(depth, 16) ** 0.5 + max(self.depth, 16) ** 0.5) * eps) for depth in depths)
        return x, weight, bias

    def gradient(self) -> BlockParams:
        """The same problem, asking for gradients."""
        return replace(self, backward=True)

    def _conv_extent(self, extent: int) -> int:
        options = self.options
        return window_count(extent + 2 * options.padding, self.size, options.stride, options.rounding)

    def __str__(self) -> str:
        options = self.options
        source = f"{self.images}x{self.channels}x{self.height}x{self.width}"
        text = f"{source}-{self.filters}@{self.size}s{options.stride}p{options.padding}"
        if options.groups > 1:
            text += f"g{options.groups}"
        if options.pool is not None:
            text += f"-{'avg' if options.averages else 'pool'}{options.pool.size}s{options.pool.stride}"
        if options.norm is not None:
            text += f"-{'cross' if isinstance(options.norm, CrossMapNorm) else 'same'}{options.norm.size}"
        if options.norm_first:
            text += "-np"
        if options.relu_last:
            text += "-relu"
        dtypes = "-".join(str(dtype).removeprefix("torch.") for dtype in self._different_dtypes())
        return f"{text}-{options.rounding}-{options.ties}-{dtypes}-{options.precision}{'-bwd' if self.backward else ''}"

    def _different_dtypes(self) -> tuple[torch.dtype, ...]:
        """Dtypes of source, weights and result; a single one where all are equal."""
        dtypes = self.dtype, self.weight_dtype, self.out_dtype
        return dtypes[:1] if len(set(dtypes)) == 1 else dtypes


def problems_of(column: Column, images: int = 1) -> list[BlockParams]:
    """The problems that a column's blocks pose for `images` float32 windows."""
    channels = (column.channels, *(block.filters for block in column.blocks))
    return [
        BlockParams(images, inputs, extent, extent, block.filters, block.size, BlockOptions.of_spec(block, column.rounding))
        for block, inputs, extent in zip(column.blocks, channels, column.extents(), strict=False)
    ]
