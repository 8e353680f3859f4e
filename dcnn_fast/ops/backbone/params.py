"""A backbone as data: a convolution, inverted residual blocks, a layer at each pixel, and the means of its maps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from dcnn_fast.ops.mbconv import MbConvParams
from dcnn_fast.ops.precision import Precision


@dataclass(frozen=True)
class Stem:
    """`filters` filters of `size` x `size`, `stride` apart, padded as `same_padding` says, with ReLU6. A pixel enters as
    (pixel - mean) * scale, mean per channel; padding is zero behind that.
    """

    filters: int
    size: int
    stride: int
    mean: tuple[float, ...]
    scale: float = 1.0

    @property
    def channels(self) -> int:
        """Channels of the pixels."""
        return len(self.mean)


@dataclass(frozen=True)
class BlockShape:
    """An inverted residual block, whatever its maps' extents; fields as those of `MbConvParams`."""

    channels: int
    expanded: int
    filters: int
    size: int
    stride: int
    expands: bool
    residual: bool


@dataclass(frozen=True)
class BackboneParams:
    """`images` images of `height` x `width`, through stem, blocks and a last layer of `outputs` values at each pixel (ReLU6).

    taps: numbers of the blocks, ascending, whose results' means are features too. dtype: of the images. precision: "ieee", or
    "bf16", where the operands of the products at each pixel and of the stem are rounded to it and summed in float32.
    """

    images: int
    height: int
    width: int
    stem: Stem
    blocks: tuple[BlockShape, ...]
    outputs: int
    taps: tuple[int, ...] = ()
    dtype: torch.dtype = torch.uint8
    precision: Precision = "ieee"

    def __post_init__(self) -> None:
        if not self.blocks:
            raise ValueError("blocks must hold at least one")
        channels = (self.stem.filters, *(block.filters for block in self.blocks))
        for number, (block, inputs) in enumerate(zip(self.blocks, channels, strict=False)):
            if block.channels != inputs:
                raise ValueError(f"blocks[{number}] must take {inputs} channels, got {block.channels}")
        if list(self.taps) != sorted(set(self.taps)) or any(tap not in range(len(self.blocks)) for tap in self.taps):
            raise ValueError(f"taps must be numbers of blocks, ascending, got {list(self.taps)}")

    @property
    def features(self) -> int:
        """Values for each image: the means of the taps' maps and, last, of the last layer's."""
        return sum(self.blocks[tap].filters for tap in self.taps) + self.outputs

    def problems(self) -> Iterator[MbConvParams]:
        """The blocks' problems, one after another."""
        height, width = (-(-extent // self.stem.stride) for extent in (self.height, self.width))
        for b in self.blocks:
            problem = MbConvParams(
                self.images, b.channels, height, width, b.expanded, b.filters, b.size, b.stride, b.expands, b.residual,
                precision=self.precision,
            )  # fmt: skip
            yield problem
            height, width = problem.out_height, problem.out_width

    @property
    def macs(self) -> int:
        """Multiply-adds, those with zeros of the padding included."""
        problems = list(self.problems())
        stem = self.images * problems[0].height * problems[0].width * self.stem.filters * self.stem.size**2 * self.stem.channels
        last = problems[-1]
        head = self.images * last.out_height * last.out_width * last.filters * self.outputs
        return stem + sum(problem.macs for problem in problems) + head

    def tolerance(self) -> float:
        """Largest allowed error relative to the largest feature: a layer's, once for each layer; in "bf16" a value rounded
        between layers may fall on either side.
        """
        layers = 3 * len(self.blocks) + 2
        step = torch.finfo(torch.bfloat16 if self.precision == "bf16" else torch.float32).eps
        return float(4 * layers * step * (1 if self.precision == "bf16" else 8))

    def __str__(self) -> str:
        dtype = str(self.dtype).removeprefix("torch.")
        taps = f"-taps {','.join(map(str, self.taps))}" if self.taps else ""
        shape = f"{self.images}x{self.stem.channels}x{self.height}x{self.width}"
        return f"{shape}-{len(self.blocks)} blocks-{self.outputs}{taps}-{dtype}-{self.precision}"
