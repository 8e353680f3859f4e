"""`score --parquet`: all rows of a run in one Parquet file, written at the end of the run."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from dcnn_fast.batch.columns import NAMES, arrays, schema
from dcnn_fast.cli.picture_identity import identity
from dcnn_fast.cli.record import Record
from dcnn_fast.cli.rows import JSONL, rows_of
from dcnn_fast.cli.targets import Kind, Target
from dcnn_fast.scoring import Score
from dcnn_fast.scoring.collection import Collection

if TYPE_CHECKING:
    import pyarrow

_MARK_COLUMN, _MARK = "schema", "dcnn_fast.scores.v1"  # by which a file is recognised from its first bytes
_RECORD, _OURS = b"dcnn_fast_run", b"dcnn_fast"  # in the file's metadata
_COMPRESSION = {_MARK_COLUMN: "NONE", **dict.fromkeys(NAMES, "ZSTD")}
_GROUP = 50_000  # rows in memory at a time
_START = 256  # bytes that include the first value of the first column


def _is_ours(head: bytes) -> bool:
    """Whether the file is ours, by its first value or, if it has no rows, by its metadata."""
    if not head.startswith(b"PAR1"):
        return False
    return _MARK.encode() in head[:_START] or (head.endswith(b"PAR1") and _is_empty_of_ours(head))


def _is_empty_of_ours(file: bytes) -> bool:
    import pyarrow as pa  # noqa: PLC0415 - an extra
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        found = pq.read_metadata(io.BytesIO(file))
    except (pa.ArrowException, OSError):
        return False
    return found.num_rows == 0 and (found.metadata or {}).get(_OURS) == _MARK.encode()


TABLE = Kind("a Parquet file of scores", _is_ours)


class ScoreTable:
    """Keeps rows in a temporary file until all are there.

    target: the file. record: the settings behind the scores, for the file's metadata.
    """

    def __init__(self, target: Target, record: Record) -> None:
        self.target, self._record = target, record
        self._rows = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the run
        self._failure: OSError | None = None

    def add(self, score: Score) -> None:
        """Keep the row of one picture; each picture has one."""
        if self._failure is None:
            try:
                self._rows.write(JSONL.line(score))
            except OSError as error:
                self._failure = error

    def write(self, collection: Collection) -> None:
        """Write the file, in memory that does not grow with its rows. collection: already closed. Raises OSError."""
        import pyarrow.parquet as pq  # noqa: PLC0415 - an extra

        if self._failure is not None:
            raise self._failure
        names = self._names_of(collection)
        of = schema([_MARK_COLUMN, *NAMES]).with_metadata({_RECORD: self._record.content(), _OURS: _MARK.encode()})
        rows = self._completed(collection, names)
        with (
            self.target.writing() as beside,
            pq.ParquetWriter(beside, of, compression=_COMPRESSION) as file,
        ):
            while group := list(islice(rows, _GROUP)):
                file.write_table(_table(group, of))

    def _completed(self, collection: Collection, names: dict[bytes, str]) -> Iterator[Score]:
        for row in self._kept():
            yield collection.completed(partial(identity, row.path or ""), row, names.__getitem__)

    def _names_of(self, collection: Collection) -> dict[bytes, str]:
        """The paths of the first photographs of groups, by their keys."""
        keyed = ((identity(row.path or ""), row.path or "") for row in self._kept()) if collection.firsts else ()
        return {key: path for key, path in keyed if key in collection.firsts}

    def _kept(self) -> Iterator[Score]:
        self._rows.seek(0)
        return rows_of(self._rows, JSONL)


def _table(scores: list[Score], of: pyarrow.Schema) -> pyarrow.Table:
    import pyarrow as pa  # noqa: PLC0415 - an extra

    return pa.table(arrays(scores, NAMES, {_MARK_COLUMN: lambda _: _MARK}), schema=of)
