"""Where scores go: CSV and JSONL files that are valid at every moment, and the ranking shown at the end."""

from __future__ import annotations

import csv
import heapq
import io
import json
import os
from pathlib import Path
from typing import IO

from dcnn_fast.scoring import CSV_FIELDS, Score

_HEADER = (",".join(CSV_FIELDS) + "\n").encode()


class OutputError(ValueError):
    """An existing output file that a run cannot go on with; the message names it and says why."""


class CsvOutput:
    """A CSV file with `CSV_FIELDS`, a whole row written and flushed for each score.

    With `resume`, rows that the file already holds are read into `held` and kept; a last line that an interruption cut short
    is dropped. Raises OutputError when the file is not such a CSV.
    """

    def __init__(self, path: Path, *, resume: bool = False) -> None:
        self.held: list[Score] = []
        size = 0
        if resume and path.exists():
            self.held, size = _read_rows(path)
        self._file = _open_after(path, size)
        if size == 0:
            self._append(dict(zip(CSV_FIELDS, CSV_FIELDS, strict=True)))

    def write(self, score: Score) -> None:
        """Append one score's row."""
        self._append(score.csv_row())

    def _append(self, row: dict[str, str]) -> None:
        self._file.write(_csv_line(row))
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class JsonlOutput:
    """A file with one JSON object a line for each score; with `resume`, lines are added to those there."""

    def __init__(self, path: Path, *, resume: bool = False) -> None:
        self._file = _open_after(path, path.read_bytes().rfind(b"\n") + 1 if resume and path.exists() else 0)

    def write(self, score: Score) -> None:
        """Append one score's line."""
        self._file.write(json.dumps(score.as_dict(), allow_nan=False) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


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
        """Count one score; equal ones rank in the order they came."""
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


def _open_after(path: Path, size: int) -> IO[str]:
    """Open `path` for writing after its first `size` bytes; the rest is dropped."""
    if size:
        os.truncate(path, size)
    return open(path, "a" if size else "w", newline="", encoding="utf-8", errors="surrogateescape")


def _csv_line(row: dict[str, str]) -> str:
    """One row. The writer quotes a carriage return only where that belongs to the line's end, so it must, here."""
    buffer = io.StringIO(newline="")
    csv.DictWriter(buffer, CSV_FIELDS, lineterminator="\r\n").writerow(row)
    return buffer.getvalue().removesuffix("\r\n") + "\n"


def _whole_rows(content: bytes) -> bytes:
    """`content` up to the end of its last whole row: a line's end that lies in no quoted field."""
    end = content.rfind(b"\n") + 1
    quotes = content.count(b'"', 0, end)
    while quotes % 2:
        start = content.rfind(b"\n", 0, end - 1) + 1
        quotes -= content.count(b'"', start, end)  # of this line alone: a long file is not counted again and again
        end = start
    return content[:end]


def _read_rows(path: Path) -> tuple[list[Score], int]:
    """The scores in a CSV file and the bytes that its whole rows take."""
    content = path.read_bytes()
    whole = _whole_rows(content)
    if not whole.startswith(_HEADER) and (whole or not _HEADER.startswith(content)):
        first = content[:200].split(b"\n")[0].decode(errors="backslashreplace")
        raise OutputError(f"{path}: the columns must be {','.join(CSV_FIELDS)}, got {first}")
    reader = csv.DictReader(io.StringIO(whole.decode(errors="surrogateescape"), newline=""), strict=True)
    try:
        return [_from_row(row) for row in reader], len(whole)
    except (csv.Error, ValueError) as error:
        raise OutputError(f"{path}: line {reader.line_num} is not a score of this program: {error}") from None


def _from_row(row: dict[str, str]) -> Score:
    if None in row or None in row.values():
        raise ValueError(f"a row must have {len(CSV_FIELDS)} fields")
    mean, std = (float(row[name]) if row[name] else None for name in ("mean", "std"))
    for name, value in (("mean", mean), ("std", std)):
        if value is not None and not 0 <= value <= 1:
            raise ValueError(f"{name} must be from 0 to 1, got {value}")
    return Score(
        mean=mean, std=std, label=row["label"] or None, views=int(row["views"]), seed=int(row["seed"]),
        path=row["path"], error=row["error"] or None,
    )  # fmt: skip
