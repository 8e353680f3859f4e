"""Rebuilds a network from torch's own operators, so that `torch.export` can lower it to aten."""

from __future__ import annotations

from itertools import starmap

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dcnn_fast.export.extents import conv_padding, pool_overhang
from dcnn_fast.export.plain_layers import PlainLayers
from dcnn_fast.nets import AnyColumn, BackboneColumn, Block, Column, GraphColumn, MultiColumn
from dcnn_fast.nets.backbone import backbone_weights, params_of
from dcnn_fast.networks import Rounding
from dcnn_fast.ops.mbconv import MbConvParams, MbConvWeights, same_padding
from dcnn_fast.ops.norm import reference as norms

_CEILING = 6.0  # ReLU6's upper bound
_Layer = tuple[Tensor, Tensor]


class PlainNetwork(nn.Module):
    """Windows of pixels in, uint8 [N, window, window, 3] for each column; probabilities out, [N, labels] float32.

    Its weights are copies.
    """

    def __init__(self, net: MultiColumn) -> None:
        super().__init__()
        self.columns = nn.ModuleList(map(_plain, net.columns))
        self.label = _Linear(net.label)

    def forward(self, *windows: Tensor) -> Tensor:
        """Row i joins window i of every column."""
        features = [column(batch) for column, batch in zip(self.columns, windows, strict=True)]
        logits: Tensor = self.label(torch.cat(features, dim=1))
        return logits.softmax(dim=1)


class _Linear(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        for name in ("weight", "bias"):
            self.register_buffer(name, layer.get_parameter(name).detach().float().clone())

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.get_buffer("weight"), self.get_buffer("bias"))


class _Conv(nn.Module):
    """pads: zeros above, below, left and right."""

    def __init__(
        self, layer: _Layer, stride: int = 1, pads: tuple[int, int, int, int] = (0, 0, 0, 0), groups: int = 1
    ) -> None:  # fmt: skip
        super().__init__()
        self._stride, self._groups = stride, groups
        above, below, left, right = pads
        self._pads = (left, right, above, below)
        self.register_buffer("weight", layer[0].detach().float().contiguous().clone())
        self.register_buffer("bias", layer[1].detach().float().clone())

    def forward(self, x: Tensor) -> Tensor:
        padded = F.pad(x, self._pads) if any(self._pads) else x
        return F.conv2d(padded, self.get_buffer("weight"), self.get_buffer("bias"), self._stride, groups=self._groups)


class _Block(nn.Module):
    def __init__(self, block: Block, extent: int, rounding: Rounding) -> None:
        super().__init__()
        self._spec = block.spec
        before, after = conv_padding(block.spec, extent, rounding)
        pads = (before, after, before, after)
        self.conv = _Conv((block.weight, block.bias), block.spec.stride, pads, block.spec.groups)
        self._over = 0
        if block.spec.pool is not None:
            self._over = pool_overhang(block.spec.pool, block.spec.conv_extent(extent, rounding), rounding)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x).relu()
        stages = (self._pool, self._norm) if self._spec.order == "conv-pool-norm" else (self._norm, self._pool)
        for stage in stages:
            x = stage(x)
        return x

    def _pool(self, x: Tensor) -> Tensor:
        pool = self._spec.pool
        if pool is None:
            return x
        if self._over:
            x = F.pad(x, (0, self._over, 0, self._over), value=float("-inf"))
        return F.max_pool2d(x, pool.size, pool.stride)

    def _norm(self, x: Tensor) -> Tensor:
        return x if self._spec.norm is None else norms.forward(x, self._spec.norm)


class _Column(nn.Module):
    """The input and output parts common to all columns. features: [N, C, H, W] pixels -> [N, features]."""

    def __init__(self, column: AnyColumn, features: nn.Module) -> None:
        super().__init__()
        mean = torch.tensor(column.spec.mean, dtype=torch.float32, device="cpu").reshape(1, -1, 1, 1)
        self.register_buffer("mean", mean)
        self._scale = column.spec.scale
        self.features, self.fc = features, nn.ModuleList(map(_Linear, column.fc))

    def forward(self, windows: Tensor) -> Tensor:
        pixels = windows.permute(0, 3, 1, 2).to(torch.float32)
        x: Tensor = self.features((pixels - self.get_buffer("mean")) * self._scale)
        for layer in self.fc:
            x = layer(x).relu()
        return x


class _Blocks(nn.Module):
    def __init__(self, column: Column) -> None:
        super().__init__()
        self._reduce, rounding = column.spec.reduce, column.spec.rounding
        blocks = []
        for block, extent in zip(column.blocks, column.spec.extents(), strict=False):
            assert isinstance(block, Block)
            blocks.append(_Block(block, extent, rounding))
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        maps: Tensor = self.blocks(x)
        return maps.flatten(1) if self._reduce == "flatten" else maps.mean(dim=(2, 3))


class _InvertedResidual(nn.Module):
    def __init__(self, problem: MbConvParams, weights: MbConvWeights) -> None:
        super().__init__()
        self.expand = None if weights.expand is None else _at_each_pixel(weights.expand)
        filters, bias = weights.depthwise
        self.depthwise = _Conv((filters[:, None], bias), problem.stride, problem.padding, problem.expanded)
        self.project = _at_each_pixel(weights.project)
        self._adds = problem.residual

    def forward(self, x: Tensor) -> Tensor:
        maps: Tensor = x if self.expand is None else _relu6(self.expand(x))
        maps = self.project(_relu6(self.depthwise(maps)))
        return maps + x if self._adds else maps


class _Backbone(nn.Module):
    def __init__(self, column: BackboneColumn) -> None:
        super().__init__()
        params = params_of(column.spec.lite, column.spec.stages, side=column.spec.window)
        weights = backbone_weights(column.backbone.detach().float(), column.spec.lite)
        before, after = same_padding(column.spec.window, params.stem.size, params.stem.stride)
        self._taps = params.taps
        self.stem = _Conv(weights.stem, params.stem.stride, (before, after, before, after))
        self.blocks = nn.ModuleList(starmap(_InvertedResidual, zip(params.problems(), weights.blocks, strict=True)))
        self.head = _at_each_pixel(weights.head)

    def forward(self, x: Tensor) -> Tensor:
        x = _relu6(self.stem(x))
        means = []
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number in self._taps:
                means.append(x.mean(dim=(2, 3)))
        return torch.cat([*means, _relu6(self.head(x)).mean(dim=(2, 3))], dim=1)


def _plain(column: nn.Module) -> _Column:
    if isinstance(column, Column):
        return _Column(column, _Blocks(column))
    if isinstance(column, BackboneColumn):
        return _Column(column, _Backbone(column))
    if isinstance(column, GraphColumn):
        return _Column(column, PlainLayers(column))
    raise ValueError(f"model must have columns of a known kind, got {type(column).__name__}")


def _at_each_pixel(layer: _Layer) -> _Conv:
    weight, bias = layer
    return _Conv((weight[:, :, None, None], bias))


def _relu6(x: Tensor) -> Tensor:
    return x.clamp(0.0, _CEILING)
