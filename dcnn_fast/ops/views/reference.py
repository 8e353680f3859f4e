"""Planes stated plainly in numpy float64: the reference for every backend's resampling."""

from __future__ import annotations

from typing import Any

import numpy as np

from dcnn_fast.ops.views.params import ViewParams


def plane(pixels: np.ndarray, params: ViewParams) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The plane of `pixels` [H, W, 3] uint8 as unrounded float64, [h, w, 3]."""
    height, width = params.resized
    rows, cols = weights(pixels.shape[0], height), weights(pixels.shape[1], width)
    resized: np.ndarray[Any, np.dtype[np.float64]] = np.einsum(
        "yh,hwc,xw->yxc", rows, pixels.astype(np.float64), cols, optimize=True
    )
    top, left = params.offset
    if params.view == "center":
        return resized[top : top + params.plane, left : left + params.plane]
    if params.view == "pad":
        padded = np.zeros((params.plane, params.plane, pixels.shape[2]))
        padded[top : top + height, left : left + width] = resized
        return padded
    return resized


def weights(size: int, target: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Antialiased bilinear weights along one axis: [target, size], rows sum to 1.

    Output i lies at (i + 0.5) * size / target among input pixels whose centres lie at +0.5. Its filter is a triangle whose
    half-width is the reduction factor, at least 1; pixels outside the image get no weight and the rest is normalised.
    """
    factor = size / target
    reach = max(factor, 1.0)
    centres = (np.arange(target) + 0.5) * factor
    distance = np.abs(np.arange(size) + 0.5 - centres[:, None]) / reach
    triangle = np.maximum(0.0, 1.0 - distance)
    result: np.ndarray[Any, np.dtype[np.float64]] = triangle / triangle.sum(axis=1, keepdims=True)
    return result
