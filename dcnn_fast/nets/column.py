"""A column as a torch module: blocks through `ops.block`, then fully-connected layers with ReLU and dropout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dcnn_fast import ops, spec
from dcnn_fast.ops.precision import Precision

_HALVES: dict[str, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}
_PIXEL_SPREAD = 64.0  # typical size of a pixel minus its mean, in levels


def zero_linear(inputs: int, outputs: int) -> nn.Linear:
    """A fully-connected layer of zeros: torch's own would draw its weights from the program's generator, to be written over."""
    layer = nn.utils.skip_init(nn.Linear, inputs, outputs, device=torch.get_default_device())  # type: ignore[no-untyped-call]
    assert isinstance(layer, nn.Linear)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class Block(nn.Module):
    """One fused block with its weight [F, C / groups, S, S] and bias [F]. precision: of the convolution's products."""

    precision: Precision = "ieee"

    def __init__(self, block: spec.Block, channels: int, rounding: spec.Rounding) -> None:
        super().__init__()
        self.spec = block
        self.rounding = rounding
        shape = (block.filters, channels // block.groups, block.size, block.size)
        self.weight = nn.Parameter(torch.zeros(shape).contiguous(memory_format=torch.channels_last))
        self.bias = nn.Parameter(torch.zeros(block.filters))

    def forward(self, x: Tensor, mean: Sequence[float] = (), scale: float = 1.0) -> Tensor:
        """x: [N, C, H, W] -> [N, F, H', W']; bytes enter as (x - mean) * scale."""
        block = self.spec
        return ops.block(
            x, self.weight, self.bias, stride=block.stride, padding=block.padding, groups=block.groups,
            rounding=self.rounding, pool=block.pool, norm=block.norm, order=block.order, mean=mean, scale=scale,
            precision=self.precision,
        )  # fmt: skip


class Column(nn.Module):
    """One column: windows of pixels in, the last fc layer's activations out.

    precision: of the products, in the blocks and in the fc layers; the parameters stay as they are. In "bf16" and "fp16" the
    fc layers' operands and results are rounded to that format; in "tf32" they are as torch's own settings say.
    """

    mean: Tensor
    precision: Precision = "ieee"

    def __init__(self, column: spec.Column) -> None:
        super().__init__()
        self.spec = column
        channels = (column.channels, *(block.filters for block in column.blocks))
        self.blocks = nn.ModuleList(
            Block(block, inputs, column.rounding) for block, inputs in zip(column.blocks, channels, strict=False)
        )
        sizes = (column.features, *column.fc)
        self.fc = nn.ModuleList(zero_linear(i, o) for i, o in zip(sizes, column.fc, strict=False))
        self.register_buffer("mean", torch.tensor(column.mean, dtype=torch.float32).reshape(1, -1, 1, 1), persistent=False)
        self.requires_grad_(not column.frozen)

    def forward(self, windows: Tensor) -> Tensor:
        """windows: [N, C, window, window] pixels 0-255, uint8 or floating -> [N, fc[-1]].

        The mean and scale of the spec are applied here; flattened maps are in (C, H, W) order (facts.md 2.2).
        """
        expected = (self.spec.channels, self.spec.window, self.spec.window)
        if windows.ndim != 4 or tuple(windows.shape[1:]) != expected:
            raise ValueError(f"windows must have shape [N, {', '.join(map(str, expected))}], got {list(windows.shape)}")
        first, *others = self.blocks
        if windows.dtype == torch.uint8:
            x: Tensor = first(windows, self.spec.mean, self.spec.scale)
        else:
            x = first((windows.to(self.mean.dtype) - self.mean) * self.spec.scale)
        for block in others:
            x = block(x)
        x = x.flatten(1) if self.spec.reduce == "flatten" else x.mean(dim=(2, 3))
        for layer in self.fc:
            x = F.dropout(self._linear(layer, x).relu(), self.spec.dropout, self.training)
        return x

    def compute_in(self, precision: Precision) -> None:
        """Set the precision of the column's products."""
        self.precision = precision
        for block in self.blocks:
            assert isinstance(block, Block)
            block.precision = precision

    def set_mean(self, mean: Sequence[float]) -> None:
        """Have another mean taken off the pixels, one value per channel; the spec records it."""
        self.spec = replace(self.spec, mean=tuple(mean))
        self.mean = torch.tensor(self.spec.mean, dtype=self.mean.dtype, device=self.mean.device).reshape(1, -1, 1, 1)

    def _linear(self, layer: nn.Module, x: Tensor) -> Tensor:
        half = _HALVES.get(self.precision)
        if half is None:
            y: Tensor = layer(x)
            return y
        assert isinstance(layer, nn.Linear)
        return F.linear(x.to(half), layer.weight.to(half), layer.bias.to(half)).to(x.dtype)

    def train(self, mode: bool = True) -> Column:
        """Training mode, except for a frozen column, which keeps its dropout off."""
        return super().train(mode and not self.spec.frozen)

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """Normal weights that keep activations near 1 (He et al.), zero biases; pixels count as 64 levels strong."""
        gain = 1 / (_PIXEL_SPREAD * abs(self.spec.scale) or 1.0)
        for layer in (*self.blocks, *self.fc):
            weight = layer.weight
            assert isinstance(weight, Tensor) and isinstance(layer.bias, Tensor)
            fan_in = weight[0].numel()
            weight.copy_(torch.randn(weight.shape, generator=generator) * gain * (2 / fan_in) ** 0.5)
            layer.bias.zero_()
            gain = 1.0
