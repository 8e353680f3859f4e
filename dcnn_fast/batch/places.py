"""Whole files in a folder of this machine or in a store: read, or written so that none is ever half there."""

from __future__ import annotations

import os
from pathlib import Path

from dcnn_fast.data.stores import Store, is_address, of_machine
from dcnn_fast.partials import new_file
from dcnn_fast.whole_files import sync_folder


def joined(folder: str, *names: str) -> str:
    """The path of a file in a folder, or its address in a folder of a store."""
    return "/".join((folder.rstrip("/"), *names)) if is_address(folder) else os.path.join(folder, *names)


def exists(place: str) -> bool:
    """Whether a file or a folder is there. Raises OSError."""
    path = of_machine(place)
    return Store(path).exists() if is_address(path) else os.path.lexists(path)


def read(place: str) -> bytes | None:
    """A file's content, None where there is none. Raises OSError."""
    try:
        if not is_address(path := of_machine(place)):
            return Path(path).read_bytes()
        store = Store(path)
        return store.file(with_version=True).content() if store.exists() else None
    except FileNotFoundError:
        return None


def write(place: str, content: bytes) -> None:
    """Put a file there, in place of one that is; its folder is made. Raises OSError.

    In a folder of this machine it is renamed when it is whole. Object stores show a file when it is whole, too; of a store
    that does not, a part may be seen, which nobody takes for a whole file (`shards`).
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
