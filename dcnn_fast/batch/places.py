"""Reads and writes whole files in a local folder or an object store; writes are atomic where the storage allows it."""

from __future__ import annotations

import os
from pathlib import Path

from dcnn_fast.data.remote import Store, is_address, of_machine
from dcnn_fast.partials import new_file
from dcnn_fast.whole_files import sync_folder


def joined(folder: str, *names: str) -> str:
    """The path of a file in a folder, or its address in an object store's folder."""
    return "/".join((folder.rstrip("/"), *names)) if is_address(folder) else os.path.join(folder, *names)


def exists(place: str) -> bool:
    """Whether a file or folder exists. Raises OSError."""
    path = of_machine(place)
    return Store(path).exists() if is_address(path) else os.path.lexists(path)


def read(place: str) -> bytes | None:
    """A file's content, None where the file does not exist. Raises OSError."""
    try:
        if not is_address(path := of_machine(place)):
            return Path(path).read_bytes()
        store = Store(path)
        return store.file(with_version=True).content() if store.exists() else None
    except FileNotFoundError:
        return None


def write(place: str, content: bytes) -> None:
    """Write a file, replacing an existing one; its folder is created. Raises OSError.

    A local file is written under another name and renamed once it is whole. Most object stores show only whole files, too;
    where one shows a part, readers do not take it for a whole file (`shards`).
    """
    if is_address(path := of_machine(place)):
        Store(path).write(content)
        return
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    with new_file(file) as partial:
        with partial.open("r+b") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, file)
    sync_folder(file.parent)
