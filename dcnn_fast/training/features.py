"""The features that frozen layers compute from photographs, kept in a file: computed once, for every epoch and every run.

The file is an SQLite database, which is whole after a crash and may be used by several runs at a time. A row is found by a
digest of the layers and the engine that computes them, and one of the window's pixels; a damaged row is ignored and its
features are computed anew.
"""

from __future__ import annotations

import hashlib
import math
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from dcnn_fast.nets.kept import Keeper, keepers_of, keeping_means
from dcnn_fast.training.folder import CHECKPOINT, FEATURES, Folder
from dcnn_fast.training.observers import Silent, Told

MEGABYTES = 256  # of each column's features, in memory and read from the file
_MARK = 0x64666561  # of our files: "dfea"
_SECONDS = 30.0  # to wait for another run that is writing
_MAKE = (
    "CREATE TABLE IF NOT EXISTS features (layers TEXT, window BLOB, shape TEXT, value BLOB, digest BLOB, "
    "PRIMARY KEY (layers, window)) WITHOUT ROWID"
)


def require_features(path: Path, net: nn.Module, device: torch.device) -> None:
    """Require that a file is absent, or a usable one of features. Raises ValueError naming it."""
    if device.type != "cpu" or not any(keeper.sees_all for keeper in keepers_of(net)):
        raise ValueError(
            "features must not be given but for layers next to the pixels of whole views that do not learn, on the cpu; "
            f"got {path}"
        )
    if os.path.lexists(path) and not (path.is_file() and _is_ours(path)):
        raise ValueError(f"features must be a new file or one of features, got {path}")


class Features(Silent):
    """The features of a network's columns in a file. One that cannot be read or written is named, and the run goes on."""

    def __init__(self, net: nn.Module, path: Path, out: Folder) -> None:
        # Only windows that are whole views recur in another run.
        self._keepers = {keeper.features_digest(): keeper for keeper in keepers_of(net) if keeper.sees_all}
        self._path, self._out = path, out

    def known(self) -> dict[str, dict[bytes, Tensor]]:
        """The file's features of these columns, by the layers' digest and the window's."""
        found: dict[str, dict[bytes, Tensor]] = {}
        if self._path.is_file():
            self._out.attempt(self._path.name, lambda: found.update(read_features(self._path, self._keepers)))
        return found

    def ended(self, told: Told) -> None:
        """Write the epoch's new features."""
        self.write()

    def write(self) -> None:
        """Write the new features."""
        new = {layers: keeper.kept.taken() for layers, keeper in self._keepers.items() if keeper.kept is not None}
        if self._path == self._out / FEATURES and not (self._out / CHECKPOINT).is_file():
            return  # leave a folder without a checkpoint as it was
        if any(new.values()):
            self._out.attempt(self._path.name, lambda: write_features(self._path, new))


@contextmanager
def kept_features(net: nn.Module, path: Path, out: Folder) -> Iterator[Features]:
    """Compute features once while the context lasts; those of whole views are in the file afterwards."""
    features = Features(net, path, out)
    with keeping_means(net, MEGABYTES, features.known()):
        try:
            yield features
        finally:
            features.write()


def read_features(path: Path, layers: Mapping[str, Keeper]) -> dict[str, dict[bytes, Tensor]]:
    """The undamaged rows of these layers, of the right shape, by the window's digest.

    Raises OSError where the file cannot be read.
    """
    found: dict[str, dict[bytes, Tensor]] = {each: {} for each in layers}
    with _opened(path) as file:
        for each, keeper in layers.items():
            sizes, dtype = keeper.features_form()
            wanted, length = ",".join(map(str, sizes)), math.prod(sizes) * dtype.itemsize
            rows = file.execute("SELECT window, shape, value, digest FROM features WHERE layers = ?", (each,))
            for window, shape, value, digest in rows:
                if digest == _digest(window, shape, value) and (shape, len(value)) == (wanted, length):
                    found[each][window] = torch.frombuffer(bytearray(value), dtype=dtype).reshape(sizes)
    return found


def write_features(path: Path, new: Mapping[str, Mapping[bytes, Tensor]]) -> None:
    """Add rows to a file, which is made where it is not there. Raises OSError."""
    with _opened(path) as file, file:
        for layers, found in new.items():
            file.executemany("INSERT OR REPLACE INTO features VALUES (?, ?, ?, ?, ?)", map(_row, *_columns(layers, found)))


def _columns(layers: str, found: Mapping[bytes, Tensor]) -> tuple[list[str], list[bytes], list[Tensor]]:
    return [layers] * len(found), list(found), list(found.values())


def _row(layers: str, window: bytes, means: Tensor) -> tuple[str, bytes, str, bytes, bytes]:
    shape, value = ",".join(map(str, means.shape)), means.contiguous().view(torch.uint8).numpy().tobytes()
    return layers, window, shape, value, _digest(window, shape, value)


def _digest(window: bytes, shape: str, value: bytes) -> bytes:
    return hashlib.blake2b(window + shape.encode() + value, digest_size=8).digest()


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that no other process inherits. Raises OSError with SQLite's message."""
    try:
        with closing(sqlite3.connect(path, timeout=_SECONDS)) as file:
            file.execute(_MAKE)
            file.execute(f"PRAGMA application_id = {_MARK}")
            yield file
    except sqlite3.Error as error:
        raise OSError(str(error)) from None


def _is_ours(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            head = file.read(72)
    except OSError:
        return False
    return head.startswith(b"SQLite format 3\0") and int.from_bytes(head[68:72], "big") == _MARK
