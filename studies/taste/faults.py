"""Photographic faults in three strengths: a photograph must score lower with a fault than without it.

The study's bars refer to strength 2, the visible one; 1 is subtle, 3 is strong. Lengths in pixels are for a long side of 800,
to which they are proportional.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

_SIDE = 800


@dataclass(frozen=True)
class Fault:
    """apply: adds the fault, given the photograph, the strength and a generator for directions. strengths: from subtle to
    strong.

    what: a description with a placeholder for the strength. bar: the required share of faulted photographs that score lower at
    the visible strength.
    """

    name: str
    apply: Callable[[Image.Image, float, np.random.Generator], Image.Image]
    strengths: tuple[float, ...]
    what: str
    bar: float

    def levels(self) -> Iterator[tuple[int, float]]:
        """(1, subtle), (2, visible), (3, strong); only (2, 0.0) for a fault without strengths."""
        return iter(enumerate(self.strengths, 1) if len(self.strengths) > 1 else ((2, self.strengths[0]),))


def _defocus(image: Image.Image, sigma: float, _: np.random.Generator) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(_scaled(sigma, image)))


def _shake(image: Image.Image, length: float, rng: np.random.Generator) -> Image.Image:
    """The mean of the photograph shifted along a line in a random direction."""
    reach, angle = _scaled(length, image), rng.uniform(0, math.pi)
    pixels, steps = np.asarray(image, np.float32), max(3, int(reach) + 1)
    rows, cols = pixels.shape[:2]
    rim = int(reach) + 2
    around = np.pad(pixels, ((rim, rim), (rim, rim), (0, 0)), mode="reflect")
    total = np.zeros_like(pixels)
    for step in np.linspace(-reach / 2, reach / 2, steps):
        top, left = rim + round(step * math.sin(angle)), rim + round(step * math.cos(angle))
        total += around[top : top + rows, left : left + cols]
    return _image(total / steps)


def _noise(image: Image.Image, deviation: float, rng: np.random.Generator) -> Image.Image:
    pixels = np.asarray(image, np.float32)
    return _image(pixels + rng.normal(0, deviation, pixels.shape))


def _compression(image: Image.Image, quality: float, _: np.random.Generator) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=int(quality))
    return Image.open(buffer).convert("RGB")


def _exposure(image: Image.Image, stops: float, _: np.random.Generator) -> Image.Image:
    return _image(_encoded(_linear(image) * 2**stops))


def _tilt(image: Image.Image, degrees: float, rng: np.random.Generator) -> Image.Image:
    """The photograph rotated to either side and cropped to the largest rectangle of the same shape without corners."""
    angle, (width, height) = degrees * rng.choice([-1, 1]), image.size
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    share = min(width / (width * cos + height * sin), height / (width * sin + height * cos))
    across, down = width * share, height * share
    box = [round(each) for each in ((width - across) / 2, (height - down) / 2, (width + across) / 2, (height + down) / 2)]
    return image.rotate(angle, Image.Resampling.BICUBIC).crop((box[0], box[1], box[2], box[3]))


def _cast(image: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    """A colour cast of random hue: the channels' gains in linear light are at most e ** (2 * strength)."""
    hue = rng.uniform(0, 2 * math.pi)
    gains = np.exp(2 * strength * np.cos(hue - np.array([0, 2, -2]) * math.pi / 3))
    return _image(_encoded(_linear(image) * gains))


def _clipped(image: Image.Image, factor: float, _: np.random.Generator) -> Image.Image:
    return _image((np.asarray(image, np.float32) - 128) * factor + 128)


def _enlarged(image: Image.Image, factor: float, _: np.random.Generator) -> Image.Image:
    """The photograph reduced by the factor and enlarged again."""
    width, height = image.size
    by = max(1.0, _scaled(factor, image))
    small = image.resize((max(2, round(width / by)), max(2, round(height / by))), Image.Resampling.BOX)
    return small.resize((width, height), Image.Resampling.BICUBIC)


def _upside_down(image: Image.Image, _: float, __: np.random.Generator) -> Image.Image:
    return image.transpose(Image.Transpose.ROTATE_180)


FAULTS = (
    Fault("defocus", _defocus, (2, 4.5, 8), "Gaussian, sigma {:g} pixels", 0.90),
    Fault("shake", _shake, (6, 14, 26), "moved along {:g} pixels", 0.90),
    Fault("noise", _noise, (10, 22, 42), "deviation of {:g} levels", 0.90),
    Fault("compression", _compression, (18, 9, 4), "JPEG quality {:g}", 0.90),
    Fault("over-exposure", _exposure, (1, 2, 3), "{:+g} stops", 0.90),
    Fault("under-exposure", _exposure, (-1, -2, -3), "{:+g} stops", 0.90),
    Fault("tilt", _tilt, (4, 9, 16), "{:g} degrees", 0.75),
    Fault("colour cast", _cast, (0.12, 0.28, 0.5), "strength {:g} (gains up to e to twice that)", 0.75),
    Fault("clipped", _clipped, (1.5, 2.4, 4), "contrast times {:g}", 0.75),
    Fault("enlarged", _enlarged, (2.5, 5, 9), "from {:g} times fewer pixels a side", 0.75),
    Fault("upside down", _upside_down, (0,), "turned by 180 degrees", 0.75),
)


def _scaled(pixels: float, image: Image.Image) -> float:
    return pixels * max(image.size) / _SIDE


def _linear(image: Image.Image) -> np.ndarray:
    """Linear light, 0 to 1, from sRGB levels."""
    levels = np.asarray(image, np.float64) / 255
    return np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)


def _encoded(light: np.ndarray) -> np.ndarray:
    """sRGB levels from linear light, clipped at white."""
    light = light.clip(0, 1)
    return np.asarray(255 * np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055))


def _image(levels: np.ndarray) -> Image.Image:
    return Image.fromarray(np.rint(levels).clip(0, 255).astype(np.uint8))
