"""A column's blocks on a GPU: image by image, the launches of all blocks.

All tables of an image are laid out in one pass by C++ (csrc/core/launch/column.h), straight into the memory that is copied to
the device. Each image's tables lie where the last image's lay, so images whose regions make equally many programs have
identical launches, which are kept.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from dcnn_fast import engine
from dcnn_fast.networks import Pool
from dcnn_fast.ops.block.backend import Launches
from dcnn_fast.ops.block.params import BlockParams
from dcnn_fast.ops.device_tables import part
from dcnn_fast.ops.launch import Launch
from dcnn_fast.ops.region import RegionList, held

MOST = 256  # lists of launches that are kept; the oldest is dropped first
_TABLES = ("programs", "regions", "pieces", "stores", "sources", "outputs")  # in the order of csrc/core/launch/column.h


@dataclass(frozen=True)
class ColumnLaunches:
    """One image's launches, and their result, [windows, rows * cols * filters] of the last block.

    shape: equal for lists that differ in nothing but their tables' content and the tensors that they reach through them.
    """

    launches: tuple[Launch, ...]
    shape: Hashable
    result: Tensor


class _Shape(NamedTuple):
    """The key of a column's launches beside its blocks: how often tables have moved, each block's number of programs, and how
    block 1 can read the plane.
    """

    times: int
    programs: tuple[int, ...]
    access: int


class ColumnOnGpu:
    """A column's blocks, for images that follow each other on one stream of a device.

    again: whether launches are to repeat, as for a CUDA graph; otherwise tables and numbers of programs keep their exact
    sizes.
    """

    def __init__(self, blocks: Sequence[Launches], device: torch.device, again: bool = True) -> None:
        self._blocks, self._device = blocks, device
        self._tables = engine.native.ColumnTables([block.shape() for block in blocks], again)
        self._inner = [block.access(_map(before.params)) for before, block in pairwise(blocks)]
        self._geometries = [_geometry(block.params) for block in blocks]
        self._memory, self._maps = (torch.empty(0, dtype=torch.uint8, device=device) for _ in range(2))
        self._placed: list[dict[str, Tensor]] = []
        self._times = 0  # how often tables have moved
        self._known: dict[_Shape, tuple[Launch, ...]] = {}

    def launches(self, plane: Tensor, regions: Sequence[RegionList]) -> ColumnLaunches:
        """The launches that compute every block's regions from a plane [1, C, H, W] on the device. On return the tables' copy
        is enqueued on the current stream.

        Raises ValueError as `ops.block_regions` does for regions that leave their sources or outputs.
        """
        tables = held(regions)
        tables.require(self._geometries, (plane.shape[0], plane.shape[2], plane.shape[3]))
        plane = self._blocks[0].readable(plane)
        image, channel, row, col = plane.stride()
        size, maps, last, programs, moved = self._tables.lay(tables, (plane.data_ptr(), image, row, col, channel))
        result = torch.empty(last, dtype=torch.uint8, device=self._device)
        self._make_room(size, maps, moved)
        self._send(size, result)
        shape = _Shape(self._times, tuple(programs), self._blocks[0].access(plane))
        found = self._kept(shape)
        found[0] = replace(found[0], reads=(plane, *found[0].reads))
        found[-1] = replace(found[-1], writes=(result, *found[-1].writes))
        images, rows, cols = tables.outputs(len(tables) - 1)[0]
        params = self._blocks[-1].params
        values = rows * cols * params.filters
        return ColumnLaunches(tuple(found), shape, part(result, 0, (images, values), params.out_dtype))

    def _make_room(self, tables: int, maps: int, moved: bool) -> None:
        """Make room for `tables` and `maps` bytes. Launches that reach the old memory are forgotten."""
        if maps > len(self._maps):
            self._maps = torch.empty(maps, dtype=torch.uint8, device=self._device)
            self._known.clear()
        if moved or not self._placed:
            self._times += 1
            if tables > len(self._memory):
                self._memory = torch.empty(tables, dtype=torch.uint8, device=self._device)
            self._placed = [self._views(block) for block in range(len(self._blocks))]
            self._known.clear()

    def _send(self, size: int, result: Tensor) -> None:
        """Copy the tables laid out last to the device; the host does not wait."""
        # Pinned memory comes from torch's cache, which reuses none before its copy is done.
        staged = torch.empty(size, dtype=torch.uint8, device="cpu", pin_memory=self._device.type == "cuda")
        self._tables.write(staged.numpy(), self._maps.data_ptr(), result.data_ptr())
        self._memory[:size].copy_(staged, non_blocking=True)

    def _views(self, block: int) -> dict[str, Tensor]:
        """A block's tables on the device."""
        return {
            name: part(self._memory, first, (size // 8,), torch.int64)
            for name, (first, size) in zip(_TABLES, self._tables.places(block), strict=True)
        }

    def _kept(self, shape: _Shape) -> list[Launch]:
        """The launches of that shape, without an image's plane and result, which only the image's own launches may keep."""
        found = self._known.get(shape)
        if found is None:
            accesses = [shape.access, *self._inner]
            own = (self._maps,)  # shared by all images, whose launches run one after another
            reads, writes = [(), *[own] * len(self._inner)], [*[own] * len(self._inner), ()]
            found = tuple(
                block.launch_of(tables, *rest)
                for block, tables, *rest in zip(
                    self._blocks, self._placed, shape.programs, accesses, reads, writes, strict=True
                )
            )
            if len(self._known) >= MOST:
                del self._known[next(iter(self._known))]
            self._known[shape] = found
        return list(found)


def _geometry(params: BlockParams) -> engine.native.RegionGeometry:
    options = params.options
    pool = options.pool or Pool(1, 1)
    return engine.native.RegionGeometry(
        size=params.size,
        stride=options.stride,
        padding=options.padding,
        rounding=options.rounding,
        pool=(pool.size, pool.stride),
    )


def _map(params: BlockParams) -> Tensor:
    """A block's output as `ColumnOnGpu` holds it."""
    return torch.empty(1, 2, 2, params.filters, dtype=params.out_dtype, device="cpu").permute(0, 3, 1, 2)
