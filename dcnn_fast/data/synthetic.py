"""Makes small data sets of drawn pictures in every format that `load_set` and `data import` read, for trials and tests.

Ratings follow the pictures (`drawing.picture`), so that a small network learns them in seconds.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dcnn_fast.data import para
from dcnn_fast.data.drawing import picture
from dcnn_fast.data.names import CATEGORIES, LISTS, STYLE_LISTS
from dcnn_fast.networks import STYLES

_VOTES = 200
_FEWEST = 64  # so that no list of a small AVA is empty


def make(
    kind: str,
    out: str | os.PathLike[str],
    *,
    images: int = 128,
    seed: int = 0,
    corrupt: int = 0,
    missing: int = 0,
    crlf: bool = False,
    sides: tuple[int, int] = (64, 128),
) -> Path:
    """Write a set of drawn pictures below the folder `out`, which must be new or empty; returns the path for `load_set`.

    kind: "ava" (AVA.txt, aesthetics_image_lists, style_image_lists, images; `load_set` kinds "ava" and "ava-style"), "iad"
    (iad.csv), "folders" (train and test with a folder for each of low and high), "csv" (ratings.csv: rating 1 to 7, group,
    category), "histograms" (ratings.csv: r1 to r10, split, attribute), "idealo" (labels.json), "nima" (labels.csv) or "para"
    (annotation, imgs), the last three for `data import`. A CSV's or JSON's path is returned, else `out`.
    images: the number of listed pictures, 64 or more. seed: equal seeds give equal files. corrupt: the number of files cut
    short. missing: the number of listed files not written. crlf: text files have AVA's line endings. sides: the pictures'
    shortest and longest side in pixels; each side of each picture is drawn at random. Raises ValueError for any other argument,
    OSError naming the file that cannot be written.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    if images < _FEWEST:
        raise ValueError(f"images must be at least {_FEWEST}, got {images}")
    if min(corrupt, missing) < 0 or corrupt + missing > images // 2:
        raise ValueError(f"corrupt and missing must be 0 or more and at most half of images, got {corrupt} and {missing}")
    if seed < 0:
        raise ValueError(f"seed must not be negative, got {seed}")
    if not 1 <= sides[0] <= sides[1]:
        raise ValueError(f"sides must be the shortest and the longest side, got {sides}")
    folder = Path(out)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"out must be a new or an empty folder, got {folder}")
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    writer = _Writer(folder, rng, "\r\n" if crlf else "\n", (sides[0], sides[1] + 1), *_spoiled(rng, images, corrupt, missing))
    return _MAKERS[kind](writer, images)


def _spoiled(rng: np.random.Generator, images: int, corrupt: int, missing: int) -> tuple[frozenset[int], frozenset[int]]:
    """The numbers of the pictures to cut short and of those to leave out, in the order of drawing."""
    chosen = rng.permutation(images)[: corrupt + missing].tolist()
    return frozenset(chosen[:corrupt]), frozenset(chosen[corrupt:])


