"""Views: from a photograph to the planes that windows are cut from, and where the windows lie (paper II-A)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from dcnn_fast.networks import View
from dcnn_fast.ops.backend import choose
from dcnn_fast.ops.views import cpu, cuda
from dcnn_fast.ops.views.backend import Cutting, ViewsBackend
from dcnn_fast.ops.views.cpu import resized
from dcnn_fast.ops.views.cuts import Cut, CutList
from dcnn_fast.ops.views.offsets import draw_windows
from dcnn_fast.ops.views.params import ViewParams

MAX_PLANE_PIXELS = 2**25  # after enlarging, or twice the photograph's: 131,072 x 256, the plane of a strip of 1 : 512
MAX_COPY_BYTES = 2**30  # of a strided image, whose dense copy may exceed the memory
BACKENDS: Mapping[str, ViewsBackend] = {"cuda": cuda.BACKEND, "cpu": cpu.BACKEND}


@dataclass(frozen=True)
class Plane:
    """The pixels that windows are cut from, [H, W, 3] uint8, and notes on how they were made."""

    pixels: np.ndarray
    notes: tuple[str, ...] = ()


def plane(pixels: np.ndarray, view: View, size: int = 256) -> Plane:
    """The plane of a photograph [H, W, 3] uint8 for one view.

    warp: both sides resized to `size`. center: the shorter side resized, the centre kept. pad: the longer side resized,
    centred on black. All three give size x size. local: the photograph itself, or where its shorter side is below `size`, the
    photograph enlarged isotropically until that side is `size`; a note says so.

    Resampling is antialiased bilinear, Pillow's BILINEAR reducing filter. Rounding and pixel conventions: `ViewParams`.
    Raises ValueError naming the argument, also for a sliver of an image whose enlargement would exceed `MAX_PLANE_PIXELS` and
    twice its own pixels, and for an array that is not C-contiguous and would have to be copied to more than `MAX_COPY_BYTES`.
    """
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise ValueError(f"pixels must be uint8 [H, W, 3], got {pixels.dtype} {list(pixels.shape)}")
    _require_copy("pixels", pixels.shape, bool(pixels.flags.c_contiguous))
    params, notes = planned(pixels, view, size)
    return Plane(cpu.plane(pixels, params), notes)


def planned(pixels: np.ndarray, view: View, size: int = 256) -> tuple[ViewParams, tuple[str, ...]]:
    """The geometry and the notes of the plane that `plane` would make; raises as `plane` does."""
    return _planned(pixels.shape[0], pixels.shape[1], view, size)


@lru_cache(maxsize=1024)
def _planned(height: int, width: int, view: View, size: int) -> tuple[ViewParams, tuple[str, ...]]:
    """Cached, as photographs come in few sizes."""
    params = ViewParams(height, width, view, size)
    _require_room((height, width), params)
    if view != "local" or params.resized == (height, width):
        return params, ()
    before, after = ("{1} x {0}".format(*shape) for shape in ((height, width), params.resized))
    return params, (f"local views: enlarged from {before} to {after} pixels",)


def planes(
    images: Sequence[Tensor],
    view: View,
    *,
    size: int = 256,
    mean: Sequence[float] = (),
    scale: float = 1.0,
    dtype: torch.dtype = torch.uint8,
    background: tuple[int, int, int] = (255, 255, 255),
) -> list[Tensor]:
    """The planes of decoded photographs of any sizes, on their device, in one launch: [4, h, w] each, with a pixel's channels
    adjacent in memory and the fourth zero; for views other than local they are slices of one tensor [N, 4, size, size].

    images: uint8 [H, W, C] of one device: C 3, or 1 for grey, or 4 with alpha, which is laid over `background`. view, size:
    as in `plane`. dtype: uint8, or float16 and bfloat16, in which a pixel is (pixel - mean) * scale, black borders included;
    mean: three numbers, or none for zeros. Resampling is Pillow's to within 1 level.

    Raises ValueError naming the argument, and BackendError where no backend can run it.
    """
    _require_images(images, mean, dtype)
    params = [ViewParams(image.shape[0], image.shape[1], view, size) for image in images]
    for image, one in zip(images, params, strict=True):
        _require_room(image.shape, one)
    cuts = [Cut(i, one, 0, 0, *one.shape) for i, one in enumerate(params)]
    if view == "local":
        outputs = [
            torch.empty(*one.shape, 4, dtype=dtype, device=image.device) for image, one in zip(images, params, strict=True)
        ]
    else:
        device = images[0].device if images else torch.device("cpu")
        outputs = list(torch.empty(len(images), size, size, 4, dtype=dtype, device=device))
    _run(images, cuts, outputs, mean, scale, background)
    return [output.permute(2, 0, 1) for output in outputs]


def windows(
    images: Sequence[Tensor],
    view: View,
    places: Sequence[tuple[int, int, int, bool]],
    *,
    size: int = 256,
    window: int = 224,
    mean: Sequence[float] = (),
    scale: float = 1.0,
    dtype: torch.dtype = torch.uint8,
    background: tuple[int, int, int] = (255, 255, 255),
) -> Tensor:
    """Windows cut without making whole planes, in one launch: [N, 4, window, window] in channels_last memory.

    places: (photograph, top, left, flip) of each window, with an offset in the photograph's plane as from `draw_windows`;
    flip: mirrored left to right. Local windows are cut directly from the photograph unless it must be enlarged.
    Other arguments: as in `planes`.
    """
    _require_images(images, mean, dtype)
    params = [ViewParams(image.shape[0], image.shape[1], view, size) for image in images]
    for each, one in zip(images, params, strict=True):
        _require_room(each.shape, one)
    for image, top, left, _ in places:
        limits = [side - window for side in params[image].shape]
        if not 0 <= top <= limits[0] or not 0 <= left <= limits[1]:
            raise ValueError(f"places must be offsets from 0 to {limits} in photograph {image}, got {(top, left)}")
    cuts = [Cut(image, params[image], top, left, window, window, flip) for image, top, left, flip in places]
    device = images[0].device if images else torch.device("cpu")
    outputs = torch.empty(len(cuts), window, window, 4, dtype=dtype, device=device)
    _run(images, cuts, list(outputs), mean, scale, background)
    return outputs.permute(0, 3, 1, 2)


def _run(
    images: Sequence[Tensor],
    cuts: Sequence[Cut],
    outputs: Sequence[Tensor],
    mean: Sequence[float],
    scale: float,
    background: tuple[int, int, int],
) -> None:
    if not cuts:
        return
    backend = BACKENDS[choose(BACKENDS, CutList(tuple(cuts)), images[0].device)]
    dense = [image if image.stride()[1:] == (image.shape[2], 1) else image.contiguous() for image in images]
    backend.run(Cutting(dense, cuts, outputs, mean, scale, background))


def _require_images(images: Sequence[Tensor], mean: Sequence[float], dtype: torch.dtype) -> None:
    for image in images:
        if image.dtype != torch.uint8 or image.ndim != 3 or image.shape[2] not in (1, 3, 4) or 0 in image.shape:
            raise ValueError(f"images must be uint8 [H, W, C] with C of 1, 3 or 4, got {image.dtype} {list(image.shape)}")
        _require_copy("images", image.shape, image.is_contiguous())
        if image.device != images[0].device:
            raise ValueError(f"images must be on one device, got {images[0].device} and {image.device}")
    if len(mean) not in (0, 3):
        raise ValueError(f"mean must be three numbers or none, got {list(mean)}")
    if dtype not in cuda.OUTPUTS:
        raise ValueError(f"dtype must be uint8, float16 or bfloat16, got {dtype}")


def _require_room(shape: Sequence[int], params: ViewParams) -> None:
    if params.resized[0] * params.resized[1] > max(MAX_PLANE_PIXELS, 2 * shape[0] * shape[1]):
        raise ValueError(
            f"pixels must not be so narrow that the {params.view} view needs more than {MAX_PLANE_PIXELS} pixels, got "
            f"{shape[1]} x {shape[0]}, which becomes {params.resized[1]} x {params.resized[0]}"
        )


def _require_copy(name: str, shape: Sequence[int], dense: bool) -> None:
    if not dense and math.prod(shape) > MAX_COPY_BYTES:
        raise ValueError(
            f"{name} must be contiguous in memory where they have more than {MAX_COPY_BYTES} bytes, got others of {list(shape)}"
        )


def cut(plane: np.ndarray, windows: np.ndarray, size: int = 224) -> np.ndarray:
    """The windows of a plane [H, W, 3] as images: [samples, size, size, 3], of the plane's dtype.

    windows: [samples, 2] (top, left), inclusive, as from `draw_windows`. Raises ValueError for a window outside the plane.
    """
    limits = np.array(plane.shape[:2]) - size
    if windows.ndim != 2 or windows.shape[1] != 2 or (windows < 0).any() or (windows > limits).any():
        raise ValueError(f"windows must be [views, 2] offsets from 0 to {limits.tolist()}, got {windows.tolist()}")
    return np.stack([plane[top : top + size, left : left + size] for top, left in windows])


__all__ = [
    "BACKENDS", "MAX_COPY_BYTES", "MAX_PLANE_PIXELS", "Plane", "ViewParams", "cut", "draw_windows", "plane", "planes",
    "resized", "windows",
]  # fmt: skip
