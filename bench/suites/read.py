"""Reading photographs: from a JPEG file's bytes to its digest and the picture from which views are made, on one thread.

Times are processor times: a photograph's cost where others are read in parallel.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageCms

from bench import cases, icc
from bench.effort import Effort
from bench.row import OURS, Found, Refused, Row
from bench.timing import median_and_spread
from dcnn_fast.data import reading, upright
from dcnn_fast.data.reduction import reduced

MEGAPIXELS = (5, 12, 24, 50)
LONG_SIDE = 500  # pixels: the shipped model's
KINDS = SRGB, TURNED, P3, ADOBE = "sRGB", "sRGB, turned by its EXIF", "Display P3", "Adobe RGB"
PILLOW, TO_TENSOR = "Pillow, decoding alone", "Pillow to tensor"
PRECISION = "bytes"
_PROFILES = {P3: icc.DISPLAY_P3, ADOBE: icc.ADOBE_RGB}
_ON_ITS_SIDE = 6
_ORIENTATION = 0x0112


def case(kind: str, megapixels: int) -> str:
    """The name of one size and kind of file."""
    return f"{megapixels} MP JPEG, {kind}"


def rows(effort: Effort) -> Iterator[Found]:
    """Processor seconds for a file of each size and kind."""
    torch.set_num_threads(1)
    for megapixels in MEGAPIXELS:
        pixels = _picture(megapixels * effort.read_share)
        for kind in KINDS:
            yield from _of_file(case(kind, megapixels), _File(_encoded(pixels, kind), kind), effort.rounds)


@dataclass(frozen=True)
class _File:
    """A JPEG file, and the measured ways to read it."""

    data: bytes
    kind: str

    def ours(self) -> np.ndarray:
        """The work of `Scorer` before it makes views. Returns their source picture."""
        photo = reading.read(self.data)
        digest, pixels = photo.summary(LONG_SIDE)
        assert digest
        return pixels

    def bare(self) -> Image.Image:
        """Pillow's decoding, without rotation or colour conversion."""
        image = Image.open(io.BytesIO(self.data))
        image.load()
        return image

    def to_tensor(self) -> torch.Tensor:
        """The result of torchvision's `to_tensor`, pyiqa's input: float32 [3, H, W] from 0 to 1."""
        pixels = np.array(Image.open(io.BytesIO(self.data)).convert("RGB"))
        return torch.from_numpy(pixels).permute(2, 0, 1).contiguous().to(torch.float32).div(255)

    def expected(self) -> np.ndarray:
        """The pixels by separate steps of Pillow and lcms."""
        image = self.bare()
        if self.kind in _PROFILES:
            profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
            image = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB")) or image
        return upright.by_numpy(np.asarray(image), _ON_ITS_SIDE) if self.kind == TURNED else np.asarray(image)


def _of_file(name: str, file: _File, rounds: int) -> Iterator[Found]:
    expected, read = file.expected(), reading.read(file.data)
    if not np.array_equal(read.pixels, expected) or not np.array_equal(file.ours(), reduced(expected, LONG_SIDE)):
        yield Refused("read", name, 1, OURS, "the pixels are not those of Pillow and lcms")
        return
    if reading.read(file.data).summary(LONG_SIDE)[0] != read.digest:
        yield Refused("read", name, 1, OURS, "the digest is not that of the pixels")
        return
    ways: dict[str, Callable[[], object]] = {OURS: file.ours, PILLOW: file.bare, TO_TENSOR: file.to_tensor}
    turns = [{by: _processor_seconds(way) for by, way in ways.items()} for _ in range(rounds)]
    times = {by: median_and_spread([turn[by] for turn in turns]) for by in ways}
    base = times[PILLOW][0]
    for by, (middle, spread) in times.items():
        note = "seconds of the processor; ratio: over Pillow's decoding alone"
        yield Row("read", name, 1, by, PRECISION, middle, spread, ratio=middle / base, note=note)


def _processor_seconds(way: Callable[[], object]) -> float:
    start = time.thread_time()
    way()
    return time.thread_time() - start


def _picture(megapixels: float) -> np.ndarray:
    """A photograph of that size with aspect ratio 3 : 2."""
    height = round((megapixels * 1e6 / 1.5) ** 0.5)
    return cases.photograph(height, height * 3 // 2)


def _encoded(pixels: np.ndarray, kind: str) -> bytes:
    """A JPEG file as cameras write it: quality 92, colours at half the horizontal resolution."""
    exif = Image.Exif()
    if kind == TURNED:
        exif[_ORIENTATION] = _ON_ITS_SIDE
    buffer = io.BytesIO()
    profile = icc.of_primaries(_PROFILES[kind], "cam") if kind in _PROFILES else None
    Image.fromarray(pixels).save(buffer, "JPEG", quality=92, subsampling="4:2:2", exif=exif, icc_profile=profile)
    return buffer.getvalue()
