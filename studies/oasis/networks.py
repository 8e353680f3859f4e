"""The study's networks: compact columns on 64-pixel windows, alone, combined, and beside a frozen semantic column."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from dcnn_fast.nets import Column, MultiColumn, import_squeezenet
from dcnn_fast.networks import Block, CrossMapNorm, Network, Pool, View
from dcnn_fast.networks import Column as ColumnSpec
from dcnn_fast.ops import views as ops_views

PLANE, WINDOW = 72, 64
SEMANTIC_SIDE = 227  # ImageNet networks' usual side, odd so that no pixels are dropped
SEMANTIC_UNITS = 256  # fc256 of the paper's semantic column (III-E)


def compact_column(view: View, mean: tuple[float, ...]) -> ColumnSpec:
    """Arch 1 with 32 filters first, conv1 stride 4, 64-pixel windows and fc 256, 256."""
    norm = CrossMapNorm()
    blocks = (
        Block(32, 11, stride=4, pool=Pool(), norm=norm),
        Block(64, 5, padding=2, pool=Pool(), norm=norm),
        Block(64, 3, padding=1),
        Block(64, 3, padding=1),
    )
    return ColumnSpec(view, blocks, (256, 256), plane=PLANE, window=WINDOW, mean=mean, scale=1 / 64, dropout=0.1)


def compact_network(views: Sequence[View], mean: tuple[float, ...]) -> Network:
    """SCNN or DCNN of compact columns."""
    return Network("-".join(("compact", *views)), tuple(compact_column(view, mean) for view in views))


def with_columns(columns: Sequence[Column], name: str = "compact") -> MultiColumn:
    """A network of copies of trained columns, with a fresh label layer of zeros."""
    net = MultiColumn(Network(name, tuple(column.spec for column in columns)))
    for mine, theirs in zip(net.columns, columns, strict=True):
        mine.load_state_dict(theirs.state_dict())
    nn.init.zeros_(net.label.weight)
    nn.init.zeros_(net.label.bias)
    return net


class Semantic:
    """SqueezeNet with frozen ImageNet weights: the features of photographs, and a column with a trained layer on top."""

    def __init__(self, weights: Path) -> None:
        side = {"plane": SEMANTIC_SIDE, "window": SEMANTIC_SIDE}
        self._column = import_squeezenet(weights, "warp", **side, fc=(SEMANTIC_UNITS,)).eval()

    @torch.inference_mode()
    def features(self, images: Sequence[np.ndarray], batch: int = 16) -> Tensor:
        """The means of the last maps, [n, 512] float32, for photographs [H, W, 3]."""
        found = []
        for start in range(0, len(images), batch):
            planes = [ops_views.plane(image, "warp", SEMANTIC_SIDE).pixels for image in images[start : start + batch]]
            x = torch.from_numpy(np.stack(planes)).permute(0, 3, 1, 2).float()
            x = (x - self._column.mean) * self._column.spec.scale
            for block in self._column.blocks:
                x = block(x)
            found.append(x.mean(dim=(2, 3)))
        return torch.cat(found)

    def column(self, layer: nn.Linear) -> Column:
        """The frozen column whose fc256 is `layer`."""
        column = copy.deepcopy(self._column)
        column.fc[0].load_state_dict(layer.state_dict())
        return column
