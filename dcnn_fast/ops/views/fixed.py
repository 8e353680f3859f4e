"""Planes and windows by launches whose shape depends on the result alone: only tables name the photographs.

The host code for csrc/cuda/views/tables.cu and windows.cu. For each photograph the host writes two rows of numbers; the
filters, tiles and chunks that views_planes_kernel reads are made on the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dcnn_fast.networks import View
from dcnn_fast.ops.computed_once import computed_once
from dcnn_fast.ops.launch import CudaKernel, Launch
from dcnn_fast.ops.records import CUT, CUT_CHUNK, CUT_TILE, FILTER
from dcnn_fast.ops.tables import fields
from dcnn_fast.ops.views.cuda import KERNEL as PLANES_KERNEL
from dcnn_fast.ops.views.params import ViewParams

TABLES_KERNEL = CudaKernel(
    "views/tables.cu", "views_tables_kernel", ("cuts", "resizes", "tiles", "chunks", "filters", "weights", "plane")
)
WINDOWS_KERNEL = CudaKernel("views/windows.cu", "views_windows_kernel", ("sources", "out", "side"))
CUT_FIELDS, RESIZE_FIELDS = fields(CUT), 4

QUADS = 33  # most groups of four weights per output: photographs of up to 65 times a plane's side
MOST_PLANE = 1024  # pixels along a plane's side
_TILE, _OUTSIDE = 16, 4  # the kernel's: a tile's sides, and the most black rectangles beside a photograph
_WARPS, _PIXELS = 8, 256


def refused(params: ViewParams) -> str | None:
    """None where a photograph's view fits the kernels' tables, else one sentence that says why not."""
    if params.view == "local":
        if params.resized != (params.height, params.width):
            return f"a photograph of {params.width} x {params.height} is enlarged for its local view"
        return None
    if params.plane > MOST_PLANE:
        return f"a plane of {params.plane} pixels has more than {MOST_PLANE} along a side"
    for size, target in zip((params.height, params.width), params.resized, strict=True):
        if 2 * size > (4 * QUADS - 2) * target:
            return f"a photograph of {params.width} x {params.height} is too long for a plane of {params.plane} pixels"
    return None


@dataclass(frozen=True)
class FixedPlanes:
    """`pictures` planes of one view, made by two launches.

    out: [pictures, plane, plane, 4] bytes, the fourth of a pixel zero.
    """

    view: View
    plane: int
    out: Tensor

    @classmethod
    def of(cls, view: View, plane: int, pictures: int, device: torch.device) -> FixedPlanes:
        """Planes in new memory on the device."""
        return cls(view, plane, torch.zeros(pictures, plane, plane, 4, dtype=torch.uint8, device=device))

    @property
    def pictures(self) -> int:
        """The number of planes."""
        return len(self.out)

    def address(self, picture: int) -> int:
        """The address of a picture's plane."""
        return self._base + picture * self.plane * self.plane * 4

    @computed_once
    def _base(self) -> int:
        return self.out.data_ptr()

    def cut(self, picture: int) -> tuple[int, ...]:
        """A picture's row in the table of cuts (`CutRow` of csrc/core/tables.h), without a photograph."""
        return 0, 0, 3, 0, 0, self.address(picture), self.plane, 2 * picture * self.plane, (2 * picture + 1) * self.plane, 0

    def launches(self, cuts: Tensor, resizes: Tensor, photographs: Sequence[Tensor]) -> tuple[Launch, Launch]:
        """The two launches that make the planes.

        cuts, resizes: [pictures, fields] int64, rows as `cut` and `resize_of` give them, with the photograph entered in the
        first. photographs: the memory that these lie in.
        """
        pictures, side = self.pictures, -(-self.plane // _TILE)
        rows = {
            "tiles": (pictures * (side * side + _OUTSIDE), fields(CUT_TILE)),
            "chunks": (pictures * side * _TILE, fields(CUT_CHUNK)),
            "filters": (pictures * 2 * self.plane, fields(FILTER)), "weights": (pictures * 2 * self.plane * QUADS, 4),
        }  # fmt: skip
        tables = {name: torch.zeros(shape, dtype=torch.int32, device=self.out.device) for name, shape in rows.items()}
        made = Launch(
            TABLES_KERNEL, (pictures, 2), {"cuts": cuts, "resizes": resizes, **tables, "plane": self.plane}, {"QUADS": QUADS},
            _WARPS,
        )  # fmt: skip
        numbers = {"mean_r": 0.0, "mean_g": 0.0, "mean_b": 0.0, "scale": 1.0, "background": 0}
        planes = Launch(
            PLANES_KERNEL, (len(tables["tiles"]),), {"cuts": cuts, **tables, **numbers}, {"OUT": 0}, _WARPS, reads=photographs,
            writes=[self.out],
        )  # fmt: skip
        return made, planes


def resize_of(params: ViewParams) -> tuple[int, int, int, int]:
    """A photograph's row in the table of resizes: rows and columns of the resized photograph, and the (row, column) of the
    plane's corner on it, negative where the plane begins with black.
    """
    return *params.resized, *params.origin


def windows_launch(sources: Tensor, out: Tensor, reads: Sequence[Tensor]) -> Launch:
    """The launch that copies windows to `out`, [windows, side, side, 3] bytes. sources: [windows, fields] int64, `SourceRow`
    of csrc/core/tables.h, in bytes. reads: the memory that the sources lie in.
    """
    windows, side = out.shape[:2]
    grid = (windows, -(-side * side // _PIXELS))
    return Launch(WINDOWS_KERNEL, grid, {"sources": sources, "out": out, "side": side}, {}, _WARPS, reads=reads)
