"""Reads the statements of a photograph's rating: in its sidecars, under either name, and in its embedded XMP."""

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
    """A rating and the file that states it. sidecar: that file as read; None for the photograph itself."""

    file: Path
    rating: Rating
    sidecar: Sidecar | None = None


class PhotoRatings:
    """Reads the statements of photographs' ratings; each folder is listed once."""

    def __init__(self) -> None:
        self._photographs = Neighbours(SUFFIXES | heif.SUFFIXES)
        self._pictures = Neighbours(SUFFIXES | UNREADABLE | WHEN_NAMED)

    def of(self, photograph: Path) -> list[Said]:
        """All statements, sidecars first. Raises XmpError, which names the file, and OSError."""
        names = NAMES[:1] if self.is_anothers(photograph) else NAMES
        found = [said for each in names if (said := _in_sidecar(sidecar_path(photograph, each))) is not None]
        packet = embedded_packet(photograph)
        return found if packet is None else [*found, Said(photograph, _named(photograph, packet))]

    def is_anothers(self, photograph: Path) -> bool:
        """Whether the sidecar with the photograph's Adobe name is another picture's by digiKam's naming."""
        return self._pictures.has_whole_name(photograph)

    def photographs_sharing(self, photograph: Path) -> tuple[str, ...]:
        """The names of other photographs that share this one's sidecar by Adobe's naming."""
        return self._photographs.of(photograph)

    def pictures_sharing(self, photograph: Path) -> tuple[str, ...]:
        """The same for all pictures, raw files and films included."""
        return self._pictures.of(photograph)


def embedded_packet(photograph: Path) -> bytes | None:
    """The XMP embedded in a photograph of any format; None where there is none, or the file cannot be read."""
    try:
        with as_shipped(), photograph.open("rb") as file:
            file_parts.require_few(file)
            with Image.open(file, formats=formats_read()) as image:
                packet = image.info.get("xmp")
    except Exception:  # a hostile file raises nearly anything; scoring it gives the reason
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
