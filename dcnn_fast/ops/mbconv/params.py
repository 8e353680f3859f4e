"""One inverted residual block as data (Sandler et al. 2018, section 3; as EfficientNet-Lite has it, without excitation)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dcnn_fast.ops.precision import Precision


def same_padding(extent: int, size: int, stride: int) -> tuple[int, int]:
    """Zeros before and after an axis of `extent` inputs so that ceil(extent / stride) windows of `size`, `stride` apart, fit.

    TensorFlow's "SAME", which those weights were trained with: an odd zero lies after the axis, so where the stride is 2 and
    the extent even, one zero less lies before it than torch's symmetric padding would put there.
    """
    missing = max((-(-extent // stride) - 1) * stride + size - extent, 0)
    return missing // 2, missing - missing // 2


@dataclass(frozen=True)
class MbConvParams:
    """`images` maps of `channels` x `height` x `width`: expanded to `expanded` channels, filtered one by one, projected.

    size, stride: of the depthwise filters, whose input is padded as `same_padding` says. expands: False where a block has no
    expansion (then `expanded` is `channels`). residual: x is added to the result, which has its shape then.
    precision: "ieee", or "bf16", where the operands of the products at each pixel are rounded to it and summed in float32.
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
        """Multiply-adds, those with zeros of the padding included."""
        pixels, outputs = self.height * self.width, self.out_height * self.out_width
        expansion = pixels * self.channels * self.expanded if self.expands else 0
        return self.images * (expansion + outputs * self.expanded * (self.size**2 + self.filters))

    @property
    def bytes(self) -> int:
        """Bytes that must move: input, weights, biases and result, each once. The wide maps between are not among them."""
        expansion = self.expanded * (self.channels + 1) if self.expands else 0
        weights = expansion + self.expanded * (self.size**2 + 1) + self.filters * (self.expanded + 1)
        maps = self.channels * self.height * self.width + self.filters * self.out_height * self.out_width
        return (self.images * maps + weights) * self.dtype.itemsize

    @property
    def depth(self) -> int:
        """Products summed one after the other for an output, over its three layers."""
        return (self.channels if self.expands else 0) + self.size**2 + self.expanded

    def tolerance(self) -> float:
        """Largest allowed error relative to the largest magnitude: 4 * sqrt(depth) * eps, as for blocks; in "bf16" two of its
        steps, as what is rounded between two layers may fall on either side.
        """
        rounded = 2 * torch.finfo(torch.bfloat16).eps if self.precision == "bf16" else 0.0
        return float(4 * max(self.depth, 16) ** 0.5 * torch.finfo(self.dtype).eps) + rounded

    def __str__(self) -> str:
        dtype = str(self.dtype).removeprefix("torch.")
        shape = f"{self.images}x{self.channels}x{self.height}x{self.width}"
        middle = f"{self.expanded}{'' if self.expands else ' as they are'}"
        filters = f"{self.size}x{self.size}/{self.stride}-{self.filters}"
        return f"{shape}-{middle}-{filters}{'-residual' if self.residual else ''}-{dtype}-{self.precision}"
