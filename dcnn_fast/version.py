"""Which version of the package this is."""

from __future__ import annotations

from importlib import metadata

FROM_A_TREE = "0+tree"


def version() -> str:
    """The version that is installed; `FROM_A_TREE` where the package is imported from a folder of sources and was not."""
    try:
        return metadata.version("dcnn-fast")
    except metadata.PackageNotFoundError:
        return FROM_A_TREE
