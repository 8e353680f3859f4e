"""Photographs, their ratings, and the crops that training sees of them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

LONG_SIDE = 800  # training pictures are at most this long, as the ratings' pictures and photos/ are


@dataclass(frozen=True)
class Picture:
    """One photograph: pixels [H, W, 3] uint8, its mean rating (nan: unrated) and the theme that groups it."""

    pixels: np.ndarray
    rating: float
    theme: str


def _pixels(path: Path) -> np.ndarray:
    image = Image.open(path).convert("RGB")
    image.thumbnail((LONG_SIDE, LONG_SIDE), Image.Resampling.BILINEAR)
    return np.asarray(image)


def rated(data: Path) -> list[Picture]:
    """OASIS with its mean beauty ratings, 1 to 7 (Kurdi et al. 2017; Brielmann and Pelli 2019)."""
    with open(data / "oasis" / "ratings.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    images = data / "oasis" / "images"
    return [Picture(_pixels(images / row["file"]), float(row["beauty_mean"]), row["theme"]) for row in rows]


def unrated(data: Path) -> list[Picture]:
    """Freely licensed photographs without ratings."""
    paths = sorted([*(data / "photos").glob("*.jpg"), *(data / "photos_large").glob("*.jpg")])
    return [Picture(_pixels(path), float("nan"), path.name) for path in paths]


@dataclass(frozen=True)
class Crops:
    """Crops of pictures, each treated as a picture of its own.

    pixels[i]: [h, w, 3] uint8 view of crop i. planes: [n, plane, plane, 3] uint8, each warped. picture: [n] index of the
    picture each comes from.
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


def views(source: Crops, chosen: np.ndarray, window: int, rng: np.random.Generator, *, flip: bool) -> tuple[Tensor, Tensor]:
    """A random local and warp window of every chosen crop: two [n, 3, window, window] uint8 tensors.

    flip: mirror both windows of a crop with probability one half.
    """
    plane = source.planes.shape[1]
    local, warp = (np.empty((len(chosen), window, window, 3), np.uint8) for _ in range(2))
    for row, index in enumerate(chosen):
        mirror = -1 if flip and rng.random() < 0.5 else 1
        local[row] = _local_window(source.pixels[index], plane, window, rng)[:, ::mirror]
        top, left = rng.integers(plane - window + 1, size=2)
        warp[row] = source.planes[index][top : top + window, left : left + window][:, ::mirror]
    return _tensor(local), _tensor(warp)


def _local_window(pixels: np.ndarray, plane: int, window: int, rng: np.random.Generator) -> np.ndarray:
    height, width = pixels.shape[:2]
    inner = rng.integers(plane - window + 1, size=2)
    top, left = rng.integers(height - plane + 1) + inner[0], rng.integers(width - plane + 1) + inner[1]
    return pixels[top : top + window, left : left + window]


def _tensor(images: np.ndarray) -> Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2)
