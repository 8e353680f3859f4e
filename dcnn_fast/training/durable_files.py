"""Files that are whole or not there: written beside, flushed to the disk, then put in place."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path


def put(path: Path, write: Callable[[Path], None]) -> None:
    """Have `write` fill a file beside `path`, then let it take that name; until then, whatever was there stays there.

    A process killed at any moment leaves the former file or the new one, never a part, after a crash of the machine too. A
    link is written through. The mode is that of the former file, or of new files. Raises OSError, where `path` is there and no
    file as well; nothing is left beside it then.
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():  # a device would be gone
        raise OSError(errno.EINVAL, "it is there and no file", str(path))
    beside = _beside(path)
    partial = beside / path.name
    _remove(beside)  # of a run that was killed
    try:
        beside.mkdir(mode=0o700)
        mode = _mode(partial, path)
        write(partial)
        partial.chmod(mode)  # a library may have made a file for its owner alone
        with open(partial, "rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        _remove(beside)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def remove_abandoned(path: Path) -> None:
    """Remove what a run that was killed has left of a file that it was writing to `path`. Raises OSError."""
    _remove(_beside(Path(os.path.realpath(path))))


def _beside(path: Path) -> Path:
    """Where the file is filled: in a folder, as safetensors writes to a file of its own name beside the one it is given."""
    return path.with_name(f".{path.stem}.partial{path.suffix}")


def _remove(beside: Path) -> None:
    """Remove a folder and what is in it, or a file or a link, which is not followed."""
    if beside.is_dir() and not beside.is_symlink():
        shutil.rmtree(beside)
    else:
        beside.unlink(missing_ok=True)


def _mode(partial: Path, path: Path) -> int:
    """That of `path`, or where that is not there of a new file, which `partial` becomes."""
    os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    return stat.S_IMODE((path if path.exists() else partial).stat().st_mode)
