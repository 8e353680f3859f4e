"""Technical faults of photographs, each found by one simple pixel statistic. They do not judge quality.

Photographs are measured after antialiased reduction to a long side of 1024 pixels: a fault that is invisible at the size of a
screen does not count. Smaller ones are measured at their own size. `studies.photographs` says how often each name is right and
wrong.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dcnn_fast.photographs.luminance import luminance, sharpness
from dcnn_fast.photographs.screen import on_screen

_DARKEST, _BRIGHTEST = 5, 250  # levels: the ends of the range, with a margin for lossy compression
_BLOCK = 16  # pixels a side
_PLAIN = 4  # levels: a block with a smaller deviation is featureless


@dataclass(frozen=True)
class Found:
    """The faults of one photograph and the statistics that they follow from.

    Attributes:
        names: The faults' names, in the order of `FAULTS`.
        measures: The value of each statistic, by its name.
    """

    names: tuple[str, ...]
    measures: dict[str, float]


@dataclass(frozen=True)
class Fault:
    """One fault and its condition.

    Attributes:
        name: The fault's name.
        says: Whether the measures indicate this fault.
        rule: The condition in words.
    """

    name: str
    says: Callable[[dict[str, float]], bool]
    rule: str


FAULTS = (
    Fault("blurred", lambda m: m["sharpness"] < 0.5, "sharpness below 0.5"),
    Fault("overexposed", lambda m: m["highlights"] > 0.1, "highlights above 0.1"),
    Fault("underexposed", lambda m: m["brightest"] < 0.55 or m["shadows"] > 0.5, "brightest below 0.55, or shadows above 0.5"),
    Fault("flat", lambda m: m["contrast"] < 0.4, "contrast below 0.4"),
    Fault("noisy", lambda m: m["noise"] > 4.5, "noise above 4.5"),
    Fault("tiny", lambda m: m["short_side"] < 200, "short_side below 200"),
    Fault("empty", lambda m: m["detail"] < 0.02, "detail below 0.02"),
)


def find_faults(pixels: np.ndarray) -> Found:
    """Find the faults of a photograph. The same pixels give the same numbers on every machine.

    Args:
        pixels: [H, W, 3] uint8 sRGB.

    Returns:
        The faults' names and all statistics.

    Example:
        >>> find_faults(np.zeros((300, 400, 3), np.uint8)).names
        ('blurred', 'underexposed', 'flat', 'empty')
    """
    small = on_screen(pixels)
    luma = luminance(small)
    measures = {
        "sharpness": sharpness(luma),
        "shadows": clipped_share(small, dark=True),
        "highlights": clipped_share(small, dark=False),
        "brightest": percentile(luma, 99) / 255,
        "contrast": contrast(luma),
        "noise": noise(luma),
        "detail": detail(luma),
        "short_side": float(min(pixels.shape[:2])),
    }
    return Found(tuple(fault.name for fault in FAULTS if fault.says(measures)), measures)


def clipped_share(pixels: np.ndarray, *, dark: bool) -> float:
    """The share of pixels whose three channels are all at the dark end of the range (0 to 5), or all at the bright end (250 to
    255): the areas that blink on a camera's display. pixels: [H, W, 3] uint8.
    """
    lost = pixels.max(axis=2) <= _DARKEST if dark else pixels.min(axis=2) >= _BRIGHTEST
    return float(np.count_nonzero(lost) / lost.size)


def contrast(luma: np.ndarray) -> float:
    """The range from the 1st to the 99th percentile of luma, as a share of 255, as in scikit-image's `is_low_contrast`. luma:
    [H, W] integers from 0 to 255.
    """
    return (percentile(luma, 99) - percentile(luma, 1)) / 255


def percentile(luma: np.ndarray, percent: int) -> int:
    """The lowest level that at least `percent` per cent of pixels do not exceed. luma: [H, W] integers from 0 to 255."""
    counts = np.cumsum(np.bincount(luma.ravel(), minlength=256))
    return int(np.searchsorted(counts, math.ceil(percent * luma.size / 100)))


def noise(luma: np.ndarray) -> float:
    """The standard deviation of noise in levels, by the mask of Immerkaer, "Fast noise variance estimation" (Computer Vision
    and Image Understanding 64, 1996), whose sum is blind to edges and slopes.

    The mean over a whole photograph would take fine detail for noise; so only the smoothest tenth of the blocks of 16 x 16
    pixels without a black or white pixel is used. luma: [H, W] integers from 0 to 255. Returns 0 where there is no such block.
    """
    across = luma[:, :-2] - 2 * luma[:, 1:-1] + luma[:, 2:]
    mask = np.abs(across[:-2] - 2 * across[1:-1] + across[2:])
    levels = _blocks(luma[1:-1, 1:-1])
    clipped = ((levels <= _DARKEST) | (levels >= _BRIGHTEST)).any(axis=1)
    sums = np.sort(_blocks(mask).sum(axis=1)[~clipped])
    if len(sums) == 0:
        return 0.0
    smoothest = sums[: math.ceil(len(sums) / 10)]
    return math.sqrt(math.pi / 2) / 6 * (int(smoothest.sum()) / (len(smoothest) * _BLOCK**2))


def detail(luma: np.ndarray) -> float:
    """The share of blocks of 16 x 16 pixels that show detail: their standard deviation is at least four levels.

    luma: [H, W] integers. Returns 0 where there is no whole block.
    """
    blocks = _blocks(luma)
    if len(blocks) == 0:
        return 0.0
    count = _BLOCK**2
    variance = count * (blocks**2).sum(axis=1) - blocks.sum(axis=1) ** 2  # integers: the variance times the count squared
    return int(np.count_nonzero(variance >= (_PLAIN * count) ** 2)) / len(blocks)


def _blocks(values: np.ndarray) -> np.ndarray:
    """[blocks, 256]: the whole blocks of [H, W] values."""
    rows, columns = (max(0, side) // _BLOCK for side in values.shape)
    whole = values[: rows * _BLOCK, : columns * _BLOCK].reshape(rows, _BLOCK, columns, _BLOCK)
    return whole.swapaxes(1, 2).reshape(rows * columns, _BLOCK**2)
