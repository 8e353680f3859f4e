"""Views: from a photograph to the planes that windows are cut from, and where the windows lie (paper II-A)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dcnn_fast.ops.views import cpu
from dcnn_fast.ops.views.offsets import draw_windows
from dcnn_fast.ops.views.params import ViewParams
from dcnn_fast.spec import View

MAX_PLANE_PIXELS = 2**28


@dataclass(frozen=True)
class Plane:
    """What windows are cut from: pixels [H, W, 3] uint8, and notes on how it came about."""

    pixels: np.ndarray
    notes: tuple[str, ...] = ()


def plane(pixels: np.ndarray, view: View, size: int = 256) -> Plane:
    """The plane of a photograph [H, W, 3] uint8 for one view.

    warp: both sides resized to `size`. center: the shorter side resized, the centre kept. pad: the longer side resized,
    centred on black. All three give size x size. local: the photograph itself, which is enlarged isotropically until its
    shorter side is `size` when it is smaller; a note says so.

    Resampling is antialiased bilinear, Pillow's BILINEAR reducing filter. Rounding and pixel conventions: `ViewParams`.
    Raises ValueError naming the argument, also for a sliver of an image whose enlargement would exceed `MAX_PLANE_PIXELS`.
    """
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise ValueError(f"pixels must be uint8 [H, W, 3], got {pixels.dtype} {list(pixels.shape)}")
    params = ViewParams(pixels.shape[0], pixels.shape[1], view, size)
    if params.resized[0] * params.resized[1] > max(MAX_PLANE_PIXELS, pixels.shape[0] * pixels.shape[1]):
        raise ValueError(
            f"pixels must not be so narrow that the {view} view needs more than {MAX_PLANE_PIXELS} pixels, got "
            f"{pixels.shape[1]} x {pixels.shape[0]}, which becomes {params.resized[1]} x {params.resized[0]}"
        )
    notes: tuple[str, ...] = ()
    if view == "local" and params.resized != pixels.shape[:2]:
        before, after = ("{1} x {0}".format(*shape) for shape in (pixels.shape, params.resized))
        notes = (f"local views: enlarged from {before} to {after} pixels",)
    return Plane(cpu.plane(pixels, params), notes)


def cut(plane: np.ndarray, windows: np.ndarray, size: int = 224) -> np.ndarray:
    """The windows of a plane [H, W, 3] as images: [views, size, size, 3], of the plane's dtype.

    windows: [views, 2] (top, left), inclusive, as `draw_windows` gives them. Raises ValueError for one that leaves the plane.
    """
    limits = np.array(plane.shape[:2]) - size
    if windows.ndim != 2 or windows.shape[1] != 2 or (windows < 0).any() or (windows > limits).any():
        raise ValueError(f"windows must be [views, 2] offsets from 0 to {limits.tolist()}, got {windows.tolist()}")
    return np.stack([plane[top : top + size, left : left + size] for top, left in windows])


__all__ = ["MAX_PLANE_PIXELS", "Plane", "ViewParams", "cut", "draw_windows", "plane"]
