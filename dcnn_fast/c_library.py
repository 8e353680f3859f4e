"""The location of the C library in this package: `python -m dcnn_fast.c_library` prints it (docs/c-library.md).

It imports nothing else from the project, as building a C program needs no torch.
"""

from __future__ import annotations

from pathlib import Path

import dcnn_fast


def prefix() -> Path:
    """The folder with `include/dcnn_fast.h`, `lib/libdcnn_fast.so.0`, its CMake package and its pkg-config file.

    Raises FileNotFoundError where the package was installed without a C++ compiler.

    Example: `cmake -DCMAKE_PREFIX_PATH=$(python -m dcnn_fast.c_library) ...`
    """
    for folder in _folders():
        if (folder / "include" / "dcnn_fast.h").is_file():
            return folder
    raise FileNotFoundError("the C library was not built: install again with a C++ compiler at hand, or build it with CMake")


def library() -> Path:
    """The shared library itself, for programs that load it by path. Raises as `prefix` does."""
    return prefix() / "lib" / "libdcnn_fast.so.0"


def _folders() -> list[Path]:
    """The candidate folders; an editable install has compiled files apart from the sources."""
    return [Path(folder) / "c" for folder in dcnn_fast.__path__]


if __name__ == "__main__":
    print(prefix())
