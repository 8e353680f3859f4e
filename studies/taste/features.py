"""Features of the photographs, clean, mirrored and with every fault: the frozen layers' means."""

from __future__ import annotations

import csv
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from dcnn_fast.data.reading import read
from dcnn_fast.data.reduction import reduced
from dcnn_fast.nets import BackboneColumn, import_lite, lite_column
from dcnn_fast.networks.efficientnet import Lite, lite_stages
from dcnn_fast.ops import views
from studies.processes import spread
from studies.taste.faults import FAULTS
from studies.wheels import lite_weights

LITE: Lite = "lite2"
STAGES = tuple(range(len(lite_stages(LITE))))
LONG_SIDE = 500  # OASIS's photographs', the training set
CLEAN, MIRRORED = "clean", "mirrored"


@dataclass(frozen=True)
class Rated:
    """OASIS's photographs by file name, with their mean ratings 1 to 7, themes and categories."""

    names: list[str]
    ratings: np.ndarray
    themes: np.ndarray
    categories: np.ndarray

    @property
    def high(self) -> np.ndarray:
        """Whether each rating is above the median of all."""
        return np.asarray(self.ratings > np.median(self.ratings))


@dataclass(frozen=True)
class Features:
    """values: [rows, features] float32. rows: the row of each (photograph, variant, level); clean ones have level 0."""

    values: np.ndarray
    rows: dict[tuple[str, str, int], int]

    def of(self, names: Sequence[str], variant: str = CLEAN, level: int = 0) -> np.ndarray:
        """The rows of these photographs."""
        return np.array([self.rows[name, variant, level] for name in names])

    @property
    def names(self) -> list[str]:
        """The photographs."""
        return list(dict.fromkeys(name for name, _, _ in self.rows))


def rated(data: Path) -> Rated:
    """OASIS (Kurdi et al. 2017) with its mean beauty ratings (Brielmann and Pelli 2019)."""
    with open(data / "oasis" / "ratings.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    ratings = np.array([float(row["beauty_mean"]) for row in rows])
    themes, categories = (np.array([row[name] for row in rows]) for name in ("theme", "category"))
    return Rated([row["file"] for row in rows], ratings, themes, categories)


@lru_cache(maxsize=1)
def frozen_column() -> BackboneColumn:
    """The frozen layers with the model file's weights, in 16 bits."""
    column = lite_column(import_lite(lite_weights(LITE), LITE), LITE, stages=STAGES)
    column.backbone.copy_(column.backbone.half().float())
    return column


def means_of(image: Image.Image) -> np.ndarray:
    """The input of the layers above the frozen ones for a photograph, as in the scorer."""
    column = frozen_column()
    pixels = reduced(np.array(image), LONG_SIDE)
    plane = views.plane(pixels, column.spec.view, column.spec.plane).pixels
    return column.means(torch.from_numpy(plane).permute(2, 0, 1)[None])[0].numpy()


def oasis(data: Path, kept: Path, workers: int) -> Features:
    """The rated photographs' features, cached in the file `kept`."""
    return _features([data / "oasis" / "images" / name for name in rated(data).names], kept / "oasis.npz", workers)


def photos(data: Path, kept: Path, workers: int) -> Features:
    """The features of freely licensed photographs without ratings."""
    return _features(
        sorted((data / "photos").glob("*.jpg")) + sorted((data / "photos").glob("*.png")), kept / "photos.npz", workers
    )


def _features(paths: Sequence[Path], kept: Path, workers: int) -> Features:
    if not kept.exists():
        found = [each for part in spread(_variants, paths, workers, 4, torch.set_num_threads, 1) for each in part]
        keys, values = zip(*found, strict=True)
        kept.parent.mkdir(parents=True, exist_ok=True)
        np.savez(kept, keys=np.array(["|".join(map(str, key)) for key in keys]), values=np.stack(values))
    held = np.load(kept)
    rows = {}
    for row, key in enumerate(held["keys"].tolist()):
        name, variant, level = key.split("|")
        rows[name, variant, int(level)] = row
    return Features(held["values"], rows)


def _variants(path: Path) -> list[tuple[tuple[str, str, int], np.ndarray]]:
    """The photograph clean, mirrored, and with every fault; its name seeds the random directions."""

    def images() -> Iterator[tuple[str, int, Image.Image]]:
        image, rng = Image.fromarray(read(path).pixels), np.random.default_rng(zlib.crc32(path.name.encode()))
        yield CLEAN, 0, image
        yield MIRRORED, 0, image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        for fault in FAULTS:
            for level, strength in fault.levels():
                yield fault.name, level, fault.apply(image, strength, rng)

    return [((path.name, variant, level), means_of(image)) for variant, level, image in images()]