@dataclass
class _Writer:
    """Writes pictures and text files, for sets of every kind."""

    folder: Path
    rng: np.random.Generator
    newline: str
    sides: tuple[int, int]
    corrupt: frozenset[int]
    missing: frozenset[int]
    drawn: int = field(default=0)

    def picture(self, name: str, quality: float, **what: Any) -> None:
        """Draw the next picture into the file `name`, unless it is to be missing; a corrupt one is cut short."""
        number, self.drawn = self.drawn, self.drawn + 1
        image = picture(self.rng, quality, sides=self.sides, **what)
        if number in self.missing:
            return
        path = self.folder / name
        with _naming(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            encoded = io.BytesIO()  # Pillow does not notice incomplete writes to a file
            image.save(encoded, "JPEG", quality=90)
            path.write_bytes(encoded.getvalue())
            if number in self.corrupt:
                os.truncate(path, path.stat().st_size // 2)

    def lines(self, name: str, lines: Iterable[object]) -> None:
        """Write a text file."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with _naming(path), open(path, "w", encoding="utf-8", newline=self.newline) as file:
            file.writelines(f"{line}\n" for line in lines)

    def table(self, name: str, head: Sequence[str], rows: Iterable[Sequence[object]]) -> Path:
        """Write a CSV file."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with _naming(path), open(path, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator=self.newline)
            writer.writerow(head)
            writer.writerows(rows)
        return path


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Add the file's path to an OSError, which lacks it when a write fails."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from None


def _qualities(rng: np.random.Generator, count: int) -> np.ndarray:
    """Qualities [count] from 0 to 1: six in ten above 0.55, the others below 0.45, in random order."""
    high = rng.permutation(count) < round(0.6 * count)
    return np.where(high, rng.uniform(0.55, 0.95, count), rng.uniform(0.05, 0.45, count))


def _votes(rng: np.random.Generator, quality: float) -> np.ndarray:
    """200 votes [10] with a mean near 1.9 to 8.1, above 5 exactly when quality is above 0.5."""
    mean = 1.5 + 7 * quality
    histogram = rng.multinomial(_VOTES, _binomial((mean - 1) / 9))
    while (histogram @ np.arange(1, 11) > 5 * _VOTES) != (quality > 0.5):
        histogram = rng.multinomial(_VOTES, _binomial((mean - 1) / 9))
    return np.asarray(histogram)


def _binomial(chance: float) -> np.ndarray:
    """Probabilities [10] of 0 to 9 successes in nine tries."""
    ways = np.array([1, 9, 36, 84, 126, 126, 84, 36, 9, 1])
    successes = np.arange(10)
    return np.asarray(ways * chance**successes * (1 - chance) ** (9 - successes))


def _ava(writer: _Writer, count: int) -> Path:
    rng = writer.rng
    ids = np.sort(rng.choice(np.arange(10_000, 1_000_000), count, replace=False))
    order = rng.permutation(count)
    test, listed = order[: count // 4], order[count // 4 : 3 * count // 4]
    category = np.full(count, -1)
    for part in (test, listed):
        category[part] = np.arange(len(part)) % len(CATEGORIES)
    styled = rng.permutation(count)
    style_test, style_train = styled[: count // 8], styled[count // 8 : count // 8 + count // 2]
    styles: dict[int, tuple[int, ...]] = {int(k): (i % len(STYLES),) for i, k in enumerate(style_train)}
    for i, k in enumerate(style_test.tolist()):
        wanted = 0 if i == 0 else 1 + i % 2
        styles[k] = tuple(sorted(rng.choice(len(STYLES), wanted, replace=False).tolist()))
    qualities = _qualities(rng, count)
    rows = []
    for k, (image, quality) in enumerate(zip(ids.tolist(), qualities.tolist(), strict=True)):
        writer.picture(f"images/{image}.jpg", quality, motif=int(category[k]), styles=styles.get(k, ()))
        challenge = 1 + k % 7
        rows.append(" ".join(map(str, [k + 1, image, *_votes(rng, quality), 0, 0, challenge])))
    writer.lines("AVA.txt", rows)
    for name, part in (("train", listed), ("test", test)):
        for index, words in enumerate(CATEGORIES):
            writer.lines(f"{LISTS}/{words}_{name}.jpgl", ids[part[category[part] == index]])
    writer.lines(f"{LISTS}/generic_test.jpgl", ids[test])
    writer.lines(f"{LISTS}/generic_ls_train.jpgl", ids[listed])
    writer.lines(f"{LISTS}/generic_ss_train.jpgl", ids[listed[: len(listed) // 8]])
    writer.lines(f"{STYLE_LISTS}/styles.txt", [f"{index} {name}" for index, name in enumerate(STYLES, 1)])
    writer.lines(f"{STYLE_LISTS}/train.jpgl", ids[style_train])
    writer.lines(f"{STYLE_LISTS}/train.lab", [styles[k][0] + 1 for k in style_train.tolist()])
    writer.lines(f"{STYLE_LISTS}/test.jpgl", ids[style_test])
    multilab = [" ".join(str(int(s in styles[k])) for s in range(len(STYLES))) for k in style_test.tolist()]
    writer.lines(f"{STYLE_LISTS}/test.multilab", multilab)
    return writer.folder


def _iad(writer: _Writer, count: int) -> Path:
    rows = []
    for k, quality in enumerate(_qualities(writer.rng, count).tolist()):
        source, rating = ("dpchallenge", 1.5 + 7 * quality) if k % 5 == 0 else ("photonet", 4.88 + 4 * (quality - 0.5))
        name = f"{source}/{k:05d}.jpg"
        writer.picture(name, quality)
        rows.append((name, source, round(rating, 4)))
    return writer.table("iad.csv", ("path", "source", "rating"), rows)


def _folders(writer: _Writer, count: int) -> Path:
    for k, quality in enumerate(_qualities(writer.rng, count).tolist()):
        part, label = "test" if k % 4 == 0 else "train", "high" if quality > 0.5 else "low"
        writer.picture(f"{part}/{label}/{k:05d}.jpg", quality)
    return writer.folder


def _csv(writer: _Writer, count: int) -> Path:
    rows = []
    for k, quality in enumerate(_qualities(writer.rng, count).tolist()):
        category, name = k % 4, f"images/{k:05d}.jpg"
        writer.picture(name, quality, motif=category)
        rows.append((name, round(1 + 6 * quality, 3), f"theme{k // 3}", CATEGORIES[category]))
    return writer.table("ratings.csv", ("path", "rating", "group", "category"), rows)


def _histograms(writer: _Writer, count: int) -> Path:
    rows = []
    for k, quality in enumerate(_qualities(writer.rng, count).tolist()):
        style, name = k % 3, f"images/{k:05d}.jpg"
        writer.picture(name, quality, styles=(style,))
        rows.append((name, *_votes(writer.rng, quality), "test" if k % 4 == 0 else "train", STYLES[style]))
    return writer.table("ratings.csv", ("path", *(f"r{i}" for i in range(1, 11)), "split", "attribute"), rows)


def _idealo(writer: _Writer, count: int) -> Path:
    entries = []
    for k, quality in enumerate(_qualities(writer.rng, count).tolist()):
        writer.picture(f"images/{10_000 + k}.jpg", quality)
        entries.append({"image_id": str(10_000 + k), "label": _votes(writer.rng, quality).tolist()})
    path = writer.folder / "labels.json"
    with _naming(path):
        path.write_text(json.dumps(entries), encoding="utf-8")
    return path


def _nima(writer: _Writer, count: int) -> Path:
    rows = []
    for k, quality in enumerate(_qualities(writer.rng, count).tolist()):
        writer.picture(f"images/{10_000 + k}.jpg", quality)
        rows.append((k, 10_000 + k, *(_votes(writer.rng, quality) / _VOTES)))
    return writer.table("labels.csv", ("", "image_id", *(f"rating{i}" for i in range(1, 11))), rows)


def _para(writer: _Writer, count: int) -> Path:
    """PARA with a quarter as the test part, in full rows; the training part has only the file of means, as some copies do."""
    means, test = [], []
    for k, quality in enumerate(_qualities(writer.rng, count).tolist()):
        session, name, rating = f"session{k // 16}", f"iaa_pub{k}_.jpg", round(1 + 4 * quality, 6)
        category = k // 4 % 4
        writer.picture(f"{para.IMAGES}/{session}/{name}", quality, motif=category)
        means.append((k, name, rating))
        if k % 4 == 0:
            scores = np.clip(rating + writer.rng.uniform(-0.5, 0.5, len(para.ATTRIBUTES)), 1, 5).round(6)
            test.append((name, session, CATEGORIES[category], rating, *scores))
    head = ("imageName", "sessionId", "semantic", "aestheticScore_mean", *para.ATTRIBUTES.values())
    writer.table(f"{para.ANNOTATION}/{para.TEST}", head, test)
    writer.table(f"{para.ANNOTATION}/{para.MEANS}", ("", "image_label", "aesthetic_score"), means)
    return writer.folder


_MAKERS: dict[str, Callable[[_Writer, int], Path]] = {
    "ava": _ava, "iad": _iad, "folders": _folders, "csv": _csv, "histograms": _histograms, "idealo": _idealo, "nima": _nima,
    "para": _para,
}  # fmt: skip
KINDS = tuple(_MAKERS)
