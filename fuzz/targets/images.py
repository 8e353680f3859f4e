"""Photographs, from their bytes to upright sRGB pixels."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
from PIL import Image, ImageCms

from dcnn_fast.data import ReadError, read
from fuzz.target import FoundError, Target
from tests.data import camera_files

_PIXELS = 1 << 20  # so that large pictures do not take seconds
_BACKGROUND = (255, 255, 255)


def _read(data: bytes) -> None:
    photo = read(data, max_pixels=_PIXELS, background=_BACKGROUND)
    pixels = photo.pixels
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not 0 < pixels.size <= 3 * _PIXELS:
        raise FoundError(f"pixels must be RGB bytes, got {pixels.dtype} {pixels.shape}")
    again = read(data, max_pixels=_PIXELS, background=_BACKGROUND)
    if again.digest != photo.digest or again.notes != photo.notes:
        raise FoundError("the same bytes must be the same picture twice")


def _encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _seeds() -> Mapping[str, bytes]:
    noise = np.random.default_rng(0).integers(0, 256, (9, 12, 4)).astype(np.uint8)
    rgb, rgba = Image.fromarray(noise[..., :3].copy()), Image.fromarray(noise)
    turned = Image.Exif()
    turned[0x0112] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    found = {kind: _encoded(rgb, kind) for kind in ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "JPEG2000", "AVIF")}
    for mode in ("1", "L", "LA", "P", "RGBA", "I;16"):
        shallow = rgba.convert("I").convert(mode) if mode == "I;16" else rgba.convert(mode)
        found[f"PNG {mode}"] = _encoded(shallow, "PNG")
    for packing in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "group4"):
        found[f"TIFF {packing}"] = _encoded(rgb.convert("1") if packing == "group4" else rgb, "TIFF", compression=packing)
    found["turned"] = _encoded(rgb, "JPEG", exif=turned)
    found["turned TIFF"] = _encoded(rgb, "TIFF", exif=turned)
    found["profile"] = _encoded(rgb, "PNG", icc_profile=profile)
    found["CMYK"] = _encoded(rgb.convert("CMYK"), "JPEG")
    found["CMYK TIFF"] = _encoded(rgb.convert("CMYK"), "TIFF")
    found["scans"] = _encoded(rgb, "JPEG", progressive=True)
    found["frames"] = _encoded(rgb, "GIF", save_all=True, append_images=[rgba.convert("RGB"), rgb.convert("L").convert("RGB")])
    found["moving PNG"] = _encoded(rgb, "PNG", save_all=True, append_images=[rgb.rotate(90)])
    found["MPO"] = _encoded(rgb, "MPO", save_all=True, append_images=[rgb.rotate(180)])
    found["EPS"] = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 5 5\n%%EndComments\nshowpage\n"
    found["HEIF"] = camera_files.HEIC
    found["raw"] = camera_files.dng(camera_files.preview(8, 8))
    found["raw, pixels"] = camera_files.dng(camera_files.preview(8, 8), 6, version=False, plain=True)
    return found


TARGET = Target(_read, (ReadError,), _seeds, longest=8192)
