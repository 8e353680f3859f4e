"""Locks for files that a process will write: by a separate lock file beside them, and on the files themselves."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

_HELD = (errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES)


class InUseError(OSError):
    """Another process holds the lock."""

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        super().__init__(errno.EBUSY, "it is being written by another run", path)


def require_lock(path: Path) -> None:
    """Check that `path` can be a lock: it is free, or an empty file without hard links, as left by a killed process.

    Raises OSError for anything else.
    """
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISREG(status.st_mode) or status.st_size > 0 or status.st_nlink > 1:
        raise FileExistsError(
            errno.EEXIST, f"its lock would be {path.name}, which is something else and is left as it is", str(path)
        )


@contextmanager
def lock_file(path: Path) -> Iterator[None]:
    """Hold the lock `path`, which is created and finally removed, unless it is a different file by then or has been written to.

    Raises InUseError when another process holds it, OSError when it cannot be created or is anything but a lock.
    """
    require_lock(path)
    lock = FileLock(path, timeout=0)
    held = None
    try:  # starts here, as a signal may come between the locking and the work
        try:
            _acquire(lock)
        except KeyboardInterrupt:
            with suppress(OSError):
                _acquire(lock)  # so that it is removed below if it was already created
            raise
        held = _identity(path)
        yield
    finally:
        if lock.is_locked:
            # While it is held: a process that has opened but not locked it finds a file without a name and starts again.
            with suppress(OSError):
                if held in (None, _identity(path)) and os.lstat(path).st_size == 0:
                    os.unlink(path)
            lock.release()


def _acquire(lock: BaseFileLock) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # for a file system without flock, where the file's existence is the lock
            lock.acquire()
    except (Timeout, NotImplementedError):
        raise InUseError(lock.lock_file) from None


class HeldFiles:
    """Files that this process holds under any name, as hard links to one file would have separate lock files."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[int, int], int] = {}

    def hold(self, number: int) -> None:
        """Hold the file of this descriptor until `release`; do nothing where the file system has no such locks.

        Raises InUseError when another process holds it.
        """
        status = os.fstat(number)
        key = status.st_dev, status.st_ino
        if key in self._numbers:
            return
        mine = os.dup(number)
        try:
            fcntl.flock(mine, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(mine)
            if error.errno in _HELD:
                raise InUseError from None
            return
        self._numbers[key] = mine

    def release(self) -> None:
        """Release all files."""
        while self._numbers:
            os.close(self._numbers.popitem()[1])


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino
