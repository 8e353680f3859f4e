"""Untrusted zip files: their unpacked size is bounded by the file's size before anything is unpacked."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

_LIST_BYTES = 2**21  # size of the list of members; each takes about a hundred bytes, and state dicts have thousands
_RATIO = 20  # unpacked bytes per byte of the file; weights hardly compress, and few are all zero
_PART = 2**20  # bytes unpacked at once
_ROOM = 2**26  # bytes that may be unpacked whatever the file's size


class ZipError(ValueError):
    """A zip file is damaged or would unpack to more than the limit."""


class _File(io.FileIO):
    """A file that refuses larger reads than a list of members while that list is searched."""

    most: int | None = _LIST_BYTES

    def read(self, size: int | None = -1) -> bytes:
        if self.most is not None and size is not None and size > self.most:
            raise ZipError(f"its list of members must have at most {self.most:,} bytes, got {size:,}")
        return super().read(size)


@contextmanager
def opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """The zip file at `path`. Raises ZipError where it cannot be read, within the context, too; OSError."""
    with _File(str(path)) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                file.most = None
                size, total = path.stat().st_size, sum(member.file_size for member in archive.infolist())
                if total > max(_ROOM, _RATIO * size):
                    raise ZipError(f"it would unpack to {total:,} bytes, more than {_RATIO} times the {size:,} that it has")
                yield archive
        except (ZipError, OSError):
            raise
        except Exception as error:  # a damaged file can make the library fail in any way
            raise ZipError(f"not a readable zip file: {str(error)[:200] or type(error).__name__}") from None


def is_zip(path: Path) -> bool:
    """Whether the file has a zip file's end record."""
    return zipfile.is_zipfile(path)


def contents(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """A member's contents, as bytes [n]. Raises ZipError where its length differs from the list of members."""
    found = np.empty(archive.getinfo(name).file_size, np.uint8)
    left = found.data
    with archive.open(name) as member:
        while left and (part := member.read(min(len(left), _PART))):
            left[: len(part)] = part
            left = left[len(part) :]
        if left or member.read(1):
            raise ZipError(f"its member {name[:60]!r} must have {len(found):,} bytes")
    return found
