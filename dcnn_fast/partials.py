"""Temporary files, unnamed or beside the file that they become, so that no file is ever half written."""

from __future__ import annotations

import fcntl
import io
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PARTIAL = re.compile(r"\.dcnn-fast-([1-9][0-9]{0,9})-[0-9a-f]{12}\.partial(\.[^/]{0,19})?")


@contextmanager
def nameless(beside_file: Path) -> Iterator[io.FileIO | None]:
    """An unnamed file in the same folder, with the mode of the existing or a new file; None where the system has none."""
    number = None
    with suppress(OSError, AttributeError):
        number = os.open(beside_file.parent, os.O_TMPFILE | os.O_WRONLY, 0o666)
    if number is None or not os.path.isdir("/proc/self/fd"):
        if number is not None:
            os.close(number)
        yield None
        return
    with io.FileIO(number, "wb") as file:
        keep_owner_and_mode(number, beside_file)
        yield file


def give_name(unnamed: io.FileIO, file: Path) -> None:
    """Give the unnamed file the name of `file`, which it replaces."""
    folder = os.open(file.parent, os.O_RDONLY)
    partial = f".dcnn-fast-{os.getpid()}-{os.urandom(6).hex()}.partial"  # links replace no file: first named, then renamed
    try:
        os.link(f"/proc/self/fd/{unnamed.fileno()}", partial, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=True)
        os.replace(partial, file.name, src_dir_fd=folder, dst_dir_fd=folder)
    finally:
        with suppress(OSError):
            os.unlink(partial, dir_fd=folder)
        os.close(folder)


@contextmanager
def new_partial(file: Path | None, suffix: str) -> Iterator[Path]:
    """A new empty file in a new folder beside `file`, with its mode or a new file's; for None, in the temporary folder.

    It is in a folder because safetensors writes to a file of its own naming beside the given one: any remains go with the
    folder. The folder is locked meanwhile, which tells it from a killed run's, and removed at the end.
    """
    parent = Path(tempfile.gettempdir()) if file is None else file.parent
    remove_abandoned(parent)
    folder = parent / f".dcnn-fast-{os.getpid()}-{os.urandom(6).hex()}.partial"  # not the name: it may fill 255 bytes
    folder.mkdir(mode=0o700)
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        with suppress(OSError):  # some file systems have no locks
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        partial = folder / f"partial{suffix}"
        with io.FileIO(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600 if file is None else 0o666), "wb") as made:
            if file is not None:
                keep_owner_and_mode(made.fileno(), file)
        yield partial
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(number)


@contextmanager
def new_file(file: Path) -> Iterator[Path]:
    """A new empty file beside `file`, with its mode or a new file's, to be named or renamed in that folder.

    It is locked meanwhile and removed at the end; files of killed runs stay until `remove_abandoned`.
    """
    partial = file.parent / f".dcnn-fast-{os.getpid()}-{os.urandom(6).hex()}.partial"  # not the name: it may fill 255 bytes
    number = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    try:
        with suppress(OSError):  # some file systems have no locks
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        keep_owner_and_mode(number, file)
        yield partial
    finally:
        partial.unlink(missing_ok=True)
        os.close(number)


def remove_abandoned(parent: Path) -> None:
    """Remove the remains of killed runs: unlocked partial files and folders whose process no longer exists."""
    with suppress(OSError), os.scandir(parent) as entries:
        for entry in entries:
            found = _PARTIAL.fullmatch(entry.name)
            is_folder = entry.is_dir(follow_symlinks=False)
            if found is None or not (is_folder or entry.is_file(follow_symlinks=False)) or _is_running(int(found[1])):
                continue
            with suppress(OSError):
                how = os.O_RDONLY | os.O_DIRECTORY if is_folder else os.O_WRONLY
                number = os.open(entry.path, how | os.O_NOFOLLOW | os.O_NONBLOCK)
                try:
                    fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    if is_folder:
                        shutil.rmtree(entry.path, ignore_errors=True)
                    else:
                        os.unlink(entry.path)
                finally:
                    os.close(number)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def mode_of(file: Path) -> int | None:
    """The mode of `file`, or that of a new file with its name; None where neither is known."""
    try:
        if not file.exists():
            with new_file(file) as partial:
                return stat.S_IMODE(partial.stat().st_mode)
        return stat.S_IMODE(file.stat().st_mode) if file.is_file() else None
    except OSError:
        return None


def give_mode(partial: Path, mode: int) -> None:
    """Set the file's mode, where the file system has modes."""
    with suppress(OSError):
        os.chmod(partial, mode)


def keep_owner_and_mode(number: int, file: Path) -> None:
    """Give the open file the owner and the mode of `file`, as far as permitted; do nothing where there is no such file."""
    try:
        status = file.stat()
    except OSError:
        return  # a new file's are already right
    with suppress(OSError):  # only root may give files away
        os.fchown(number, status.st_uid, status.st_gid)
    with suppress(OSError):
        os.fchmod(number, stat.S_IMODE(status.st_mode))
