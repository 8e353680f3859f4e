"""The contract of the block's backends: their input and output records, and their methods."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from torch import Tensor

from dcnn_fast import engine
from dcnn_fast.ops.backend import Backend
from dcnn_fast.ops.block.params import BlockParams, OutputTile
from dcnn_fast.ops.launch import Launch
from dcnn_fast.ops.precision import Precision
from dcnn_fast.ops.region import RegionList


@dataclass(frozen=True)
class Operands:
    """The tensors of a block, besides its `BlockParams`.

    weight: [F, C / groups, S, S]. bias: [F] in weight's dtype, or None. mean, scale: a pixel enters as (pixel - mean) * scale,
    mean per channel or empty for none.
    """

    weight: Tensor
    bias: Tensor | None = None
    mean: Sequence[float] = ()
    scale: float = 1.0


@dataclass(frozen=True)
class Work:
    """Regions to compute. sources: images [N, C, H, W] each. outputs: [images, F, height, width] in channels_last memory, one
    for each of regions.outputs. A backend without checks of its own trusts the regions (`require_regions`).
    """

    sources: Sequence[Tensor]
    regions: RegionList
    outputs: Sequence[Tensor]


@dataclass(frozen=True)
class Saved:
    """The tensors that a training forward keeps for the backward, as `BlockParams.kept` says.

    values: the norm's input or, where that is kept, the result. hits: int16, of each pooled result.
    """

    values: Tensor | None = None
    hits: Tensor | None = None


@dataclass(frozen=True)
class Training:
    """A training forward. result: [N, F, H, W]. values, hits: the norm's input and the pool's hits, where `BlockParams.kept`
    says so; where it says that the result is kept, that is `result` itself.
    """

    result: Tensor
    values: Tensor | None
    hits: Tensor | None

    def saved(self, params: BlockParams) -> Saved:
        """The `Saved` tensors, the backward's input."""
        return Saved(self.result if params.kept.result else self.values, self.hits)


class Needs(NamedTuple):
    """Which gradients are asked for."""

    x: bool = True
    weight: bool = True
    bias: bool = True


@dataclass(frozen=True)
class Gradients:
    """Gradients of x, weight and bias, each in its operand's shape and dtype; None where not asked for."""

    x: Tensor | None
    weight: Tensor | None
    bias: Tensor | None


class Launches(Protocol):
    """A block's operands on a device in its kernel's layout, from which launches over tables already on the device are made;
    a column's blocks are launched this way (gpu/column.py).
    """

    @property
    @abstractmethod
    def params(self) -> BlockParams:
        """The problem; its extents are ignored."""

    @abstractmethod
    def shape(self) -> engine.native.BlockShape:
        """The engine's record of how its regions become programs (csrc/core/launch/column.h)."""

    @abstractmethod
    def readable(self, source: Tensor) -> Tensor:
        """The source itself where the kernel can read it in place, else a copy."""

    @abstractmethod
    def access(self, source: Tensor) -> int:
        """How the kernel can read a source's pixels, a constant of its compilation."""

    @abstractmethod
    def launch_of(
        self, tables: Mapping[str, Tensor], programs: int, access: int, reads: Sequence[Tensor], writes: Sequence[Tensor]
    ) -> Launch:
        """The launch of `programs` programs over tables on the device. reads, writes: tensors that it reaches through them."""


class Prepared(Protocol):
    """A block's operands in one backend's layout, made once for any number of `Work` records.

    It may share memory with the operands it was made of; a caller that keeps it must own them
    (`dcnn_fast.ops.block.prepare` copies them for that).
    """

    @property
    @abstractmethod
    def launches(self) -> Launches | None:
        """The block as launches of a kernel; None for a backend that launches none."""

    @abstractmethod
    def run(self, work: Work) -> None:
        """Write every region's pieces to the work's outputs."""


class BlockBackend(Backend[BlockParams], Protocol):
    """One way to compute the block. The dtypes, shapes and devices of arguments are those of the `BlockParams`.

    `forward`, `training` and `backward` take whole images: x [N, C, H, W] in the weights' dtype, or in bytes where
    `takes_bytes` says so, whatever params.dtype is; operands have a mean or a scale only for bytes. Their results lie in
    channels_last memory.
    """

    checks: bool = False
    """Whether it looks by itself at everything that it is given, tables of regions included."""

    @property
    @abstractmethod
    def takes_bytes(self) -> bool:
        """Whether whole images may be uint8; otherwise they are converted to floating point first."""

    def output_tile(self, size: int, stride: int, channels: int, filters: int, precision: Precision) -> OutputTile:
        """How the convolution of filters of `size` computes its outputs, which plans keep to; by default one by one.

        channels, filters: of one group.
        """
        return OutputTile(1, size, size**2)

    @abstractmethod
    def prepare(self, params: BlockParams, operands: Operands) -> Prepared:
        """The operands in this backend's layout. The extents in `params` are ignored."""

    @abstractmethod
    def forward(self, params: BlockParams, operands: Operands, x: Tensor) -> Tensor:
        """The block of whole images: [N, F, H, W] in params.out_dtype."""

    @abstractmethod
    def training(self, params: BlockParams, operands: Operands, x: Tensor) -> Training:
        """`forward`, and the tensors of `params.kept`."""

    @abstractmethod
    def backward(
        self, params: BlockParams, operands: Operands, x: Tensor, saved: Saved, grad: Tensor, needs: Needs
    ) -> Gradients:
        """The gradients that are needed, from `grad` of the result.

        At a ReLU input of 0 the gradient is 0; `ties` decides how the pool shares its gradient.
        """
