"""A key for the picture that a path leads to, however the path was typed."""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache

from dcnn_fast.data.remote import is_address


def identity(path: str) -> bytes:
    """Equal for two paths of one picture: the name of the file behind all links, in its folder (by device and inode).

    So `pics/a.jpg`, `$PWD/pics/a.jpg` and a path through a link to the folder or to the file are one picture. Hard links are
    separate pictures: a listing has both names, and users expect a row for each. The key of a path into a missing folder is its
    absolute path; that of an address in a store is its text.
    """
    if is_address(path):
        return hashlib.blake2b(os.fsencode(f"address {path}"), digest_size=16).digest()
    folder, name = os.path.split(path)
    try:
        if name in ("", ".", "..") or os.path.islink(path):
            folder, name = os.path.split(os.path.realpath(path))
        device, inode = _folder(folder or ".")
        key = f"{device} {inode} {name}"
    except (OSError, ValueError):
        key = f"? {os.path.abspath(path)}"
    return hashlib.blake2b(os.fsencode(key), digest_size=16).digest()


@lru_cache(maxsize=4096)
def _folder(path: str) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino
