"""Scores a long row of small pictures of all formats, some of them bad, and fails where memory or anything held grows.

    python -m tools.soak [--pictures 20000] [--model FILE] [--samples 2] [--workers 2]

Every 500 pictures it prints what the process has: memory (VmRSS, and its peak VmHWM), threads, open files. The first quarter
warms up. From then on a line through VmRSS must not rise by more than 400 bytes a picture or, in short runs, than an allocator
may keep (8 MB); threads and open files must not be more than in the warm-up, but for some in use at the moment. Exit status 1
where they are.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from dcnn_fast import Scorer

EVERY = 500
BYTES_A_PICTURE = 400
KEPT = 8_000_000  # bytes
IN_USE = 16  # threads or files at the moment of a look: from decoders and pictures being read
WARM_UP = 4  # the first of this many parts

_KINDS: tuple[tuple[str, str, dict[str, object]], ...] = (
    ("JPEG", "RGB", {}), ("JPEG", "RGB", {"progressive": True}), ("JPEG", "CMYK", {}), ("JPEG", "L", {}), ("PNG", "RGB", {}),
    ("PNG", "RGBA", {}), ("PNG", "P", {"transparency": 0}), ("PNG", "1", {}), ("PNG", "I;16", {}), ("GIF", "P", {}),
    ("WEBP", "RGB", {}), ("WEBP", "RGBA", {"lossless": True}), ("TIFF", "RGB", {"compression": "tiff_lzw"}), ("BMP", "RGB", {}),
    ("TIFF", "LAB", {}), ("AVIF", "RGB", {"speed": 10}), ("JPEG2000", "RGB", {}),
)  # fmt: skip


@dataclass(frozen=True)
class Look:
    """The process's resources after a number of pictures. rss, peak: bytes."""

    pictures: int
    rss: int
    peak: int
    threads: int
    files: int


def look(pictures: int) -> Look:
    """The present resources."""
    lines = (line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    status = {name: value.split()[0] for name, value in lines if value.split()}
    rss, peak = (1024 * int(status[name]) for name in ("VmRSS", "VmHWM"))
    return Look(pictures, rss, peak, int(status["Threads"]), len(os.listdir("/proc/self/fd")))


def make(folder: Path) -> list[Path]:
    """Pictures of each format at two sizes, and for each format one that is truncated or has changed bytes."""
    rng, made = np.random.default_rng(0), []
    for number, (kind, mode, options) in enumerate(_KINDS):
        for size in (60, 300):
            pixels = rng.integers(0, 256, (size, size + number, 3)).astype(np.uint8)
            image = Image.fromarray(pixels)
            if mode == "I;16":
                image = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
            elif mode == "LAB":
                image = Image.frombytes("LAB", image.size, pixels.tobytes())
            else:
                image = image.convert(mode)
            buffer = io.BytesIO()
            image.save(buffer, kind, **options)
            made.append(folder / f"{number}-{size}.jpg")
            made[-1].write_bytes(buffer.getvalue())
        content = bytearray(buffer.getvalue()[: -len(buffer.getvalue()) // 3])
        content[len(content) // 2] ^= 0xFF
        made.append(folder / f"{number}-bad.jpg")
        made[-1].write_bytes(content)
    (folder / "empty.jpg").touch()
    return [*made, folder / "empty.jpg", folder / "missing.jpg", folder]


def growth(looks: list[Look]) -> tuple[float, list[str]]:
    """The growth of memory after the warm-up in bytes per picture, and the faults, a line each."""
    warm = looks[: max(1, len(looks) // WARM_UP)]
    rest = looks[len(warm) - 1 :]
    counts = np.array([each.pictures for each in rest], float)
    slope = float(np.polyfit(counts, [each.rss for each in rest], 1)[0]) if len(rest) > 1 else 0.0
    wrong = []
    if slope > BYTES_A_PICTURE and slope * (counts[-1] - counts[0]) > KEPT:
        wrong.append(f"memory grows by {slope:.0f} bytes a picture")
    for name in ("threads", "files"):
        before, after = (max(getattr(each, name) for each in part) for part in (warm, rest))
        if after > before + IN_USE:
            wrong.append(f"{name} grow from {before} to {after}")
    return slope, wrong


def soak(scorer: Scorer, pictures: int, workers: int) -> tuple[list[Look], int]:
    """The looks, one every `EVERY` pictures, and the number of pictures that could not be scored."""
    looks, failed = [], 0
    with tempfile.TemporaryDirectory() as folder:
        paths = make(Path(folder))

        def images() -> Iterator[Path]:
            for number in range(pictures):
                yield paths[number * 7 % len(paths)]

        for number, score in enumerate(scorer.score_many(images(), workers=workers), 1):
            failed += score.error is not None
            if number % EVERY == 0:
                looks.append(look(number))
                each = looks[-1]
                print(
                    f"{number:7} pictures: {each.rss / 1e6:.1f} MB, peak {each.peak / 1e6:.1f} MB, {each.threads} threads, "
                    f"{each.files} files, {failed} not scored",
                    flush=True,
                )
    return looks, failed


def main() -> int:
    """Run the command. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.soak")
    parser.add_argument("--pictures", type=int, default=20_000)
    parser.add_argument("--model", type=Path, default=None, help="a model file; default: the shipped one")
    parser.add_argument("--samples", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    if given.pictures < 2 * WARM_UP * EVERY // 4:
        parser.error(f"--pictures must be at least {2 * WARM_UP * EVERY // 4}")
    looks, failed = soak(Scorer(given.model, samples=given.samples), given.pictures, given.workers)
    slope, wrong = growth(looks)
    print(f"{failed} of {given.pictures} not scored; after the warm-up {slope:+.0f} bytes a picture")
    for line in wrong:
        print(f"error: {line}", file=sys.stderr)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
