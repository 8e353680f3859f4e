"""Locks of files that a process is to write: by a file beside them that is nothing else, and by the files themselves."""

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
    """Another process holds it."""

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        super().__init__(errno.EBUSY, "it is being written by another run", path)


def require_lock(path: Path) -> None:
    """That `path` can be a lock: nothing is there, or an empty file of that one name, as a killed process leaves.

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
    """Hold the lock `path`, which is made and at the end removed, unless it is another file by then or has been written to.

    Raises InUseError when another process holds it, OSError when it cannot be made or is anything but a lock.
    """
    require_lock(path)
    lock = FileLock(path, timeout=0)
    held = None
    try:  # from here on: a signal may come between the locking and the work
        try:
            _acquire(lock)
        except KeyboardInterrupt:
            with suppress(OSError):
                _acquire(lock)  # so that it is removed below, where it had been made already
            raise
        held = _identity(path)
        yield
    finally:
        if lock.is_locked:
            # While it is held: who has opened it and not yet locked it finds a file without a name and begins anew.
            with suppress(OSError):
                if held in (None, _identity(path)) and os.lstat(path).st_size == 0:
                    os.unlink(path)
            lock.release()


def _acquire(lock: BaseFileLock) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a file system without flock, where a file that exists is the lock
            lock.acquire()
    except (Timeout, NotImplementedError):
        raise InUseError(lock.lock_file) from None


class HeldFiles:
    """Files that this process holds, by whatever name they are opened: hard links have a lock file each and are one file."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[int, int], int] = {}

    def hold(self, number: int) -> None:
        """Hold the file of this descriptor until `release`; nothing where the file system has no such locks.

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
        """Let all go."""
        while self._numbers:
            os.close(self._numbers.popitem()[1])


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino
