"""The measured cases: the presets with seeded weights, planes and windows.

A column's spec defines its treatment of pixels (mean, scale, window, plane, norms, order): nothing here repeats it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from bench.peers import PlainBlocks
from dcnn_fast import nets, networks
from dcnn_fast.nets import Block, Column, MultiColumn
from dcnn_fast.networks import View
from dcnn_fast.ops import views as ops_views

SCNN = "scnn-arch1"  # with view `warp` here: a plane of one size, whatever the photograph
DCNN = "dcnn"
MEAN = (120.0, 115.0, 105.0)  # of photographs: presets subtract none, but every trained model does


def described(preset: str, views: Sequence[View] | None = None, unit_share: float = 1.0) -> networks.Network:
    """The preset with a mean to subtract.

    views: its columns' views, in place of the preset's own. unit_share: the kept share of its fully-connected units.
    """
    chosen = networks.preset(preset)
    seen = [column.view for column in chosen.columns] if views is None else views
    columns = tuple(
        replace(column, view=view, mean=MEAN, fc=tuple(max(1, round(unit_share * units)) for units in column.fc))
        for column, view in zip(chosen.columns, seen, strict=True)
    )
    return replace(chosen, columns=columns)


def network(preset: str = SCNN, views: Sequence[View] | None = None, unit_share: float = 1.0) -> MultiColumn:
    """The network of `described`, with seeded weights."""
    return nets.build(described(preset, views, unit_share), seed=0).eval()


def scnn(unit_share: float = 1.0) -> MultiColumn:
    """The network of most cases: Arch 1 on the whole picture."""
    return network(SCNN, ("warp",), unit_share)


def photograph(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A synthetic photograph, [height, width, 3] uint8: smooth colours, edges, a little noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    smooth = np.stack([np.sin(x / (37 + 11 * c)) * np.cos(y / (53 - 9 * c)) for c in range(3)], axis=-1)
    edges = ((x // 41 + y // 29) % 2)[..., None]
    pixels = 128 + 70 * smooth + 35 * edges + rng.normal(0, 6, (height, width, 3))
    return pixels.clip(0, 255).astype(np.uint8)


def plane_of(column: networks.Column, shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    """A generated plane of the column: of `shape` for local views, whose plane is the photograph, else of the column's own."""
    return photograph(*(shape if column.view == "local" else (column.plane, column.plane)), seed=seed)


def windows(column: networks.Column, shape: tuple[int, int], count: int, grid: int = 1, seed: int = 0) -> np.ndarray:
    """Window offsets drawn as in the scorer for a column's plane of `shape`: [count, 2]."""
    drawn: np.ndarray = ops_views.draw_windows(
        "benchmark", seed, f"{column.view}:0", count, view=column.view, plane_shape=shape, plane=column.plane,
        window=column.window, grid=grid,
    )  # fmt: skip
    return drawn


def entered(pixels: Tensor, column: networks.Column) -> Tensor:
    """Float pixels [N, C, H, W] as the input of the column's first convolution, changed in place: minus the mean, scaled."""
    pixels.sub_(torch.tensor(column.mean, dtype=pixels.dtype, device=pixels.device).reshape(1, -1, 1, 1))
    return pixels if column.scale == 1 else pixels.mul_(column.scale)


@dataclass(frozen=True)
class Cut:
    """Windows of a column as the peers' input: cut from the plane, as float32 [N, C, window, window], mean and scale applied.

    every: all of them, including equal ones; otherwise only the distinct ones.
    """

    column: networks.Column
    plane: np.ndarray
    offsets: np.ndarray
    every: bool = False

    def given(self) -> tuple[np.ndarray, np.ndarray]:
        """The offsets of the cut windows, and the index of each sample's among them."""
        if self.every:
            return self.offsets, np.arange(len(self.offsets))
        rows, index = np.unique(self.offsets, axis=0, return_inverse=True)
        return rows, index.reshape(-1)

    def pixels(self) -> np.ndarray:
        """The cut windows as bytes [N, C, window, window]."""
        rows, _ = self.given()
        side = self.column.window
        found = np.lib.stride_tricks.sliding_window_view(self.plane, (side, side), axis=(0, 1))
        chosen: np.ndarray = found[rows[:, 0], rows[:, 1]]
        return chosen

    def tensor(self, memory: torch.memory_format) -> Tensor:
        """The windows in the layout `memory`."""
        chosen = self.pixels()
        if memory == torch.channels_last:
            cut = torch.from_numpy(np.ascontiguousarray(chosen.transpose(0, 2, 3, 1))).permute(0, 3, 1, 2)
        else:
            cut = torch.from_numpy(np.ascontiguousarray(chosen))
        return entered(cut.float(), self.column)


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
    """A column for the peers, from its spec and its weights."""
    column = columns(net)[index]
    weights = [(block.weight, block.bias) for block in blocks(column)]
    of = column.spec
    return PlainBlocks(of.blocks, weights, layers(column), of.extents(), of.rounding, of.reduce)


def plain_block(column: Column, number: int) -> PlainBlocks:
    """Block `number` (from 1) of a column alone, for the peers."""
    block, extent = blocks(column)[number - 1], column.spec.extents()[number - 1]
    return PlainBlocks([block.spec], [(block.weight, block.bias)], [], [extent], column.spec.rounding)
