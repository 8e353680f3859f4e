"""The inverted residual block stated plainly, so that an output's bits depend on its receptive field and the weights alone.

A pixel's products are those of `ops.linear`'s reference, one pixel at a time; the depthwise filters are summed tap by tap, in
row order, then the bias is added. Zero padding comes after the expansion: an expanded zero would be the bias.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dcnn_fast.ops.linear import LinearParams
from dcnn_fast.ops.linear import reference as linear
from dcnn_fast.ops.mbconv.backend import MbConvBackend, MbConvWeights, PreparedMbConv
from dcnn_fast.ops.mbconv.params import MbConvParams
from dcnn_fast.ops.plain_torch import plainly

MOST = 6.0  # ReLU6: min(max(x, 0), 6)


class ReferenceMbConv(MbConvBackend):
    """The block stated plainly."""

    def can_run(self, params: MbConvParams, device: torch.device) -> str | None:
        """The reference runs everything, everywhere."""
        return None

    def prepare(self, params: MbConvParams, weights: MbConvWeights) -> PreparedMbConv:
        """The weights unchanged."""
        return ReferencePrepared(params, weights)


@dataclass(frozen=True)
class ReferencePrepared(PreparedMbConv):
    """A block's problem (its extents do not matter) and its weights."""

    params: MbConvParams
    weights: MbConvWeights

    def run(self, x: Tensor) -> Tensor:
        """x: [N, channels, height, width] -> [N, filters, out_height, out_width] in channels_last memory."""
        images, _, height, width = x.shape
        return forward(replace(self.params, images=images, height=height, width=width), x, self.weights)


@plainly
def forward(params: MbConvParams, x: Tensor, weights: MbConvWeights) -> Tensor:
    """x: [N, channels, height, width] -> [N, filters, out_height, out_width] in channels_last memory."""
    summed = torch.float64 if x.dtype == torch.float64 else torch.float32
    maps = x.to(summed)
    if weights.expand is not None:
        maps = _at_each_pixel(params, maps, *weights.expand).clamp(0, MOST)
    maps = _depthwise(params, maps, *(of.to(summed) for of in weights.depthwise)).clamp(0, MOST)
    maps = _at_each_pixel(params, maps, *weights.project)
    if params.residual:
        maps = maps + x.to(summed)
    return maps.to(x.dtype).contiguous(memory_format=torch.channels_last)


def _at_each_pixel(params: MbConvParams, maps: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A 1 x 1 convolution, with operands rounded where the problem says so."""
    if params.precision == "bf16":
        maps, weight = maps.bfloat16().to(maps.dtype), weight.bfloat16()
    images, channels, height, width = maps.shape
    rows = maps.permute(0, 2, 3, 1).reshape(-1, channels)
    product = LinearParams(len(rows), channels, len(weight), dtype=maps.dtype)
    made = linear.forward(product, rows, weight.to(maps.dtype), bias.to(maps.dtype))
    return made.reshape(images, height, width, len(weight)).permute(0, 3, 1, 2)


def _depthwise(params: MbConvParams, maps: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Each map filtered by its own filter."""
    above, below, left, right = params.padding
    images, channels, height, width = maps.shape
    padded = maps.new_zeros(images, channels, above + height + below, left + width + right)
    padded[:, :, above : above + height, left : left + width] = maps
    rows, cols = (params.stride * (extent - 1) + 1 for extent in (params.out_height, params.out_width))
    total = maps.new_zeros(images, channels, params.out_height, params.out_width)
    for i in range(params.size):
        for j in range(params.size):
            seen = padded[:, :, i : i + rows : params.stride, j : j + cols : params.stride]
            total = total + seen * weight[None, :, i, j, None, None]
    return total + bias[None, :, None, None]


BACKEND = ReferenceMbConv()
