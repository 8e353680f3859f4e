"""Converts images as Pillow decoded them, in any colour space, to 8-bit sRGB pixels, upright.

Conversion works pixel by pixel, so a picture is converted part by part: besides the decoded picture and the result, memory
holds only one part's copies.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageCms

from dcnn_fast.data import profiles, upright

PART = 2**20  # pixels converted at a time

_SIXTEEN_BIT_MODES = ("I;16", "I;16L", "I;16B", "I;16N")
_PROFILED_MODES = ("L", "RGB", "CMYK", "LAB", "YCbCr")


def upright_srgb(image: Image.Image, orientation: int, background: tuple[int, int, int], notes: list[str]) -> np.ndarray:
    """The pixels of a loaded image: [H, W, 3] uint8, sRGB without alpha, C-contiguous; new memory.

    orientation: EXIF's; values outside 2 to 8 do not turn the image. Remarks for the user are added to `notes`.
    Raises ValueError for pixels without a stated range (floating point, or integers past 16 bits).
    """
    colors = _Colors(image, background, notes)
    width, height = image.size
    result = np.empty((width, height, 3) if orientation in upright.ON_ITS_SIDE else (height, width, 3), np.uint8)
    for left, top, right, bottom in _parts(width, height):
        whole = (right - left, bottom - top) == (width, height)
        rgb = colors.of(image if whole else image.crop((left, top, right, bottom)))
        columns = _reversed(left, right, width) if orientation in upright.COLUMNS_REVERSED else slice(left, right)
        rows = _reversed(top, bottom, height) if orientation in upright.ROWS_REVERSED else slice(top, bottom)
        place = (columns, rows) if orientation in upright.ON_ITS_SIDE else (rows, columns)
        result[place] = upright.turned(np.asarray(rgb), orientation)
    return result


def to_srgb(pixels: np.ndarray, profile: bytes | None, notes: list[str]) -> None:
    """Convert RGB pixels [H, W, 3] uint8, C-contiguous, from their ICC profile to sRGB, in place.

    An unusable profile leaves the pixels unchanged, and a remark is added to `notes`.
    """
    through = _conversion("RGB", profile, notes) if profile else None
    if through is not None:
        through.convert(pixels)


def laid_over(pixels: np.ndarray, background: tuple[int, int, int], notes: list[str]) -> np.ndarray:
    """RGBA pixels [H, W, 4] uint8 laid over `background`: [H, W, 3] uint8."""
    height, width, _ = pixels.shape
    result = np.empty((height, width, 3), np.uint8)
    backdrop = _Backdrop(background, notes)
    for left, top, right, bottom in _parts(width, height):
        part = np.ascontiguousarray(pixels[top:bottom, left:right])
        result[top:bottom, left:right] = np.asarray(backdrop.under(Image.fromarray(part, "RGBA")))
    return result


def eight_bits(values: np.ndarray) -> np.ndarray:
    """uint16 values [H, ...] as uint8, rounded, so that 65535 becomes 255."""
    result = np.empty(values.shape, np.uint8)
    rows = max(1, PART * len(values) // max(1, values.size))
    for top in range(0, len(values), rows):
        result[top : top + rows] = (values[top : top + rows].astype(np.uint32) + 128) // 257
    return result


def _parts(width: int, height: int) -> Iterator[tuple[int, int, int, int]]:
    """Boxes (left, top, right, bottom) of at most `PART` pixels that together cover an image."""
    columns = min(width, PART)
    rows = PART // columns
    for top in range(0, height, rows):
        for left in range(0, width, columns):
            yield left, top, min(left + columns, width), min(top + rows, height)


def _reversed(start: int, stop: int, length: int) -> slice:
    return slice(length - stop, length - start)


class _Backdrop:
    """The background behind transparent pixels; the first part with such pixels adds a note."""

    def __init__(self, background: tuple[int, int, int], notes: list[str]) -> None:
        self._background, self._notes, self._seen = background, notes, False

    def under(self, image: Image.Image) -> Image.Image:
        """The RGBA image laid over the background, as RGB: bit for bit Pillow's `alpha_composite`, in half its time.

        Both round (alpha * pixel + (255 - alpha) * background) / 255 to the nearest.
        """
        alpha = image.getchannel("A").getextrema()
        opaque, clear = alpha == (255, 255), alpha == (0, 0)
        if opaque:
            return image.convert("RGB")
        if not self._seen:
            self._seen = True
            self._notes.append("transparent pixels were laid over RGB " + " ".join(map(str, self._background)))
        base = Image.new("RGB", image.size, self._background)
        if not clear:
            base.paste(image, None, image)
        return base


class _Colors:
    """Converts an image's colours to sRGB."""

    def __init__(self, image: Image.Image, background: tuple[int, int, int], notes: list[str]) -> None:
        self._wide = image.mode in (*_SIXTEEN_BIT_MODES, "I", "F")
        if self._wide:
            _require_sixteen_bits(image)
        self._layered = not self._wide and bool(image.has_transparency_data)
        profile = None if self._wide else image.info.get("icc_profile")
        if self._layered or image.mode not in _PROFILED_MODES:
            self._mode = "L" if image.mode == "1" and not self._layered else "RGB"
        else:
            self._mode = image.mode
        self._backdrop = _Backdrop(background, notes)
        self._through = _conversion(self._mode, profile, notes) if profile else None
        if self._through is None and self._mode == "LAB":  # Pillow's own conversion
            self._through = profiles.conversion("LAB", None)

    def of(self, part: Image.Image) -> Image.Image:
        """A part of the image as RGB."""
        if self._wide:
            return Image.fromarray(eight_bits(np.asarray(part))).convert("RGB")
        if self._layered:
            rgba = part if part.mode == "RGBA" else part.convert("RGBA")
            if self._through is None:
                return self._backdrop.under(rgba)
            rgb = self._through.apply(rgba.convert("RGB"))
            rgb.putalpha(rgba.getchannel("A"))
            return self._backdrop.under(rgb)
        return self._converted(part if part.mode == self._mode else part.convert(self._mode))

    def _converted(self, part: Image.Image) -> Image.Image:
        """Convert through the ICC profile where a usable one differs from sRGB, else by Pillow's plain conversion."""
        if self._through is not None:
            return self._through.apply(part)
        return part if part.mode == "RGB" else part.convert("RGB")


def _require_sixteen_bits(image: Image.Image) -> None:
    if image.mode == "F":
        raise ValueError("floating-point pixels have no stated range")
    if image.mode == "I":
        values = (np.asarray(image.crop(box)) for box in _parts(*image.size))
        extremes = [(int(part.min()), int(part.max())) for part in values]
        low, high = min(low for low, _ in extremes), max(high for _, high in extremes)
        if low < 0 or high > 65535:
            raise ValueError(f"grey values must lie in 0 to 65535, got {low} to {high}")


def _conversion(mode: str, profile: bytes, notes: list[str]) -> profiles.Conversion | None:
    """The conversion from the embedded profile to sRGB; None for pixels already in sRGB and for an unusable profile (noted)."""
    try:
        found = profiles.conversion(mode, profile)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        notes.append("an unusable ICC profile was ignored")
        return None
    return None if found.changes_nothing else found
