"""Ratings in XMP: the packets that sidecars and photographs hold (`packet`), and sidecars as files (`sidecars`).

Needs lxml, which the extra `photos` brings; `require` says so in one sentence.
"""

from __future__ import annotations

NAMES = ("digikam", "adobe")
"""Of sidecars: photo.jpg.xmp (digiKam, darktable, Immich) and photo.xmp (Adobe's programs)."""

MOST_BYTES = 16 * 2**20
"""Of a packet. Programs that develop photographs keep their steps in it; a few megabytes are many."""

_NEEDS = "needs lxml: pip install 'dcnn-fast[photos]'"


class XmpError(ValueError):
    """Something that holds no rating that can be read, or into which none can be written; the message says why."""


def require(what: str) -> None:
    """That `what`, an option or a format, can be had. Raises XmpError naming the extra that it lacks."""
    try:
        import lxml.etree  # noqa: F401, PLC0415 - is an extra
    except ImportError:
        raise XmpError(f"{what} {_NEEDS}") from None
