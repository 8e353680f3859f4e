"""Brightness of photographs in whole numbers, and how sharp it is. Sums of whole numbers are the same on every machine."""

from __future__ import annotations

import numpy as np
from PIL import Image

_BLUR = 9  # pixels: of the filter that Crete et al. blur by


def luminance(pixels: np.ndarray) -> np.ndarray:
    """Rec. 601 luma of sRGB pixels, as Pillow rounds it. pixels: [H, W, 3] uint8. Returns [H, W] int32, 0 to 255."""
    return np.asarray(Image.fromarray(pixels).convert("L"), np.int32)


def sharpness(luma: np.ndarray) -> float:
    """1 minus the perceptual blur of Crete, Dolmiere, Ladret and Nicolas, "The blur effect" (SPIE 6492, 2007).

    A sharp picture loses much of the differences between neighbouring pixels when it is blurred once more (by a mean of nine
    pixels), a blurred one little: 1 minus the share that stays, of the direction that is the more blurred. It hangs neither on
    brightness nor, as the variance of the Laplacian does, on how much detail there is. luma: [H, W] integers. Returns 0 to 1; 0
    where the picture is too small or has no differences at all.
    """
    return min(_lost(luma), _lost(luma.T))


def _lost(luma: np.ndarray) -> float:
    """Of the differences down the columns, the share that a mean of nine pixels down the columns takes away."""
    if luma.shape[0] <= _BLUR + 1 or luma.shape[1] < 1:
        return 0.0
    sums = np.cumsum(np.concatenate((np.zeros_like(luma[:1]), luma)), axis=0, dtype=np.int32)
    blurred = sums[_BLUR:] - sums[:-_BLUR]  # nine times the mean
    margin = _BLUR // 2
    before = _BLUR * np.abs(np.diff(luma[margin:-margin], axis=0))
    after = np.abs(np.diff(blurred, axis=0))
    total = int(before.sum())
    return int(np.maximum(before - after, 0).sum()) / total if total else 0.0
