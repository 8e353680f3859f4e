"""Changes to photographs that produce known faults and known near-duplicates."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

from studies.taste.faults import FAULTS as TASTE

Change = Callable[[Image.Image], Image.Image]

_SUFFIXES = (".jpg", ".jpeg", ".png")
_BY_NAME = {fault.name: fault for fault in TASTE}


def photographs(data: Path, every: int, first: int = 0) -> list[Path]:
    """Every `every`-th real photograph of the data folder, sorted by path, from number `first`."""
    folders = (data / "oasis" / "images", data / "photos")
    return sorted(path for folder in folders for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES)[first::every]


def opened(path: Path) -> Image.Image:
    """The photograph, RGB."""
    with Image.open(path) as image:
        return image.convert("RGB")


def _taste(name: str, strength: float) -> Change:
    def apply(image: Image.Image) -> Image.Image:
        return _BY_NAME[name].apply(image, strength, np.random.default_rng(0))

    return apply


def _contrast(share: float) -> Change:
    return lambda image: Image.eval(image, lambda level: round(118 + share * (level - 118)))


def _small(side: int) -> Change:
    def apply(image: Image.Image) -> Image.Image:
        by = side / min(image.size)
        return image.resize((max(1, round(image.width * by)), max(1, round(image.height * by))), Image.Resampling.BICUBIC)

    return apply


def _covered(share: float) -> Change:
    """A change that paints all but a central rectangle, of this share of the sides, in one colour."""

    def apply(image: Image.Image) -> Image.Image:
        width, height = round(image.width * share), round(image.height * share)
        plain = Image.new("RGB", image.size, (128, 132, 136))
        plain.paste(image.resize((width, height)), ((image.width - width) // 2, (image.height - height) // 2))
        return plain

    return apply


# Fault -> name of a change -> the change.
FAULTED: Mapping[str, Mapping[str, Change]] = {
    "blurred": {
        "defocus, sigma 2 pixels of 800": _taste("defocus", 2),
        "defocus, 4.5 pixels": _taste("defocus", 4.5),
        "shake along 14 pixels": _taste("shake", 14),
        "shake along 26 pixels": _taste("shake", 26),
    },
    "overexposed": {"+2 stops": _taste("over-exposure", 2), "+3 stops": _taste("over-exposure", 3)},
    "underexposed": {"-2 stops": _taste("under-exposure", -2), "-3 stops": _taste("under-exposure", -3)},
    "flat": {"contrast times 0.4": _contrast(0.4), "contrast times 0.25": _contrast(0.25)},
    "noisy": {"noise of 10 levels": _taste("noise", 10), "noise of 22 levels": _taste("noise", 22)},
    "tiny": {"shorter side 150 pixels": _small(150)},
    "empty": {"nothing but a hundredth of the area": _covered(0.1), "one colour": _covered(0.002)},
}


def _cropped(left: float, top: float, right: float, bottom: float) -> Change:
    def apply(image: Image.Image) -> Image.Image:
        width, height = image.size
        return image.crop((round(left * width), round(top * height), round((1 - right) * width), round((1 - bottom) * height)))

    return apply


def _encoded(quality: int) -> Change:
    def apply(image: Image.Image) -> Image.Image:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality)
        return opened_bytes(buffer.getvalue())

    return apply


def opened_bytes(content: bytes) -> Image.Image:
    """The picture in a file's bytes, RGB."""
    return Image.open(io.BytesIO(content)).convert("RGB")


def _turned(degrees: float) -> Change:
    inner = _cropped(0.04, 0.04, 0.04, 0.04)
    return lambda image: inner(image.rotate(degrees, Image.Resampling.BICUBIC))


# Changes that leave it the same photograph.
SAME: Mapping[str, Change] = {
    "JPEG of quality 80": _encoded(80),
    "JPEG of quality 30": _encoded(30),
    "half the size": lambda image: image.resize((image.width // 2, image.height // 2), Image.Resampling.BICUBIC),
    "cropped by 2 % at each side": _cropped(0.02, 0.02, 0.02, 0.02),
    "cropped by 4 % at each side": _cropped(0.04, 0.04, 0.04, 0.04),
    "cropped by 5 % at two sides": _cropped(0.05, 0.05, 0, 0),
    "brightness times 1.3": lambda image: ImageEnhance.Brightness(image).enhance(1.3),
    "brightness times 0.6": lambda image: ImageEnhance.Brightness(image).enhance(0.6),
    "turned by 2 degrees": _turned(2),
    "without colour": lambda image: image.convert("L").convert("RGB"),
}
# The next exposure of a burst: the camera has moved.
NEXT: Mapping[str, Change] = {
    "moved by 5 % both ways": _cropped(0.05, 0.05, 0, 0),
    "moved by 10 % both ways": _cropped(0.1, 0.1, 0, 0),
    "moved by 10 % sideways": _cropped(0.1, 0, 0, 0),
    "nearer by 6 % at each side": _cropped(0.06, 0.06, 0.06, 0.06),
}
