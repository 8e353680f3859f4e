"""Planes on the CPU, equal to Pillow's byte for byte: made by the engine (csrc/core/resample.h), or by Pillow without it."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dcnn_fast import engine
from dcnn_fast.ops.views.backend import Cutting, ViewsBackend
from dcnn_fast.ops.views.cuts import CutList
from dcnn_fast.ops.views.params import ViewParams


class CpuViews(ViewsBackend):
    """Views on the cpu."""

    def can_run(self, params: CutList, device: torch.device) -> str | None:
        """None on the cpu, else one sentence that says why not."""
        return None if device.type == "cpu" else f"these views are made on the cpu, not on {device.type}"

    def run(self, cutting: Cutting) -> None:
        """Write every cut to its output."""
        opaque: dict[int, np.ndarray] = {}
        wholes: dict[tuple[int, ViewParams], Tensor] = {}
        offset = torch.tensor(tuple(cutting.mean) or (0.0,), dtype=torch.float32, device="cpu")
        for cut, output in zip(cutting.cuts, cutting.outputs, strict=True):
            if cut.image not in opaque:
                opaque[cut.image] = without_alpha(cutting.images[cut.image].numpy(), cutting.background)
            if (cut.image, cut.params) not in wholes:
                wholes[cut.image, cut.params] = torch.from_numpy(plane(opaque[cut.image], cut.params))
            part = wholes[cut.image, cut.params][cut.top : cut.top + cut.height, cut.left : cut.left + cut.width]
            part = part.flip(1) if cut.flip else part
            output.zero_()
            output[..., :3] = part if output.dtype == torch.uint8 else (part.float() - offset) * cutting.scale


BACKEND = CpuViews()


def without_alpha(pixels: np.ndarray, background: tuple[int, int, int]) -> np.ndarray:
    """[H, W, 1], [H, W, 3] or [H, W, 4] uint8 as [H, W, 3]: grey repeated, transparent pixels laid over `background`."""
    if pixels.shape[2] == 1:
        return np.repeat(pixels, 3, axis=2)
    if pixels.shape[2] == 3:
        return np.ascontiguousarray(pixels)
    image = Image.fromarray(np.ascontiguousarray(pixels))
    base = Image.new("RGBA", image.size, (*background, 255))
    return np.array(Image.alpha_composite(base, image).convert("RGB"))


def plane(pixels: np.ndarray, params: ViewParams) -> np.ndarray:
    """The plane of `pixels` [H, W, 3] uint8: [h, w, 3] uint8 of params.shape; it may be the same array."""
    dense = np.ascontiguousarray(pixels)
    if pixels.shape[:2] == params.resized == params.shape:
        return dense
    if engine.reason():
        return by_pillow(dense, params)
    made: np.ndarray = engine.native.cut_picture(engine.isa(), dense, params.resized, params.origin, params.shape)
    return made


def resized(pixels: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The photograph [H, W, 3] uint8 resized to `shape` (rows, columns), antialiased; itself if it has that shape."""
    if pixels.shape[:2] == shape:
        return pixels
    dense = np.ascontiguousarray(pixels)
    if engine.reason():
        return resized_by_pillow(dense, shape)
    made: np.ndarray = engine.native.cut_picture(engine.isa(), dense, shape, (0, 0), shape)
    return made


def resized_by_pillow(pixels: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """`resized` without the engine."""
    height, width = shape
    image = Image.fromarray(pixels)
    # Pillow does this itself since version 13, and bytes must not depend on its version.
    if image.height > height and image.height - height > 2 * (image.width - width):
        image = image.resize((image.width, height), Image.Resampling.BILINEAR)
    return np.array(image.resize((width, height), Image.Resampling.BILINEAR))


def by_pillow(pixels: np.ndarray, params: ViewParams) -> np.ndarray:
    """`plane` without the engine."""
    height, width = params.resized
    found = resized_by_pillow(pixels, params.resized)
    top, left = params.offset
    if params.view == "center":
        return np.ascontiguousarray(found[top : top + params.plane, left : left + params.plane])
    if params.view == "pad":
        padded = np.zeros((params.plane, params.plane, 3), np.uint8)
        padded[top : top + height, left : left + width] = found
        return padded
    return found
