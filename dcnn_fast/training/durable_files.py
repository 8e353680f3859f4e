"""Files that are complete or absent: written beside their place, flushed to the disk, then renamed."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path


def put(path: Path, write: Callable[[Path], None]) -> None:
    """Have `write` fill a file beside `path`, then rename it; until then, a former file stays in place.

    A process killed at any moment leaves the former file or the new one, never a part, even after a crash of the machine. A
    link is written through. The mode is that of the former file, or of new files. Raises OSError, also where `path` exists and
    is no file; nothing is left beside it then.
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():  # renaming would replace a device
        raise OSError(errno.EINVAL, "it is there and no file", str(path))
    beside = _beside(path)
    partial = beside / path.name
    _remove(beside)  # left by a run that was killed
    try:
        beside.mkdir(mode=0o700)
        mode = _mode(partial, path)
        write(partial)
        partial.chmod(mode)  # a library may have created it for its owner alone
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
    """Remove the partial file that a killed run left beside `path`. Raises OSError."""
    _remove(_beside(Path(os.path.realpath(path))))


def _beside(path: Path) -> Path:
    """The folder in which the file is filled: safetensors writes to another file beside the one it is given."""
    return path.with_name(f".{path.stem}.partial{path.suffix}")


def _remove(beside: Path) -> None:
    """Remove a folder with its content, or a file or a link, which is not followed."""
    if beside.is_dir() and not beside.is_symlink():
        shutil.rmtree(beside)
    else:
        beside.unlink(missing_ok=True)


def _mode(partial: Path, path: Path) -> int:
    """The mode of `path` or, where it is absent, of a new file, which `partial` becomes."""
    os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    return stat.S_IMODE((path if path.exists() else partial).stat().st_mode)
