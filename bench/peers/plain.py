"""A column in torch's own operators, from the spec and the weights: the source of every peer."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from dcnn_fast.networks import Block, CrossMapNorm, Reduce, Rounding


def _pads(block: Block, extent: int, rounding: Rounding) -> tuple[int, int]:
    """Zeros before and after an axis with which the convolution, rounding down, has the spec's outputs."""
    outputs = block.conv_extent(extent, rounding)
    return block.padding, (outputs - 1) * block.stride + block.size - extent - block.padding


class PlainBlocks(nn.Module):
    """Blocks, then fully-connected layers with ReLU, in torch's own operators; the input is block 1's.

    weights: each block's weight and bias. extents: sides of each block's input. reduce: how the last maps become the input of
    `fc`. Raises ValueError for features that the libraries lack.
    """

    def __init__(
        self, blocks: Sequence[Block], weights: Sequence[tuple[Tensor, Tensor]], fc: Sequence[nn.Linear],
        extents: Sequence[int], rounding: Rounding, reduce: Reduce = "flatten",
    ) -> None:  # fmt: skip
        super().__init__()
        for number, block in enumerate(blocks, 1):
            if block.norm is not None and not isinstance(block.norm, CrossMapNorm):
                raise ValueError(f"block {number} has a norm within maps, which no peer has")
        self.blocks, self.rounding, self.reduce = blocks, rounding, reduce
        self.pads = [_pads(block, extent, rounding) for block, extent in zip(blocks, extents, strict=False)]
        self.weights = nn.ParameterList([nn.Parameter(w.detach().clone()) for w, _ in weights])
        self.biases = nn.ParameterList([nn.Parameter(b.detach().clone()) for _, b in weights])
        self.fc = nn.ModuleList([_copy(layer) for layer in fc])

    def forward(self, x: Tensor) -> Tensor:
        """Features, [N, ...]."""
        for block, (before, after), weight, bias in zip(self.blocks, self.pads, self.weights, self.biases, strict=True):
            if before == after:
                x = F.conv2d(x, weight, bias, block.stride, before, groups=block.groups)
            else:
                x = F.conv2d(F.pad(x, (before, after, before, after)), weight, bias, block.stride, groups=block.groups)
            x = F.relu(x)
            stages = [self._pool, self._norm] if block.order == "conv-pool-norm" else [self._norm, self._pool]
            for stage in stages:
                x = stage(x, block)
        if len(self.fc):
            x = x.flatten(1) if self.reduce == "flatten" else x.mean(dim=(2, 3))
        for layer in self.fc:
            x = F.relu(layer(x))
        return x

    def _pool(self, x: Tensor, block: Block) -> Tensor:
        if block.pool is None:
            return x
        return F.max_pool2d(x, block.pool.size, block.pool.stride, ceil_mode=self.rounding == "up")

    def _norm(self, x: Tensor, block: Block) -> Tensor:
        if block.norm is None:
            return x
        norm = block.norm
        assert isinstance(norm, CrossMapNorm), "refused above"
        return F.local_response_norm(x, norm.size, norm.scale, norm.power, norm.k)


def _copy(layer: nn.Linear) -> nn.Linear:
    copied = nn.Linear(layer.in_features, layer.out_features)
    copied.load_state_dict(layer.state_dict())
    return copied
