"""A column's blocks on a GPU: for one image after the other, the launches of all of them.

All tables of an image are laid out in one pass, without the interpreter's lock (csrc/core/launch/column.h), straight into the
memory that is copied to the device. They lie where those of the last image lay, so images whose regions make as many programs
pose the very same launches, which are kept.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from dcnn_fast import engine
from dcnn_fast.ops.block.backend import Launches
from dcnn_fast.ops.block.params import BlockParams
from dcnn_fast.ops.device_tables import part
from dcnn_fast.ops.launch import Launch
from dcnn_fast.ops.region import RegionList, require_regions

MOST = 256  # lists of launches that are kept; the one that came first goes first
_TABLES = ("programs", "regions", "pieces", "stores", "sources", "outputs")  # as csrc/core/launch/column.h lays them out


@dataclass(frozen=True)
class ColumnLaunches:
    """One image's launches, and what they make: result, [windows, rows * cols * filters] of the last block.

    shape: equal for lists that differ in nothing but their tables' content and the tensors that they reach through them.
    """

    launches: tuple[Launch, ...]
    shape: Hashable
    result: Tensor


class _Shape(NamedTuple):
    """What decides a column's launches beside its blocks: how often tables have moved, each block's number of programs, and how
    block 1 can read the plane.
    """

    times: int
    programs: tuple[int, ...]
    access: int


class ColumnOnGpu:
    """A column's blocks, for images that follow each other on one stream of a device.

    again: whether launches are to come again, as a CUDA graph wants it; otherwise tables are as large as they are, and programs
    as many as there are.
    """

    def __init__(self, blocks: Sequence[Launches], device: torch.device, again: bool = True) -> None:
        self._blocks, self._device = blocks, device
        self._tables = engine.load().ColumnTables([block.shape() for block in blocks], again)
        self._inner = [block.access(_map(before.params)) for before, block in pairwise(blocks)]
        self._memory = torch.empty(0, dtype=torch.uint8, device=device)
        self._placed: list[dict[str, Tensor]] = []
        self._times = 0  # that tables have moved
        self._known: dict[_Shape, tuple[Launch, ...]] = {}

    def launches(self, plane: Tensor, regions: Sequence[RegionList]) -> ColumnLaunches:
        """What computes the regions of every block from a plane [1, C, H, W] on the device. The tables are on their way there
        when this returns, on the current stream.

        Raises ValueError as `ops.block_regions` does for regions that leave their sources or outputs.
        """
        self._require(plane, regions)
        plane = self._blocks[0].readable(plane)
        tables, maps, last, programs, moved = self._tables.lay(
            [(of.regions.numpy(), of.pieces.numpy(), of.stores.numpy(), of.outputs) for of in regions],
            (plane.data_ptr(), *(plane.stride(axis) for axis in (0, 2, 3, 1))),
        )
        inner, result = (torch.empty(size, dtype=torch.uint8, device=self._device) for size in (maps, last))
        self._send(tables, moved, inner, result)
        shape = _Shape(self._times, tuple(programs), self._blocks[0].access(plane))
        kept = self._kept(shape)
        reads, writes = chain([plane], [inner] * len(kept)), [*[inner] * (len(kept) - 1), result]
        found = tuple(replace(of, reads=(read,), writes=(write,)) for of, read, write in zip(kept, reads, writes, strict=False))
        images, rows, cols = regions[-1].outputs[0]
        params = self._blocks[-1].params
        values = rows * cols * params.filters
        return ColumnLaunches(found, shape, part(result, 0, (images, values), params.out_dtype))

    def _require(self, plane: Tensor, regions: Sequence[RegionList]) -> None:
        sources: Sequence[tuple[int, int, int]] = [(plane.shape[0], plane.shape[2], plane.shape[3])]
        for block, of in zip(self._blocks, regions, strict=True):
            options = block.params.options
            require_regions(
                sources, of, size=block.params.size, stride=options.stride, padding=options.padding, rounding=options.rounding,
                pool=options.pool,
            )  # fmt: skip
            sources = of.outputs

    def _send(self, size: int, moved: bool, maps: Tensor, last: Tensor) -> None:
        """Copy the tables, which were laid out last, to the device; the host does not wait."""
        if moved or not self._placed:
            self._times += 1
            if size > len(self._memory):
                self._memory = torch.empty(size, dtype=torch.uint8, device=self._device)
            self._placed = [self._views(block) for block in range(len(self._blocks))]
            self._known.clear()
        # Pinned memory comes from torch's cache, which gives none out again before its copy is done.
        staged = torch.empty(size, dtype=torch.uint8, pin_memory=self._device.type == "cuda")
        self._tables.write(staged.numpy(), maps.data_ptr(), last.data_ptr())
        self._memory[:size].copy_(staged, non_blocking=True)

    def _views(self, block: int) -> dict[str, Tensor]:
        """A block's tables on the device."""
        return {
            name: part(self._memory, first, (size // 8,), torch.int64)
            for name, (first, size) in zip(_TABLES, self._tables.places(block), strict=True)
        }

    def _kept(self, shape: _Shape) -> tuple[Launch, ...]:
        """The launches of that shape, without the memory of an image, which nothing but the image's own may keep."""
        found = self._known.get(shape)
        if found is None:
            accesses = [shape.access, *self._inner]
            found = tuple(
                block.launch_of(tables, count, access, (), ())
                for block, tables, count, access in zip(self._blocks, self._placed, shape.programs, accesses, strict=True)
            )
            if len(self._known) >= MOST:
                del self._known[next(iter(self._known))]
            self._known[shape] = found
        return found


def _map(params: BlockParams) -> Tensor:
    """A map as `ColumnOnGpu` has it for what a block makes."""
    return torch.empty(1, 2, 2, params.filters, dtype=params.out_dtype).permute(0, 3, 1, 2)
