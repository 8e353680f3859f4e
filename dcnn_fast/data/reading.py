"""Reads one photograph from a file, bytes, a PIL image, an array or a tensor. Pillow decodes most formats."""

from __future__ import annotations

import io
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any, BinaryIO

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError
from torch import Tensor

from dcnn_fast.data import (
    color,
    file_parts,
    heif,
    in_flight,
    jpeg,
    jpeg2000,
    jpeg_scans,
    libtiff,
    picture_cost,
    raw,
    summary,
    upright,
)  # fmt: skip
from dcnn_fast.data.bounds import PartsError
from dcnn_fast.data.pillow_settings import as_shipped, formats_read
from dcnn_fast.data.remote import Stored, StoreError
from dcnn_fast.data.shot import UNSAID, Shot, shot_of

MAX_PIXELS = 178_956_970  # Pillow's own bound: twice a quarter of a gigabyte at three bytes a pixel

_MOST_NOTES = 5  # libtiff's messages kept for one file
_FROM_OBJECTS = 0  # shared key of images opened from file objects; no image has this id
_HEIF = "HEIF"
_WITH_EXTRA = "where the extra `photos` is installed: pip install 'dcnn-fast[photos]'"
_RUNS_A_PROGRAM = "EPS"  # a file of this format is a program, whose pixels Ghostscript would make


Image.init()  # before any reading: a fork during the imports of Pillow's readers would leave them locked in the child


class ReadError(ValueError):
    """A source is not a readable photograph; the message is the reason, on one line, without the path.

    Attributes:
        notes: Other messages of the decoder.
    """

    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReadOptions:
    """How photographs are read; see `read`."""

    max_pixels: int = MAX_PIXELS
    background: tuple[int, int, int] = (255, 255, 255)
    scaled_to: int | None = None


@dataclass(frozen=True)
class Photo:
    """One photograph as it was read.

    Attributes:
        decoded: The pixels as decoded, with the turn that makes them upright; `pixels` has them turned.
        notes: Remarks for the user on how it was read.
        shot: Its size, time and camera as its file states them.
    """

    decoded: upright.Decoded
    notes: tuple[str, ...] = ()
    shot: Shot = UNSAID

    @classmethod
    def of(cls, pixels: np.ndarray, notes: tuple[str, ...] = (), shot: Shot = UNSAID) -> Photo:
        """Make a photograph of pixels.

        Args:
            pixels: [H, W, 3] uint8, upright, sRGB, C-contiguous.
            notes: Remarks for the user on how it was read.
            shot: Its size, time and camera, where they are known.

        Returns:
            The photograph.
        """
        return cls(upright.Decoded(pixels), notes, shot)

    @property
    def pixels(self) -> np.ndarray:
        """[H, W, 3] uint8, upright, sRGB, C-contiguous; the same array each time."""
        return self.decoded.upright

    @property
    def digest(self) -> str:
        """SHA-256 over the shape and the pixels: equal for equal pictures, wherever they come from. Computed each time."""
        return summary.digest(self.decoded)

    def summary(self, long_side: int | None) -> tuple[str, np.ndarray]:
        """Compute the digest and the reduced pixels together, in less time.

        Args:
            long_side: The long side to reduce to, in pixels (`data.reduction`); None leaves the photograph as it is.

        Returns:
            `digest`, and [H', W', 3] uint8.
        """
        return summary.summary(self.decoded, long_side)


