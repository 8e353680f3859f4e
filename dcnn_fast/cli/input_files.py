"""Files that a command reads: which one is meant, and why it cannot be used, in the system's words."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def require_file(path: str | os.PathLike[str]) -> None:
    """Require a regular file: a pipe would block, a device has no end. Raises ValueError saying what is there instead."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        raise ValueError(f"{os.fspath(path)}: no such file") from None
    except OSError as error:
        raise ValueError(f"{os.fspath(path)}: {error.strerror or error}") from None
    if not stat.S_ISREG(mode):
        raise ValueError(f"{os.fspath(path)}: {'it is a folder' if stat.S_ISDIR(mode) else 'not a regular file'}")


def model_named(model: Path) -> Path:
    """The model file to use: for "shipped", unless a file has that name, the one that comes with the package."""
    from dcnn_fast.scoring import shipped_model  # noqa: PLC0415 - imports torch

    return shipped_model() if str(model) == "shipped" and not model.exists() else model
