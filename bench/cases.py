"""What is measured: columns with seeded weights, planes and windows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from bench.peers import PlainBlocks
from dcnn_fast import nets, spec
from dcnn_fast.nets import Block, Column, MultiColumn
from dcnn_fast.spec import Network, View

VIEWS = 50
MEAN = (120.0, 115.0, 105.0)


def network(views: tuple[View, ...] = ("warp",), preset: str = "scnn-arch1") -> MultiColumn:
    """Columns of the preset's first column, one for each view, with seeded weights and a mean to take off."""
    first = spec.preset(preset).columns[0]
    spread = tuple(replace(first, view=view, mean=MEAN) for view in views)
    return nets.build(Network("bench", spread), seed=0).eval()


def photograph(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Something like a photograph, [height, width, 3] uint8: smooth colours, edges, a little noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    smooth = np.stack([np.sin(x / (37 + 11 * c)) * np.cos(y / (53 - 9 * c)) for c in range(3)], axis=-1)
    edges = ((x // 41 + y // 29) % 2)[..., None]
    pixels = 128 + 70 * smooth + 35 * edges + rng.normal(0, 6, (height, width, 3))
    return pixels.clip(0, 255).astype(np.uint8)


def windows(plane: np.ndarray, grid: int = 1, count: int = VIEWS, side: int = 224, seed: int = 0) -> np.ndarray:
    """Window offsets as the scorer draws them for a plane: [count, 2]."""
    rng = np.random.default_rng(seed)
    if plane.shape[:2] == (256, 256):
        return rng.integers(0, 32 // grid + 1, (count, 2)) * grid
    crop = np.stack([rng.integers(0, (extent - 256) // grid + 1, count) * grid for extent in plane.shape[:2]], axis=1)
    return crop + rng.integers(0, 32 // grid + 1, (count, 2)) * grid


@dataclass(frozen=True)
class Cut:
    """Windows as the peers take them: cut from the plane, as float32 [N, 3, side, side] less the mean.

    every: all of them, equal ones too; otherwise the distinct ones only.
    """

    plane: np.ndarray
    offsets: np.ndarray
    every: bool = False
    side: int = 224

    def given(self) -> tuple[np.ndarray, np.ndarray]:
        """The offsets that are cut, and which of them each view has."""
        if self.every:
            return self.offsets, np.arange(len(self.offsets))
        rows, index = np.unique(self.offsets, axis=0, return_inverse=True)
        return rows, index.reshape(-1)

    def tensor(self, memory: torch.memory_format) -> Tensor:
        """The windows, in the layout that their reader likes best."""
        rows, _ = self.given()
        views = np.lib.stride_tricks.sliding_window_view(self.plane, (self.side, self.side), axis=(0, 1))
        chosen = views[rows[:, 0], rows[:, 1]]
        if memory == torch.channels_last:
            cut = torch.from_numpy(np.ascontiguousarray(chosen.transpose(0, 2, 3, 1))).permute(0, 3, 1, 2)
        else:
            cut = torch.from_numpy(np.ascontiguousarray(chosen))
        return cut.float() - torch.tensor(MEAN).reshape(1, 3, 1, 1)


def columns(net: MultiColumn) -> list[Column]:
    """The network's columns, typed."""
    return cast("list[Column]", list(net.columns))


def blocks(column: Column) -> list[Block]:
    """The column's blocks, typed."""
    return cast("list[Block]", list(column.blocks))


def layers(column: Column) -> list[nn.Linear]:
    """The column's fully-connected layers, typed."""
    return cast("list[nn.Linear]", list(column.fc))


def plain(net: MultiColumn, index: int = 0) -> PlainBlocks:
    """A column for the peers."""
    column = columns(net)[index]
    weights = [(block.weight, block.bias) for block in blocks(column)]
    return PlainBlocks(column.spec.blocks, weights, layers(column), column.spec.extents(), column.spec.rounding)