def read(
    source: Any,
    *,
    max_pixels: int = MAX_PIXELS,
    background: tuple[int, int, int] = (255, 255, 255),
    scaled_to: int | None = None,
) -> Photo:
    """Read the photograph in `source`, upright and in sRGB.

    Files may be JPEG, PNG, WebP, TIFF, GIF, AVIF, JPEG 2000 and BMP; with the extra `photos` HEIF (or where a plug-in of
    Pillow's is registered), and cameras' raw files, of which the preview inside is read, as a note says. Nothing else is tried.
    EXIF orientation is applied; an embedded ICC profile is converted to sRGB, unless it is that by its effect; grey, palette,
    CMYK and 16-bit images become 8-bit RGB (65535 is white). The first frame of an animation is read. A truncated file is
    refused. Settings of the program in Pillow or in Python's warnings change none of this. A PIL image may be read by several
    threads at once: they take turns.

    Args:
        source: A path; a file in a store (`data.remote.stored`); the bytes of a file; a PIL image (left as it is); a numpy
            array [H, W], [H, W, 1], [H, W, 3] or [H, W, 4] of uint8 or uint16; or a uint8 tensor [C, H, W] with 1, 3 or 4
            channels.
        max_pixels: Larger images are refused from their header, before decoding; at least 1.
        background: The colour behind transparent pixels, RGB 0-255.
        scaled_to: A number of pixels, where less than the whole of a large JPEG file's detail is wanted: the file is decoded at
            a half, a quarter or an eighth of its size, whichever is the smallest whose long side has as many pixels, which a
            note says; other files, images and arrays are read as they are. None decodes every file at its full size.

    Returns:
        The photograph, with notes on how it was read.

    Raises:
        ReadError: The image cannot be read; the message gives the reason.
        TypeError: The source is of another type.
        ValueError: max_pixels, background or scaled_to is out of range; the message names it.

    Example:
        >>> read(np.zeros((2, 3), np.uint8)).pixels.shape
        (2, 3, 3)
    """
    require_background(background)
    if isinstance(max_pixels, bool) or not isinstance(max_pixels, int) or max_pixels < 1:
        raise ValueError(f"max_pixels must be an integer of at least 1, got {max_pixels!r}")
    if scaled_to is not None and (isinstance(scaled_to, bool) or not isinstance(scaled_to, int) or scaled_to < 1):
        raise ValueError(f"scaled_to must be None or an integer of at least 1, got {scaled_to!r}")
    options = ReadOptions(max_pixels, background, scaled_to)
    if isinstance(source, np.ndarray):
        return _from_array(source, options)
    if isinstance(source, Tensor):
        return _from_tensor(source, options)
    if isinstance(source, Image.Image):
        with _turns.of(source):
            return _guarded(lambda: _from_image(source, options))
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _guarded(lambda: _from_file(io.BytesIO(source), options))
    if isinstance(source, Stored):
        return _guarded(lambda: _from_store(source, options))
    if isinstance(source, (str, os.PathLike)):
        return _guarded(lambda: _from_path(os.fspath(source), options))
    raise TypeError(f"source must be a path, bytes, a PIL image, a numpy array or a uint8 tensor, got {type(source).__name__}")


def _guarded(work: Callable[[], Photo]) -> Photo:
    """Run `work`, turning every failure into a ReadError and libtiff's messages into notes.

    Decoders of hostile files raise nearly any exception (struct.error, KeyError, SyntaxError, MemoryError, ...): each means
    that this file cannot be read, and none may end a run over a folder.
    """
    said: list[str] = []
    libtiff.listen()
    try:
        with as_shipped(), libtiff.heard(said):
            photo = _without_failures(work)
    except ReadError as error:
        error.notes = _noted(said)
        raise
    return replace(photo, notes=(*photo.notes, *_noted(said))) if said else photo


def _noted(said: list[str]) -> tuple[str, ...]:
    return tuple(f"libtiff: {message}" for message in list(dict.fromkeys(said))[:_MOST_NOTES])


def _without_failures(work: Callable[[], Photo]) -> Photo:
    try:
        return work()
    except ReadError:
        raise
    except StoreError as error:
        raise ReadError(str(error)) from None
    except FileNotFoundError:
        raise ReadError("no such file") from None
    except PermissionError:
        raise ReadError("permission denied") from None
    except UnidentifiedImageError:
        raise ReadError("not an image of a known format") from None
    except (Image.DecompressionBombError, PartsError, picture_cost.CostError) as error:
        raise ReadError(f"refused as a decompression bomb: {_one_line(error)}") from None
    except in_flight.NoRoomError as error:
        raise ReadError(str(error)) from None
    except MemoryError:
        raise ReadError(in_flight.no_memory("to read it")) from None
    except Exception as error:
        raise ReadError(f"cannot be decoded: {_one_line(error)}") from None


def _one_line(error: BaseException) -> str:
    text = re.sub(r"<[\w.]+ [^>]*0x[0-9a-f]+>", "the file", str(error))
    text = re.sub(r" \(\d+ bytes not processed\)", "", text)  # a number that depends on the size of reads
    return " ".join(text.split()) or type(error).__name__


def _from_path(path: str | bytes, options: ReadOptions) -> Photo:
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode):
        raise ReadError("a folder, not a file" if stat.S_ISDIR(mode) else "not a regular file")
    with open(path, "rb") as file:
        return _from_file(file, options)


