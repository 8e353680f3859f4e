"""Simple statistics of a photograph's colours and sharpness, for the simplest of the baselines."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

SIDE = 256


def statistics(images: Sequence[np.ndarray]) -> np.ndarray:
    """[n, 26] float64 of photographs [H, W, 3] uint8."""
    return np.stack([_of(image) for image in images])


def _of(pixels: np.ndarray) -> np.ndarray:
    image = Image.fromarray(pixels)
    image.thumbnail((SIDE, SIDE), Image.Resampling.BILINEAR)
    rgb, hsv = np.asarray(image, float) / 255, np.asarray(image.convert("HSV"), float) / 255
    grey = rgb.mean(axis=2)
    down, right = np.diff(grey, axis=0), np.diff(grey, axis=1)
    # Hasler and Suesstrunk's colourfulness.
    rg, yb = rgb[..., 0] - rgb[..., 1], rgb[..., :2].mean(axis=2) - rgb[..., 2]
    colourful = np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean())
    full = np.asarray(Image.fromarray(pixels).convert("L"), float) / 255
    laplacian = full[1:-1, 1:-1] * 4 - full[:-2, 1:-1] - full[2:, 1:-1] - full[1:-1, :-2] - full[1:-1, 2:]
    thirds = [grey[i * grey.shape[0] // 3 : (i + 1) * grey.shape[0] // 3].mean() for i in range(3)]
    centre = grey[grey.shape[0] // 4 : -grey.shape[0] // 4, grey.shape[1] // 4 : -grey.shape[1] // 4]
    return np.array([
        *rgb.mean(axis=(0, 1)), *rgb.std(axis=(0, 1)), hsv[..., 1].mean(), hsv[..., 1].std(), hsv[..., 2].mean(),
        *np.quantile(grey, [0.05, 0.25, 0.5, 0.75, 0.95]), colourful, np.abs(down).mean(), np.abs(right).mean(),
        np.log(laplacian.var() + 1e-6), *thirds, centre.mean() - grey.mean(), centre.std() - grey.std(),
        np.cos(2 * np.pi * hsv[..., 0]).mean(), np.sin(2 * np.pi * hsv[..., 0]).mean(), pixels.shape[1] / pixels.shape[0],
    ])  # fmt: skip
