"""One inverted residual block as data (Sandler et al. 2018, section 3; in EfficientNet-Lite's form, without excitation)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dcnn_fast.ops.precision import Precision


def same_padding(extent: int, size: int, stride: int) -> tuple[int, int]:
    """Zeros before and after an axis of `extent` inputs so that ceil(extent / stride) windows of `size`, `stride` apart, fit.

    TensorFlow's "SAME", which EfficientNet-Lite's weights were trained with: an odd zero goes after the axis, so with stride 2
    and an even extent, one zero less goes before it than with torch's symmetric padding.
    """
    missing = max((-(-extent // stride) - 1) * stride + size - extent, 0)
    return missing // 2, missing - missing // 2


@dataclass(frozen=True)
class MbConvParams:
    """`images` inputs of `channels` x `height` x `width`: expanded to `expanded` channels, filtered depthwise, projected.

    size, stride: of the depthwise filters, whose input is padded as `same_padding` says. expands: False for a block without an
    expansion (then `expanded` is `channels`). residual: x is added to the result, which then has x's shape.
    precision: "ieee", or "bf16": the pointwise products' operands are rounded to bfloat16 and summed in float32.
    """

    images: int
    channels: int
    height: int
    width: int
    expanded: int
    filters: int
    size: int
    stride: int = 1
    expands: bool = True
    residual: bool = False
    dtype: torch.dtype = torch.float32
    precision: Precision = "ieee"

    @property
    def out_height(self) -> int:
        return -(-self.height // self.stride)

    @property
    def out_width(self) -> int:
        return -(-self.width // self.stride)

    @property
    def padding(self) -> tuple[int, int, int, int]:
        """Zeros above, below, left and right of the expanded maps."""
        return *same_padding(self.height, self.size, self.stride), *same_padding(self.width, self.size, self.stride)

    @property
    def macs(self) -> int:
        """Multiply-adds, including those with the padding's zeros."""
        pixels, outputs = self.height * self.width, self.out_height * self.out_width
        expansion = pixels * self.channels * self.expanded if self.expands else 0
        return self.images * (expansion + outputs * self.expanded * (self.size**2 + self.filters))

    @property
    def bytes(self) -> int:
        """Bytes that must move: input, weights, biases and result, each once, without the expanded maps."""
        expansion = self.expanded * (self.channels + 1) if self.expands else 0
        weights = expansion + self.expanded * (self.size**2 + 1) + self.filters * (self.expanded + 1)
        maps = self.channels * self.height * self.width + self.filters * self.out_height * self.out_width
        return (self.images * maps + weights) * self.dtype.itemsize

    @property
    def depth(self) -> int:
        """Products summed in sequence for an output, over the three layers."""
        return (self.channels if self.expands else 0) + self.size**2 + self.expanded

    def tolerance(self) -> float:
        """Largest allowed error relative to the largest magnitude: 4 * sqrt(depth) * eps, as for blocks; in "bf16" two steps of
        bfloat16, since rounding between two layers may go either way.
        """
        rounded = 2 * torch.finfo(torch.bfloat16).eps if self.precision == "bf16" else 0.0
        return float(4 * max(self.depth, 16) ** 0.5 * torch.finfo(self.dtype).eps) + rounded

    def __str__(self) -> str:
        dtype = str(self.dtype).removeprefix("torch.")
        shape = f"{self.images}x{self.channels}x{self.height}x{self.width}"
        middle = f"{self.expanded}{'' if self.expands else ' as they are'}"
        filters = f"{self.size}x{self.size}/{self.stride}-{self.filters}"
        return f"{shape}-{middle}-{filters}{'-residual' if self.residual else ''}-{dtype}-{self.precision}"