def _from_store(file: Stored, options: ReadOptions) -> Photo:
    """Read the whole file once there is room for it."""
    with in_flight.picture() as held, file.opened() as (content, size), held.file(size):
        return _from_file(io.BytesIO(content()), options)


def _from_file(file: BinaryIO, options: ReadOptions) -> Photo:
    if not file.read(1):
        raise ReadError("the file is empty")
    file.seek(0)
    if raw.is_raw(file):
        return _from_raw(file, options)
    return _from_picture(file, options)


def _from_picture(file: BinaryIO, options: ReadOptions, orientation: int = 1) -> Photo:
    """Read a picture's file. orientation: EXIF's, for a file that states none."""
    file_parts.require_few(file)
    if heif.is_heif(file) and (heif.can_read() or _HEIF not in formats_read()):
        if not heif.can_read():
            raise ReadError(f"HEIF is read {_WITH_EXTRA}")
        with heif.opened(file) as image:
            return _from_image(image, options, opened_here=True)
    with Image.open(file, formats=formats_read()) as image:
        return _from_image(image, options, opened_here=True, orientation=orientation)


def _from_raw(file: BinaryIO, options: ReadOptions) -> Photo:
    """Read the preview of a camera's raw file."""
    if not raw.can_read():
        raise ReadError(f"the preview of a camera's raw file is read {_WITH_EXTRA}")
    try:
        found = raw.preview(file)
    except raw.RawError as error:
        raise ReadError(str(error)) from None
    if found.pixels is not None:
        photo = _from_array(upright.turned(found.pixels, found.orientation), options)
    else:
        photo = _from_picture(io.BytesIO(found.jpeg or b""), options, found.orientation)
    height, width, _ = photo.pixels.shape
    return replace(photo, notes=(f"the camera's preview inside the raw file was read, {width} x {height} pixels", *photo.notes))


class _Turns:
    """Admits one thread at a time to each PIL image, as decoding changes it, and to all images opened from file objects as one:
    several may share one file object, as members of an archive do.
    """

    def __init__(self) -> None:
        self.renew()
        os.register_at_fork(after_in_child=self.renew)  # locks held by the parent's threads are never released in the child

    def renew(self) -> None:
        """Forget all locks."""
        self._guard = Lock()
        self._held: dict[int, tuple[Lock, int]] = {}  # by the image's id: its lock, and the number of its holders and waiters

    @contextmanager
    def of(self, image: Image.Image) -> Iterator[None]:
        """Hold the image's lock within."""
        key = id(image) if getattr(image, "fp", None) is None or getattr(image, "_exclusive_fp", False) else _FROM_OBJECTS
        with self._guard:
            lock, users = self._held.get(key, (Lock(), 0))
            self._held[key] = lock, users + 1
        try:
            with lock:
                yield
        finally:
            with self._guard:
                lock, users = self._held.pop(key)
                if users > 1:
                    self._held[key] = lock, users - 1


_turns = _Turns()


def _from_image(image: Image.Image, options: ReadOptions, *, opened_here: bool = False, orientation: int = 1) -> Photo:
    """Read a PIL image. opened_here: whether the image is ours, and may be decoded at another size or by another decoder.
    orientation: EXIF's, for an image that states none.
    """
    if image.format == _RUNS_A_PROGRAM and getattr(image, "tile", None):
        raise ReadError("EPS is a program, not a picture: it is not run; load the image before it is scored")
    _require_size(image.width, image.height, options.max_pixels)
    with in_flight.picture() as held:
        data = _jpeg_data(image)
        held.take(_cost(image, data, options.max_pixels))
        notes: list[str] = []
        if getattr(image, "is_animated", False) and image.tell() == 0:
            frames = vars(image).get("n_frames", "several")  # as a property, it would walk the whole file to count them
            notes.append(f"the first of {frames} frames was read")
        whole, divisor = image.size, 1
        if data is not None and opened_here:
            divisor = jpeg.divisor(whole, options.scaled_to)
            if divisor > 1:
                notes.append(f"decoded at 1/{divisor} of its {image.width} x {image.height} pixels")
            pixels = jpeg.decoded(data, image, divisor)
            if pixels is not None:
                turn = _orientation(image, orientation, notes)
                color.to_srgb(pixels, image.info.get("icc_profile"), notes)
                return Photo(upright.Decoded(pixels, turn), tuple(notes), shot_of(image, turn, whole))
            jpeg.scale(image, divisor)
        image.load()
        _require_size(image.width, image.height, options.max_pixels)
        turn = _orientation(image, orientation, notes)
        shot = shot_of(image, turn, whole if divisor > 1 else image.size)
        return Photo.of(color.upright_srgb(image, turn, options.background, notes), tuple(notes), shot)


