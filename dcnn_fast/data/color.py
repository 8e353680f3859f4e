"""From whatever colours Pillow decoded to 8-bit sRGB."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageCms

_SIXTEEN_BIT_MODES = ("I;16", "I;16L", "I;16B", "I;16N")
_PROFILED_MODES = ("L", "RGB", "CMYK", "LAB", "YCbCr")


def to_srgb(image: Image.Image, background: tuple[int, int, int], notes: list[str]) -> Image.Image:
    """A loaded image as 8-bit sRGB without alpha; what a user should know is added to `notes`.

    Raises ValueError for pixels without a stated range (floating point, or integers past 16 bits).
    """
    if image.mode in (*_SIXTEEN_BIT_MODES, "I", "F"):
        image = _from_wide_grey(image)
    profile = image.info.get("icc_profile")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        rgb = _converted(rgba.convert("RGB"), profile, notes)
        rgb.putalpha(rgba.getchannel("A"))
        return over_background(rgb, background, notes)
    if image.mode not in _PROFILED_MODES:
        image = image.convert("L" if image.mode == "1" else "RGB")
    return _converted(image, profile, notes)


def over_background(image: Image.Image, background: tuple[int, int, int], notes: list[str]) -> Image.Image:
    """An RGBA image laid over `background`."""
    if image.getchannel("A").getextrema() == (255, 255):
        return image.convert("RGB")
    notes.append("transparent pixels were laid over RGB " + " ".join(map(str, background)))
    base = Image.new("RGBA", image.size, (*background, 255))
    return Image.alpha_composite(base, image).convert("RGB")


def eight_bits(values: np.ndarray) -> np.ndarray:
    """uint16 values as uint8, rounded, so that 65535 becomes 255."""
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _from_wide_grey(image: Image.Image) -> Image.Image:
    values = np.asarray(image)
    if image.mode == "F" or not np.issubdtype(values.dtype, np.integer):
        raise ValueError("floating-point pixels have no stated range")
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise ValueError(f"grey values must lie in 0 to 65535, got {low} to {high}")
    return Image.fromarray(eight_bits(values))


def _converted(image: Image.Image, profile: bytes | None, notes: list[str]) -> Image.Image:
    """`image` in sRGB: through its ICC profile when it has one that fits, else by Pillow's plain conversion."""
    if profile:
        try:
            return _through_profile(image, profile)
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
            notes.append("an unusable ICC profile was ignored")
    return image if image.mode == "RGB" else image.convert("RGB")


def _through_profile(image: Image.Image, profile: bytes) -> Image.Image:
    embedded = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    if image.mode == "RGB" and ImageCms.getProfileDescription(embedded).startswith("sRGB"):
        return image
    target = ImageCms.createProfile("sRGB")
    result = ImageCms.profileToProfile(image, embedded, target, outputMode="RGB")
    if result is None:
        raise ValueError("no conversion")
    return result
