"""A file's statements of its photograph: size, time of exposure and camera. They may be false: anybody can write them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from PIL import ExifTags, Image

_FIRST_YEAR = 1826  # year of the oldest surviving photograph
_MOST_CHARACTERS = 80
_MOST_EXIF = 2**18  # bytes: four JPEG segments' worth; Pillow makes objects of all values in the part that is read
_TAKEN = re.compile(r"(\d{4}):(\d\d):(\d\d) (\d\d):(\d\d):(\d\d)")  # EXIF 2.32, 4.6.5: "YYYY:MM:DD HH:MM:SS"
_OFFSET = re.compile(r"[+-](?:0\d|1[0-4]):[0-5]\d")
_ON_ITS_SIDE = (5, 6, 7, 8)  # EXIF orientations whose rows are the upright picture's columns


@dataclass(frozen=True)
class Shot:
    """One photograph as its file describes it; None where the file states nothing, or not in a form that can be believed.

    Attributes:
        width: In pixels, upright.
        height: In pixels, upright.
        taken: ISO 8601 without a zone where the file has none, with a fraction of a second and an offset from UTC where it has
            them: "2024-05-01T12:34:56.25+02:00".
        camera: Maker and model, at most 80 characters.
    """

    width: int | None = None
    height: int | None = None
    taken: str | None = None
    camera: str | None = None


UNSAID = Shot()


def shot_of(image: Image.Image, orientation: int, size: tuple[int, int]) -> Shot:
    """The statements in an opened image's header. orientation: EXIF's. size: the photograph's width and height, not yet turned.

    The time is that of exposure (DateTimeOriginal); times of scanning and of the last change do not replace it. Never raises:
    an unreadable statement is None, and so are time and camera in more than 256 KiB of EXIF.
    """
    width, height = size[::-1] if orientation in _ON_ITS_SIDE else size
    if len(image.info.get("exif") or b"") > _MOST_EXIF:
        return Shot(width, height)
    try:
        exif = image.getexif()
        camera = camera_of(exif.get(ExifTags.Base.Make), exif.get(ExifTags.Base.Model))
    except Exception:  # hostile EXIF raises nearly any exception
        return Shot(width, height)
    try:
        taken = taken_of(exif.get_ifd(ExifTags.IFD.Exif))
    except Exception:
        taken = None
    return Shot(width, height, taken, camera)


def taken_of(tags: Mapping[int, object]) -> str | None:
    """The time of exposure in EXIF tags, as ISO 8601; None where it is missing, or no valid date and time."""
    found = _TAKEN.fullmatch(_text(tags.get(ExifTags.Base.DateTimeOriginal)))
    if found is None:
        return None
    try:
        moment = datetime(*map(int, found.groups()))  # type: ignore[arg-type]  # six numbers
    except ValueError:
        return None
    if moment.year < _FIRST_YEAR:
        return None
    fraction = re.fullmatch(r"\d{1,6}", _text(tags.get(ExifTags.Base.SubsecTimeOriginal)))
    offset = _OFFSET.fullmatch(_text(tags.get(ExifTags.Base.OffsetTimeOriginal)))
    return moment.isoformat() + (f".{fraction[0]}" if fraction else "") + (offset[0] if offset else "")


def camera_of(make: object, model: object) -> str | None:
    """Maker and model in one text: "Canon EOS 5D", not "Canon Canon EOS 5D". None where the file names neither."""
    maker, named = _text(make), _text(model)
    if maker and named and maker.split()[0].casefold() != named.split()[0].casefold():
        named = f"{maker} {named}"
    return (named or maker)[:_MOST_CHARACTERS].rstrip() or None


def _text(value: object) -> str:
    """EXIF text up to its terminator, without control characters and runs of spaces; "" for anything but text."""
    if not isinstance(value, str):
        return ""
    kept = "".join(character if character.isprintable() else " " for character in value[:1000].split("\0", 1)[0])
    return " ".join(kept.split())
