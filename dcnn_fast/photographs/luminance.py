"""Luma and sharpness of photographs in integer arithmetic, which gives the same results on every machine."""

from __future__ import annotations

import numpy as np
from PIL import Image

_BLUR = 9  # pixels: the length of Crete et al.'s blur filter


def luminance(pixels: np.ndarray) -> np.ndarray:
    """Rec. 601 luma of sRGB pixels, as Pillow rounds it. pixels: [H, W, 3] uint8. Returns [H, W] int32, 0 to 255."""
    return np.asarray(Image.fromarray(pixels).convert("L"), np.int32)


def sharpness(luma: np.ndarray) -> float:
    """1 minus the perceptual blur of Crete, Dolmiere, Ladret and Nicolas, "The blur effect" (SPIE 6492, 2007).

    Blurring once more (by a mean of nine pixels) takes much of the differences between neighbouring pixels from a sharp
    picture, but little from a blurred one. The result is 1 minus the remaining share, for the more blurred direction. It
    depends neither on brightness nor, unlike the variance of the Laplacian, on the amount of detail. luma: [H, W] integers.
    Returns 0 to 1; 0 where the picture is too small or uniform.
    """
    return min(_lost(luma), _lost(luma.T))


def _lost(luma: np.ndarray) -> float:
    """The share of vertical differences that a vertical mean of nine pixels removes."""
    if luma.shape[0] <= _BLUR + 1 or luma.shape[1] < 1:
        return 0.0
    sums = np.cumsum(np.concatenate((np.zeros_like(luma[:1]), luma)), axis=0, dtype=np.int32)
    blurred = sums[_BLUR:] - sums[:-_BLUR]  # nine times the mean
    margin = _BLUR // 2
    before = _BLUR * np.abs(np.diff(luma[margin:-margin], axis=0))
    after = np.abs(np.diff(blurred, axis=0))
    total = int(before.sum())
    return int(np.maximum(before - after, 0).sum()) / total if total else 0.0
