"""The folder that keeps costly results between processes: compiled kernels, timed tiles, a GPU's self-check."""

from __future__ import annotations

import logging
import os
from functools import cache
from pathlib import Path


def cache_folder() -> Path | None:
    """`dcnn_fast` in XDG_CACHE_HOME, or in ~/.cache; None, with one warning, where the process has no home directory."""
    root = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(root) if root else Path.home() / ".cache") / "dcnn_fast"
    except RuntimeError as error:  # a user without a passwd entry, as in containers
        _say(str(error))
        return None


@cache
def _say(reason: str) -> None:
    logging.getLogger(__name__).warning(
        "nothing is kept between processes, for lack of a folder: set XDG_CACHE_HOME (%s)", reason
    )
