"""Files that are whole or not there: written beside, flushed to the disk, then put in place."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path


def put(path: Path, write: Callable[[Path], None]) -> None:
    """Have `write` fill a file beside `path`, then let it take that name; until then, whatever was there stays there.

    A process killed at any moment leaves the former file or the new one, never a part, after a crash of the machine too.
    """
    partial = path.with_name(f".{path.stem}.partial{path.suffix}")
    write(partial)
    with open(partial, "rb") as file:
        os.fsync(file.fileno())
    partial.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
