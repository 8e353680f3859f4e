"""Files of rows at the end of a run: rewritten with the fields that depend on the whole collection."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from functools import partial

from dcnn_fast.cli.outputs import RowFile
from dcnn_fast.cli.picture_identity import identity
from dcnn_fast.cli.rows import RowsError, rows_of
from dcnn_fast.data.remote import placed
from dcnn_fast.scoring import Score
from dcnn_fast.scoring.collection import Collection


def write_places(file: RowFile, folder: str, collection: Collection) -> None:
    """Rewrite the whole file with the place and the group of every row. folder: the base of its relative paths.

    A group is named after its first photograph's path in this file. A file whose rows are already complete is not touched.
    Memory does not grow with the file. Raises OSError.
    """
    names = _names(file, folder, collection.firsts)
    if all(file.format.line(row) == file.format.line(done) for row, done in _completed(file, folder, collection, names)):
        return
    with file.target.writing() as beside, beside.open("wb") as made:
        made.write(file.format.head)
        for _, done in _completed(file, folder, collection, names):
            made.write(file.format.line(done))


def _names(file: RowFile, folder: str, firsts: set[bytes]) -> dict[bytes, str]:
    """The paths by which the file names the photographs with these keys."""
    keyed = ((_key(row, folder), row.path or "") for row in _rows(file)) if firsts else ()
    return {key: path for key, path in keyed if key in firsts}


def _completed(
    file: RowFile, folder: str, collection: Collection, names: dict[bytes, str]
) -> Iterator[tuple[Score, Score]]:  # fmt: skip
    """Each row with its completed version."""
    for row in _rows(file):
        yield row, collection.completed(partial(_key, row, folder), row, names.__getitem__)


def _rows(file: RowFile) -> Iterator[Score]:
    with file.path.open("rb") as source:
        try:
            yield from rows_of(source, file.format)
        except RowsError as error:
            raise OSError(errno.ESTALE, f"it was changed while it was written: {error}") from None


def _key(row: Score, folder: str) -> bytes:
    return identity(placed(folder, row.path or ""))
