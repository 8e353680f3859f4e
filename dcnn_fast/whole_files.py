"""Writes files in users' folders atomically, synced to disk before anything depends on them, and never over another file."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dcnn_fast.partials import new_file

_WITHOUT_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)  # FAT, exFAT and some network file systems
_BLOCK = 2**20


def create_file(file: Path, content: bytes) -> None:
    """Create a file. Raises FileExistsError where anything has its name, OSError."""
    with _filled(file, content) as partial:
        take_name(partial, file)
    sync_folder(file.parent)


def replace_file(file: Path, content: bytes, before: os.stat_result) -> None:
    """Replace the regular file by `content`; owner and mode are kept.

    before: the file's status when it was read. Raises OSError, and BlockingIOError where the file has changed since.
    """
    with _filled(file, content) as partial:
        if not unchanged(before, os.lstat(file)):
            raise BlockingIOError(errno.EAGAIN, "it was changed meanwhile", str(file))
        os.replace(partial, file)
    sync_folder(file.parent)


def copy_file(source: Path, file: Path, *, compare: bool = False) -> None:
    """Copy a regular file with its times and mode to a new name.

    compare: read the copy back, from the disk as far as the system allows. Raises FileExistsError where anything has the name,
    OSError, including where the copy differs or the source was changed meanwhile.
    """
    with source.open("rb") as original, new_file(file) as partial:
        before = os.fstat(original.fileno())
        with partial.open("r+b") as copy:
            shutil.copyfileobj(original, copy, _BLOCK)
            copy.flush()
            os.fsync(copy.fileno())
            if compare:
                os.posix_fadvise(copy.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        shutil.copystat(source, partial)
        if compare and not same_content(source, partial):
            raise OSError(errno.EIO, "its copy is not what was written", str(source))
        if not unchanged(before, os.stat(source)):
            raise BlockingIOError(errno.EAGAIN, "it was changed meanwhile", str(source))
        take_name(partial, file)
    sync_folder(file.parent)


def take_name(partial: Path, file: Path) -> None:
    """Give `partial` the name of `file` as well, or instead. Raises FileExistsError where anything has it, OSError."""
    try:
        os.link(partial, file, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _WITHOUT_LINKS:
            raise
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        os.replace(partial, file)


def same_content(one: Path, other: Path) -> bool:
    """Whether two files hold the same bytes. Raises OSError."""
    with one.open("rb") as first, other.open("rb") as second:
        while True:
            ours, theirs = first.read(_BLOCK), second.read(_BLOCK)
            if ours != theirs:
                return False
            if not ours:
                return True


def unchanged(before: os.stat_result, now: os.stat_result) -> bool:
    """Whether a file is the same with the same content, as far as its times show."""
    return os.path.samestat(before, now) and (before.st_size, before.st_mtime_ns) == (now.st_size, now.st_mtime_ns)


@contextmanager
def _filled(file: Path, content: bytes) -> Iterator[Path]:
    with new_file(file) as partial:
        with partial.open("r+b") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        yield partial


def sync_folder(folder: Path) -> None:
    """Sync the folder's names to disk as well."""
    with suppress(OSError):  # some file systems cannot sync folders
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
