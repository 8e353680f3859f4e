"""The photographs to read: real ones, or generated ones where none has the size."""

from __future__ import annotations

import os
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from PIL import Image

from bench import cases

FOLDER_VARIABLE = "DCNN_FAST_DATA"
LARGE = (9e6, 17e6)  # pixels: the range that counts as 12 megapixels


def small(count: int) -> list[Path]:
    """`count` JPEG files of the data folder in DCNN_FAST_DATA if set, else those of the extra `demo`."""
    folder = os.environ.get(FOLDER_VARIABLE)
    found = sorted((Path(folder) / "photos").glob("*.jpg")) if folder else _of_packages()
    if not found:
        raise FileNotFoundError(f"no photographs: set {FOLDER_VARIABLE} or install the extra `demo`")
    return [found[i * len(found) // count] for i in range(count)] if len(found) >= count else found


def _of_packages() -> list[Path]:
    found: list[Path] = []
    for package, place in (("sklearn", "datasets/images"), ("skimage", "data")):
        spec = find_spec(package)
        if spec and spec.origin:
            found += sorted((Path(spec.origin).parent / place).glob("*.jpg"))
    return found


def large(count: int, scratch: Path) -> tuple[list[Path], str]:
    """Up to `count` JPEG files of 9 to 17 megapixels, and their description: originals of the data folder, those nearest to 12
    megapixels first, or `count` generated ones of 4000 x 3000, written to `scratch`.
    """
    folder = os.environ.get(FOLDER_VARIABLE)
    originals = _sized(sorted((Path(folder) / "photos_large").glob("*.jpg"))) if folder else []
    if originals:
        chosen = originals[:count]
        return [
            path for _, path in chosen
        ], f"{len(chosen)} original{'s' * (len(chosen) > 1)} of {_sizes(p for p, _ in chosen)}"
    paths = [scratch / f"generated-{number}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        Image.fromarray(cases.photograph(3000, 4000, seed=number)).save(path, quality=90)
    return (
        paths,
        f"{count} generated photograph{'s' * (count > 1)} of 12.0 megapixels ({FOLDER_VARIABLE} has no originals of 9 to 17)",
    )


def _sized(paths: Iterable[Path]) -> list[tuple[int, Path]]:
    """The files of the right size with their numbers of pixels, the nearest to 12 megapixels first."""
    sized = []
    for path in paths:
        with Image.open(path) as image:
            sized.append((image.width * image.height, path))
    return sorted((pair for pair in sized if LARGE[0] <= pair[0] <= LARGE[1]), key=lambda pair: abs(pair[0] - 12e6))


def _sizes(pixels: Iterable[int]) -> str:
    return ", ".join(f"{count / 1e6:.1f}" for count in pixels) + " megapixels"
