"""Photographic faults for pre-training: pairs of a photograph without and with one of them."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

Fault = Callable[[Image.Image, np.random.Generator], Image.Image]


def _defocus(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(rng.uniform(1.2, 4)))


def _shake(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The average of the image shifted along a line."""
    length, angle = rng.uniform(5, 14), rng.uniform(0, np.pi)
    pixels = np.asarray(image, np.float32)
    steps = np.linspace(-length / 2, length / 2, 9)
    moved = [np.roll(pixels, (round(s * np.sin(angle)), round(s * np.cos(angle))), axis=(0, 1)) for s in steps]
    return Image.fromarray(np.mean(moved, axis=0).round().astype(np.uint8))


def _noise(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    pixels = np.asarray(image, np.float32)
    return _clipped(pixels + rng.normal(0, rng.uniform(12, 35), pixels.shape))


def _compression(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    return jpeg(image, int(rng.integers(5, 16)))


def _tilt(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The image rotated by 5 to 15 degrees and cropped so that no corner shows."""
    angle = rng.uniform(5, 15) * rng.choice([-1, 1])
    turned = image.rotate(angle, Image.Resampling.BILINEAR)
    width, height = image.size
    return turned.crop((width // 6, height // 6, width - width // 6, height - height // 6)).resize(image.size)


def _vignette(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    pixels = np.asarray(image, np.float32)
    y, x = np.mgrid[-1 : 1 : pixels.shape[0] * 1j, -1 : 1 : pixels.shape[1] * 1j]
    return _clipped(pixels * (1 - rng.uniform(0.4, 0.7) * (x**2 + y**2) / 2 * 1.4)[..., None])


def _exposure(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    factor = rng.uniform(0.3, 0.55) if rng.random() < 0.5 else rng.uniform(1.6, 2.4)
    return ImageEnhance.Brightness(image).enhance(factor)


def _cast(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    gains = np.ones(3, np.float32)
    gains[rng.integers(3)] = rng.uniform(0.55, 0.75)
    gains[rng.integers(3)] *= rng.uniform(1.15, 1.35)
    return _clipped(np.asarray(image, np.float32) * gains)


FAULTS: dict[str, Fault] = {
    "defocus": _defocus, "shake": _shake, "noise": _noise, "compression": _compression,
    "tilt": _tilt, "vignette": _vignette, "exposure": _exposure, "cast": _cast,
}  # fmt: skip


def _clipped(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(pixels.clip(0, 255).round().astype(np.uint8))


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    """The image after JPEG compression."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def pair(pixels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A photograph and the same with one fault, both compressed at the same quality, so that they differ only in the fault."""
    image = Image.fromarray(pixels)
    fault = FAULTS[str(rng.choice(list(FAULTS)))]
    quality = int(rng.integers(80, 96))
    return np.asarray(jpeg(image, quality)), np.asarray(jpeg(fault(image, rng), quality))
