"""Planes on the CPU: Pillow resamples."""

from __future__ import annotations

import numpy as np
from PIL import Image

from dcnn_fast.ops.views.params import ViewParams


def plane(pixels: np.ndarray, params: ViewParams) -> np.ndarray:
    """The plane of `pixels` [H, W, 3] uint8, as params.shape says: [h, w, 3] uint8."""
    resized = resize(pixels, params.resized)
    top, left = params.offset
    if params.view == "center":
        return np.ascontiguousarray(resized[top : top + params.plane, left : left + params.plane])
    if params.view == "pad":
        height, width = params.resized
        padded = np.zeros((params.plane, params.plane, 3), np.uint8)
        padded[top : top + height, left : left + width] = resized
        return padded
    return resized


def resize(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """`pixels` resized to (height, width) by Pillow's antialiased bilinear filter; the same array when it has that size."""
    if pixels.shape[:2] == size:
        return pixels
    height, width = size
    return np.array(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))
