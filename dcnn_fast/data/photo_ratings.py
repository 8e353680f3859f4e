"""What is said of a photograph's rating: in its sidecars, by either name, and in the XMP within it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from dcnn_fast.data import file_parts, heif
from dcnn_fast.data.folders import SUFFIXES, UNREADABLE, WHEN_NAMED
from dcnn_fast.data.pillow_settings import as_shipped, formats_read
from dcnn_fast.xmp import NAMES, XmpError
from dcnn_fast.xmp.packet import Rating, rating_in
from dcnn_fast.xmp.sidecars import Neighbours, Sidecar, read_sidecar, sidecar_path


@dataclass(frozen=True)
class Said:
    """A rating and the file that says it. sidecar: that file as it was read; None for the photograph itself."""

    file: Path
    rating: Rating
    sidecar: Sidecar | None = None


class PhotoRatings:
    """Reads what is said of photographs' ratings; what it lists of folders is listed once."""

    def __init__(self) -> None:
        self._photographs = Neighbours(SUFFIXES | heif.SUFFIXES)
        self._pictures = Neighbours(SUFFIXES | UNREADABLE | WHEN_NAMED)

    def of(self, photograph: Path) -> list[Said]:
        """All that is said, by sidecars first. Raises XmpError, which names the file, and OSError."""
        names = NAMES[:1] if self.is_anothers(photograph) else NAMES
        found = [said for each in names if (said := _in_sidecar(sidecar_path(photograph, each))) is not None]
        packet = embedded_packet(photograph)
        return found if packet is None else [*found, Said(photograph, _named(photograph, packet))]

    def is_anothers(self, photograph: Path) -> bool:
        """Whether the sidecar that would be the photograph's, by Adobe's name, is one of another picture by digiKam's."""
        return self._pictures.has_whole_name(photograph)

    def photographs_sharing(self, photograph: Path) -> tuple[str, ...]:
        """The names of the other photographs whose sidecar, by Adobe's name, would be this one's."""
        return self._photographs.of(photograph)

    def pictures_sharing(self, photograph: Path) -> tuple[str, ...]:
        """The same, with raw files and films."""
        return self._pictures.of(photograph)


def embedded_packet(photograph: Path) -> bytes | None:
    """The XMP within a photograph, of whatever format; None where there is none, or the file is not one that is read."""
    try:
        with as_shipped(), photograph.open("rb") as file:
            file_parts.require_few(file)
            with Image.open(file, formats=formats_read()) as image:
                packet = image.info.get("xmp")
    except Exception:  # of a hostile file, nearly any: who scores it says why
        return None
    if isinstance(packet, str):
        packet = packet.encode()
    return packet.rstrip(b"\0") or None if isinstance(packet, bytes) else None


def _in_sidecar(path: Path) -> Said | None:
    try:
        sidecar = read_sidecar(path)
    except XmpError as error:
        raise XmpError(f"{path}: {error}") from None
    if sidecar is None:
        return None
    return Said(path, _named(path, sidecar.content) if sidecar.content else Rating(), sidecar)


def _named(file: Path, packet: bytes) -> Rating:
    try:
        return rating_in(packet)
    except XmpError as error:
        raise XmpError(f"{os.fspath(file)}: {error}") from None
