"""Sidecars: the files beside a photograph in which programs store its metadata.

digiKam, darktable and Immich name the sidecar of `photo.jpg` `photo.jpg.xmp`, Adobe's programs name it `photo.xmp`. The second
may belong to other photographs, too: to `photo.png`, or to the raw file of `photo.jpg`. And the second name for `photo.CR2.jpg`
is the first name for `photo.CR2`.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dcnn_fast.xmp import MOST_BYTES, XmpError

_SUFFIXES = (".xmp", ".XMP")


@dataclass(frozen=True)
class Sidecar:
    """A sidecar as read.

    Attributes:
        path: The path that it was read from.
        content: Its bytes.
        status: The file's status at that time.
    """

    path: Path
    content: bytes
    status: os.stat_result


def sidecar_path(photograph: Path, names: str) -> Path:
    """Give the path of a photograph's sidecar; an existing file that ends with `.XMP` counts as well.

    Args:
        photograph: The photograph's path.
        names: The naming scheme, one of `xmp.NAMES`.

    Returns:
        The path, whether or not a file is there.
    """
    start = photograph.name if names == "digikam" else photograph.stem
    paths = [photograph.with_name(start + suffix) for suffix in _SUFFIXES]
    return next((path for path in paths if os.path.lexists(path)), paths[0])


def read_sidecar(path: Path) -> Sidecar | None:
    """Read a sidecar.

    Args:
        path: The sidecar's path.

    Returns:
        The sidecar; None where there is none.

    Raises:
        XmpError: It is anything but a regular file (links included), or larger than any sidecar.
        OSError: It cannot be read.
    """
    try:
        number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise XmpError("it is a link") from None
        raise
    try:
        status = os.fstat(number)
        if not stat.S_ISREG(status.st_mode):
            raise XmpError("it is a folder" if stat.S_ISDIR(status.st_mode) else "it is no regular file")
        if status.st_size > MOST_BYTES:
            raise XmpError(f"it is larger than {MOST_BYTES // 2**20} MiB")
        with os.fdopen(number, "rb", closefd=False) as file:
            return Sidecar(path, file.read(MOST_BYTES + 1), status)
    finally:
        os.close(number)


class Neighbours:
    """Finds a folder's files that share a sidecar by Adobe's naming: those with one stem. Lists each folder once.

    Args:
        suffixes: The suffixes of files that count, in lower case.
    """

    def __init__(self, suffixes: Collection[str]) -> None:
        self._suffixes = frozenset(suffixes)
        self._folders: dict[str, dict[str, tuple[str, ...]]] = {}

    def of(self, photograph: Path) -> tuple[str, ...]:
        """Name the others that share the photograph's stem.

        Args:
            photograph: The photograph's path.

        Returns:
            The names of files in its folder, in order.
        """
        return tuple(name for name in self._folder(photograph).get(photograph.stem, ()) if name != photograph.name)

    def has_whole_name(self, photograph: Path) -> bool:
        """Tell whether another file has the photograph's name without its suffix, so that the sidecar is the other file's.

        Args:
            photograph: The photograph's path.

        Returns:
            Whether there is such a file.
        """
        named = photograph.with_suffix("")
        return named != photograph and named.name in self._folder(named).get(named.stem, ())

    def _folder(self, photograph: Path) -> dict[str, tuple[str, ...]]:
        """Names by their stems."""
        folder = os.path.abspath(photograph.parent)
        if folder not in self._folders:
            self._folders[folder] = self._listed(folder)
        return self._folders[folder]

    def _listed(self, folder: str) -> dict[str, tuple[str, ...]]:
        found: dict[str, tuple[str, ...]] = {}
        with suppress(OSError):
            for name in sorted(os.listdir(folder)):
                stem, suffix = os.path.splitext(name)
                if suffix.lower() in self._suffixes:
                    found[stem] = (*found.get(stem, ()), name)
        return found
