"""Opens local files named in requests: only those below one folder after resolving links."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from dcnn_fast.serve.errors import RefusedError

_NOT_THERE = "no such file below the server's root"


def opened_below(root: Path | None, name: str, most: int) -> tuple[BinaryIO, int]:
    """The open file `name`, relative to `root` or absolute, and its size, if it lies below `root` with all links resolved.

    Raises RefusedError: 403 without a root, 404 where there is no such file, 413 where it has more than `most` bytes.
    """
    if root is None:
        raise RefusedError(403, "this server reads no files of its machine: it was started without --root")
    top = os.path.realpath(root)
    try:
        if not _is_below(top, os.path.realpath(os.path.join(top, name))):  # files elsewhere are not even opened
            raise RefusedError(404, _NOT_THERE)
        file = _opened(os.path.join(top, name))
    except (OSError, ValueError):
        raise RefusedError(404, _NOT_THERE) from None
    try:
        return file, _size(file, top, most)
    except BaseException:
        file.close()
        raise


def opened(path: str, most: int) -> tuple[BinaryIO, int]:
    """A regular file chosen by the server itself, following links, and its size. Raises RefusedError."""
    try:
        file = _opened(path)
    except (OSError, ValueError):
        raise RefusedError(404, _NOT_THERE) from None
    try:
        return file, _size(file, "/", most)
    except BaseException:
        file.close()
        raise


def _opened(path: str) -> BinaryIO:
    """Open without waiting for the other end of a pipe."""
    number = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        return os.fdopen(number, "rb")
    except BaseException:  # e.g. a folder: `fdopen` leaves the descriptor open
        os.close(number)
        raise


def _size(file: BinaryIO, top: str, most: int) -> int:
    """The size of the open file itself, as its name may by now belong to another."""
    found, status = os.readlink(f"/proc/self/fd/{file.fileno()}"), os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode) or not _is_below(top, found):
        raise RefusedError(404, _NOT_THERE)
    if status.st_size > most:
        raise RefusedError(413, f"a file must have at most {most} bytes")
    return status.st_size


def _is_below(top: str, path: str) -> bool:
    return os.path.commonpath([top, path]) == top
