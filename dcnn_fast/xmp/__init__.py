"""Ratings in XMP: packets in sidecars and photographs (`packet`), and sidecars as files (`sidecars`).

Needs lxml, from the extra `photos`; `require` reports its absence.
"""

from __future__ import annotations

NAMES = ("digikam", "adobe")
"""Naming schemes of sidecars: photo.jpg.xmp (digiKam, darktable, Immich) and photo.xmp (Adobe's programs)."""

MOST_BYTES = 16 * 2**20
"""The size limit of a packet. Raw developers store their editing steps in it; a few megabytes are already large."""

_NEEDS = "needs lxml: pip install 'dcnn-fast[photos]'"


class XmpError(ValueError):
    """A rating cannot be read or written; the message says why."""


def require(what: str) -> None:
    """Check that lxml is installed.

    Args:
        what: The feature that needs it, an option or a format; the message begins with it.

    Raises:
        XmpError: lxml is not installed; the message names the extra.
    """
    try:
        import lxml.etree  # noqa: F401, PLC0415 - is an extra
    except ImportError:
        raise XmpError(f"{what} {_NEEDS}") from None
