"""Files of rows at the end of a run: each is written anew with what is known only of the whole collection."""

from __future__ import annotations

import os
from functools import partial

from dcnn_fast.cli.outputs import RowFile
from dcnn_fast.cli.pictures import identity
from dcnn_fast.cli.rows import rows_of
from dcnn_fast.scoring.collection import Collection


def write_places(file: RowFile, folder: str, collection: Collection) -> None:
    """Write the file anew, whole, with the place and the group of every row. folder: what relative paths in it start from.

    A group is called by the path that its first photograph has in this file. Memory does not grow with the file.
    Raises OSError, RowsError.
    """
    firsts = collection.firsts
    names: dict[bytes, str] = {}
    if firsts:
        with file.path.open("rb") as source:
            for score in rows_of(source, file.format):
                key = identity(os.path.join(folder, score.path or ""))
                if key in firsts:
                    names[key] = score.path or ""
    with file.path.open("rb") as source, file.target.writing() as beside, beside.open("wb") as made:
        made.write(file.format.head)
        for score in rows_of(source, file.format):
            key_of = partial(identity, os.path.join(folder, score.path or ""))
            made.write(file.format.line(collection.completed(key_of, score, names.__getitem__)))
