"""The outputs for scores: files of rows that are valid at every moment, and the ranking shown at the end."""

from __future__ import annotations

import errno
import heapq
import io
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from dcnn_fast.cli.record import Record
from dcnn_fast.cli.rows import Format
from dcnn_fast.cli.targets import Target, write_all
from dcnn_fast.scoring import Score


@dataclass(frozen=True)
class RowFile:
    """A file of scores and the record beside it of the settings; a target that is written straight has no record."""

    target: Target
    format: Format
    record: Target | None

    @property
    def path(self) -> Path:
        """The file behind all links; only for one that has a record."""
        assert self.target.file is not None
        return self.target.file


class RowOutput:
    """Writes rows, each whole and at once. A failure raises OSError and leaves only whole rows.

    record: the content of the record. append: add rows to the existing ones and keep their record; otherwise the file is
    emptied when the first row comes, not before.
    """

    def __init__(self, file: RowFile, record: Record, *, append: bool = False) -> None:
        self.target, self.format = file.target, file.format
        self._record, self._beside = record, file.record
        self._append = append
        self._file: io.FileIO | None = None

    def begin(self) -> None:
        """Open the file, and write its format's head and the record; a second call does nothing."""
        if self._file is None:
            self._file = self.target.open(append=self._append)
            if not self._append:
                self._write(self._file, self.format.head)
                if self._beside is not None:
                    self._beside.write(self._record.content())  # before any row: a file without rows may have any record

    def write(self, score: Score) -> None:
        """Append one score's row."""
        self.begin()
        assert self._file is not None
        self._write(self._file, self.format.line(score))

    def close(self) -> None:
        """Close the file. Raises OSError if its name no longer leads to it: the rows are lost then."""
        if self._file is None:
            return
        status = os.fstat(self._file.fileno())
        self._file.close()
        if self.target.file is not None and not _is_at(self.target.file, status):
            raise OSError(errno.ESTALE, "it was removed or replaced while it was written")

    def _write(self, file: io.FileIO, content: bytes) -> None:
        status = os.fstat(file.fileno())
        try:
            write_all(file, content)
        except OSError:
            if stat.S_ISREG(status.st_mode) and self.target.file is not None:
                os.ftruncate(file.fileno(), status.st_size)  # remove the part of a row that was written
            raise


def _is_at(path: Path, status: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.stat(path), status)
    except FileNotFoundError:
        return False


class Ranking:
    """The `keep` best scores seen and the first failures, in memory that does not grow with their number."""

    FAILURES = 1000

    def __init__(self, keep: int) -> None:
        self.keep = keep
        self.seen = 0
        self.failed = 0
        self.failures: list[Score] = []
        self._heap: list[tuple[float, int, Score]] = []

    def add(self, score: Score) -> None:
        """Count one score; equal scores rank in the order of their arrival."""
        self.seen += 1
        if score.error is not None:
            self.failed += 1
            if len(self.failures) < self.FAILURES:
                self.failures.append(score)
            return
        push = heapq.heappush if len(self._heap) < self.keep else heapq.heappushpop
        push(self._heap, (_merit(score), -self.seen, score))

    def best(self, count: int) -> list[Score]:
        """The `count` best, best first."""
        return [score for _, _, score in sorted(self._heap, reverse=True)[:count]]


def _merit(score: Score) -> float:
    return score.mean if score.mean is not None else max(score.probs.values(), default=0.0)
