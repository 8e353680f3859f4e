"""Photographs, their ratings, and their crops for training."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dcnn_fast.networks import View

LONG_SIDE = 800  # the limit for training pictures, as for the rated pictures and photos/


@dataclass(frozen=True)
class Picture:
    """One photograph: pixels [H, W, 3] uint8, its mean rating (nan: unrated), the theme that groups it and its category."""

    pixels: np.ndarray
    rating: float
    theme: str
    category: str


def _pixels(path: Path) -> np.ndarray:
    image = Image.open(path).convert("RGB")
    image.thumbnail((LONG_SIDE, LONG_SIDE), Image.Resampling.BILINEAR)
    return np.asarray(image)


def rated(data: Path) -> list[Picture]:
    """OASIS with its mean beauty ratings, 1 to 7 (Kurdi et al. 2017; Brielmann and Pelli 2019)."""
    with open(data / "oasis" / "ratings.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    images = data / "oasis" / "images"
    return [Picture(_pixels(images / row["file"]), float(row["beauty_mean"]), row["theme"], row["category"]) for row in rows]


def unrated(data: Path) -> list[Picture]:
    """Freely licensed photographs without ratings."""
    paths = sorted([*(data / "photos").glob("*.jpg"), *(data / "photos_large").glob("*.jpg")])
    return [Picture(_pixels(path), float("nan"), path.name, "") for path in paths]


@dataclass(frozen=True)
class Crops:
    """Crops of pictures, each treated as a separate picture.

    pixels[i]: [h, w, 3] uint8 view of crop i. planes: [n, plane, plane, 3] uint8, each warped. picture: [n] index of each
    crop's picture.
    """

    pixels: list[np.ndarray]
    planes: np.ndarray
    picture: np.ndarray


def crops(pictures: Sequence[Picture], count: int, plane: int, seed: int) -> Crops:
    """`count` crops of every picture: the whole first, then random ones with sides of 0.5 to 1 of the picture's."""
    rng = np.random.default_rng(seed)
    pixels, owners = [], []
    for index, picture in enumerate(pictures):
        height, width = picture.pixels.shape[:2]
        for k in range(count):
            h, w = (height, width) if k == 0 else (max(plane, int(side * rng.uniform(0.5, 1))) for side in (height, width))
            h, w = min(h, height), min(w, width)
            top, left = rng.integers(height - h + 1), rng.integers(width - w + 1)
            pixels.append(picture.pixels[top : top + h, left : left + w])
            owners.append(index)
    return Crops(pixels, np.stack([warped(crop, plane) for crop in pixels]), np.array(owners))


def warped(pixels: np.ndarray, side: int) -> np.ndarray:
    """`pixels` [H, W, 3] resized to side x side."""
    return np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BILINEAR))


def windows(
    source: Crops, chosen: np.ndarray, views: Sequence[View], window: int, rng: np.random.Generator, flips: np.ndarray
) -> tuple[Tensor, ...]:
    """A random window of every chosen crop for each view, local or warp: [n, 3, window, window] uint8 tensors.

    flips: [n], whether all windows of a crop are mirrored.
    """
    plane = source.planes.shape[1]
    made = [np.empty((len(chosen), window, window, 3), np.uint8) for _ in views]
    for row, (index, flip) in enumerate(zip(chosen, flips, strict=True)):
        for view, rows in zip(views, made, strict=True):
            cut = _local_window(source.pixels[index], plane, window, rng) if view == "local" else None
            if cut is None:
                top, left = rng.integers(plane - window + 1, size=2)
                cut = source.planes[index][top : top + window, left : left + window]
            rows[row] = cut[:, :: -1 if flip else 1]
    return tuple(torch.from_numpy(rows).permute(0, 3, 1, 2) for rows in made)


def _local_window(pixels: np.ndarray, plane: int, window: int, rng: np.random.Generator) -> np.ndarray:
    height, width = pixels.shape[:2]
    inner = rng.integers(plane - window + 1, size=2)
    top, left = rng.integers(height - plane + 1) + inner[0], rng.integers(width - plane + 1) + inner[1]
    return pixels[top : top + window, left : left + window]


def channel_mean(pictures: Sequence[Picture]) -> tuple[float, float, float]:
    """Mean of each channel over pictures, in levels, to one decimal."""
    red, green, blue = np.mean([picture.pixels.reshape(-1, 3).mean(axis=0) for picture in pictures], axis=0)
    return round(float(red), 1), round(float(green), 1), round(float(blue), 1)
