"""PARA's photographs for the study: the official split, without training photographs that are also in the test part."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from dcnn_fast.data.para import ATTRIBUTES, Photograph, file_of, photograph_files, read_para
from dcnn_fast.data.reading import read
from studies.processes import spread

SAME = 0.998  # correlation of thumbnails above which two photographs are the same
_THUMBNAIL, _PART = 16, 500
FOLDS = 3  # of the photographs with known attributes and categories; no session is in two folds


@dataclass(frozen=True)
class Collection:
    """The photographs, each with its file; the training part first."""

    photographs: tuple[Photograph, ...]
    files: tuple[str, ...]
    doubles: int  # omitted training photographs that are also in the test part
    missing: int = 0  # listed photographs whose files are missing

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the photographs' names, ratings and parts."""
        text = "\n".join(f"{each.name} {each.rating!r} {each.split}" for each in self.photographs)
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()

    @cached_property
    def ratings(self) -> np.ndarray:
        """The mean ratings."""
        return np.array([photograph.rating for photograph in self.photographs])

    @cached_property
    def train(self) -> np.ndarray:
        """The training part's indices."""
        return np.flatnonzero([photograph.split == "train" for photograph in self.photographs])

    @cached_property
    def test(self) -> np.ndarray:
        """The official test part's indices."""
        return np.flatnonzero([photograph.split == "test" for photograph in self.photographs])

    @cached_property
    def annotated(self) -> np.ndarray:
        """The indices of the test photographs with categories and attributes, which every copy has."""
        return np.array([row for row in self.test if self.photographs[row].category and self.photographs[row].attributes])

    @cached_property
    def threshold(self) -> float:
        """The median rating of the training part: above it a photograph is high."""
        return float(np.median(self.ratings[self.train]))

    @cached_property
    def sessions(self) -> np.ndarray:
        """Each photograph's session, a set rated together by the same people."""
        return np.array([photograph.session for photograph in self.photographs])

    @cached_property
    def categories(self) -> np.ndarray:
        """Each photograph's category, "" where unknown."""
        return np.array([photograph.category for photograph in self.photographs])

    def drawn(self, size: int, seed: int) -> np.ndarray:
        """`size` training photographs drawn by the seed; a smaller draw is a subset of a larger one."""
        return np.sort(np.random.default_rng(seed).permutation(self.train)[:size])

    def fold(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """The annotated photographs to train on and the held-out ones."""
        names = sorted(set(self.sessions[self.annotated]))
        order = np.random.default_rng(0).permutation(len(names))
        held = {names[i] for i in order[number::FOLDS]}
        out = np.array([self.sessions[row] in held for row in self.annotated])
        return self.annotated[~out], self.annotated[out]

    def strongest(self) -> dict[int, str]:
        """The most salient attribute of each annotated photograph: its standardised mean is the greatest."""
        values = np.array([self.photographs[row].attributes for row in self.annotated])
        standard = (values - values.mean(axis=0)) / values.std(axis=0)
        names = tuple(ATTRIBUTES)
        return {int(row): names[best] for row, best in zip(self.annotated, standard.argmax(axis=1), strict=True)}

    def table(self, path: Path, train: Sequence[int] | np.ndarray, test: Sequence[int] | np.ndarray) -> Path:
        """Write the CSV file for the commands, unless it exists."""
        if path.exists():
            return path
        strongest = self.strongest()
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        with partial.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("path", "rating", "split", "category", "attribute"))
            for split, rows in (("train", train), ("test", test)):
                for row in rows:
                    photograph = self.photographs[row]
                    writer.writerow(
                        (self.files[row], photograph.rating, split, photograph.category, strongest.get(int(row), ""))
                    )
        partial.replace(path)
        return path


def read_collection(folder: Path, workers: int) -> Collection:
    """PARA below `folder`, every photograph with a file. Raises ValueError as `read_para` does."""
    files, named = photograph_files(folder), read_para(folder)
    found = [(photograph, path) for photograph in named if (path := file_of(photograph, files)) is not None]
    if not found:
        raise ValueError(f"{folder}: must have photographs, got none of {len(named)} listed")
    photographs, paths = [photograph for photograph, _ in found], [str(Path(path).absolute()) for _, path in found]
    thumbnails = np.stack(spread(_thumbnail, paths, workers, _PART))
    test = np.array([photograph.split == "test" for photograph in photographs])
    twice = np.zeros(len(photographs), bool)
    twice[~test] = doubled(thumbnails[~test], thumbnails[test])
    kept = np.flatnonzero(~twice)
    missing = len(named) - len(found)
    return Collection(tuple(photographs[i] for i in kept), tuple(paths[i] for i in kept), int(twice.sum()), missing)


def doubled(thumbnails: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Which thumbnails match one of `others`: [n, pixels] and [m, pixels] -> [n] bool."""
    mine, theirs = _standard(thumbnails), _standard(others)
    parts = [mine[start : start + _PART] @ theirs.T for start in range(0, len(mine), _PART)]
    return np.concatenate([(part > SAME).any(axis=1) for part in parts]) if len(mine) else np.zeros(0, bool)


def _standard(thumbnails: np.ndarray) -> np.ndarray:
    centred = thumbnails - thumbnails.mean(axis=1, keepdims=True)
    return np.asarray(centred / (np.linalg.norm(centred, axis=1, keepdims=True) + 1e-6))


def _thumbnail(path: str) -> np.ndarray:
    image = Image.fromarray(read(path).pixels).convert("L").resize((_THUMBNAIL, _THUMBNAIL), Image.Resampling.BOX)
    return np.asarray(image, np.float32).ravel()