def _orientation(image: Image.Image, otherwise: int, notes: list[str]) -> int:
    """The EXIF orientation, valid after loading (when Pillow's TIFF reader applies and removes it); 1 where EXIF is unreadable,
    `otherwise` where it states none.
    """
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, otherwise)
        return value if isinstance(value, int) else 1
    except Exception:
        notes.append("unreadable EXIF data was ignored")
        return 1


def _require_size(width: int, height: int, max_pixels: int) -> None:
    if width < 1 or height < 1:
        raise ReadError(f"an image must have at least one pixel, got {width} x {height}")
    if width * height > max_pixels:
        raise ReadError(f"refused as a decompression bomb: {width} x {height} pixels exceed the limit of {max_pixels}")


def _jpeg_data(image: Image.Image) -> bytes | None:
    """The bytes of a JPEG yet to be decoded, from the picture's start on; None for any other image."""
    file = getattr(image, "fp", None)
    if file is None or image.format not in jpeg.FORMATS or not picture_cost.is_to_load(image):
        return None
    before, offset = file.tell(), vars(image)["tile"][0].offset  # a later frame does not start at the file's start
    try:
        file.seek(offset)
        data: bytes = file.read()
    finally:
        file.seek(before)
    return data


def _cost(image: Image.Image, jpeg_data: bytes | None, max_pixels: int) -> int:
    """The bytes of memory that reading the image takes. Raises a ValueError where these, or the work, exceed a bound."""
    file = getattr(image, "fp", None) if picture_cost.is_to_load(image) else None
    file_bytes = 0 if file is None else picture_cost.size_of(file)
    buffered = False
    file_parts.require_few_tiles(image)
    if jpeg_data is not None:
        most = jpeg_scans.too_many(jpeg_data, image.width, image.height)
        if most is not None:
            raise ReadError(f"refused as a decompression bomb: more than {most} scans of {image.width} x {image.height} pixels")
        buffered = jpeg_scans.buffered(jpeg_data)
    if file is not None and image.format == "JPEG2000":
        jpeg2000.require_all_tiles(file)
    cost = picture_cost.cost(image, file_bytes, buffered)
    picture_cost.require(cost, image, file_bytes, max_pixels / MAX_PIXELS)
    return cost


def require_background(background: Any) -> None:
    """Raise ValueError unless it is an RGB colour."""
    valid = isinstance(background, (tuple, list)) and len(background) == 3
    if not valid or not all(isinstance(v, int) and not isinstance(v, bool) and 0 <= v <= 255 for v in background):
        raise ValueError(f"background must be three integers from 0 to 255, got {background!r}")


def _from_array(array: np.ndarray, options: ReadOptions) -> Photo:
    if array.dtype not in (np.uint8, np.uint16):
        raise ReadError(f"an array must be uint8 or uint16, got {array.dtype}")
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4):
        raise ReadError(f"an array must have shape [H, W], [H, W, 1], [H, W, 3] or [H, W, 4], got {list(array.shape)}")
    _require_size(array.shape[1], array.shape[0], options.max_pixels)
    if array.dtype == np.uint16:
        array = color.eight_bits(array)
    if array.shape[2] == 1:
        array = np.repeat(array, 3, axis=2)
    if array.shape[2] == 3:
        return Photo.of(np.array(array, order="C"), shot=Shot(array.shape[1], array.shape[0]))
    notes: list[str] = []
    return Photo.of(color.laid_over(array, options.background, notes), tuple(notes), Shot(array.shape[1], array.shape[0]))


def _from_tensor(tensor: Tensor, options: ReadOptions) -> Photo:
    if str(tensor.dtype) != "torch.uint8":
        raise ReadError(f"a tensor must be uint8, got {tensor.dtype}")
    if tensor.ndim != 3 or tensor.shape[0] not in (1, 3, 4):
        raise ReadError(f"a tensor must have shape [C, H, W] with 1, 3 or 4 channels, got {list(tensor.shape)}")
    return _from_array(tensor.detach().cpu().permute(1, 2, 0).numpy(), options)
