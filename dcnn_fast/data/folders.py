"""Which files a command line means."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

SUFFIXES = frozenset(
    [
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".webp",
        ".tif",
        ".tiff",
        ".gif",
        ".bmp",
        ".jp2",
        ".j2k",
        ".j2c",
        ".jpf",
        ".jpx",
        ".avif",
    ]
)


def find_images(paths: Iterable[str | os.PathLike[str]], recursive: bool = False) -> Iterator[Path]:
    """The image files that `paths` name, in order; a folder's in order of their names, subfolders after files.

    A folder gives its files with a suffix of `SUFFIXES`, whatever the case; with `recursive` its subfolders' too, except
    links to folders, which could lead in circles. Anything else is given as it is, whether or not it exists or looks like
    an image: reading it will tell. So is a folder that cannot be listed.
    """
    for path in map(Path, paths):
        if path.is_dir():
            yield from _in_folder(path, recursive)
        else:
            yield path


def _in_folder(folder: Path, recursive: bool) -> Iterator[Path]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        yield folder
        return
    for entry in entries:
        if Path(entry.name).suffix.lower() in SUFFIXES and not entry.is_dir():
            yield folder / entry.name
    if recursive:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _in_folder(folder / entry.name, recursive)
