"""The package's version."""

from __future__ import annotations

from importlib import metadata

FROM_A_TREE = "0+tree"


def version() -> str:
    """The installed version; `FROM_A_TREE` where the package is imported from sources without an installation."""
    try:
        return metadata.version("dcnn-fast")
    except metadata.PackageNotFoundError:
        return FROM_A_TREE
