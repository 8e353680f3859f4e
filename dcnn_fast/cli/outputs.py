"""Where scores go: CSV and JSONL files that are valid at every moment, and the ranking shown at the end."""

from __future__ import annotations

import csv
import heapq
import io
import json
from pathlib import Path
from typing import IO

from dcnn_fast.scoring import CSV_FIELDS, Score


class OutputError(ValueError):
    """An existing output file that a run cannot go on with; the message names it and says why."""


class CsvOutput:
    """A CSV file with `CSV_FIELDS`, a whole row written and flushed for each score.

    With `resume`, rows that the file already holds are read into `held` and kept; a last line that an interruption cut short
    is dropped. Raises OutputError when the file is not such a CSV.
    """

    def __init__(self, path: Path, *, resume: bool = False) -> None:
        self.held: list[Score] = _read_rows(path) if resume and path.exists() else []
        self._file = _append_to_whole_lines(path) if self.held else _open(path, "w")
        self._writer = csv.DictWriter(self._file, CSV_FIELDS, lineterminator="\n")
        if not self.held:
            self._writer.writeheader()
            self._file.flush()

    def write(self, score: Score) -> None:
        """Append one score's row."""
        self._writer.writerow(score.csv_row())
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class JsonlOutput:
    """A file with one JSON object a line for each score; with `resume`, lines are added to those there."""

    def __init__(self, path: Path, *, resume: bool = False) -> None:
        self._file = _append_to_whole_lines(path) if resume and path.exists() else _open(path, "w")

    def write(self, score: Score) -> None:
        """Append one score's line."""
        self._file.write(json.dumps(score.as_dict(), allow_nan=False) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Ranking:
    """The `keep` best scores seen and the first `keep` failures, in memory that does not grow with their number."""

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
            if len(self.failures) < self.keep:
                self.failures.append(score)
            return
        push = heapq.heappush if len(self._heap) < self.keep else heapq.heappushpop
        push(self._heap, (_merit(score), -self.seen, score))

    def best(self, count: int) -> list[Score]:
        """The `count` best, best first."""
        return [score for _, _, score in sorted(self._heap, reverse=True)[:count]]


def _merit(score: Score) -> float:
    return score.mean if score.mean is not None else max(score.probs.values(), default=0.0)


def _open(path: Path, mode: str) -> IO[str]:
    return open(path, mode, newline="", encoding="utf-8", errors="surrogateescape")


def _append_to_whole_lines(path: Path) -> IO[str]:
    """Open `path` for appending after its last whole line."""
    content = path.read_bytes()
    with open(path, "r+b") as file:
        file.truncate(content.rfind(b"\n") + 1)
    return _open(path, "a")


def _read_rows(path: Path) -> list[Score]:
    with _open(path, "r") as file:
        text = file.read()
    whole = text[: text.rfind("\n") + 1]
    reader = csv.DictReader(io.StringIO(whole, newline=""), strict=True)
    try:
        if tuple(reader.fieldnames or ()) not in (CSV_FIELDS, ()):
            raise OutputError(f"{path}: the columns must be {','.join(CSV_FIELDS)}, got {','.join(reader.fieldnames or ())}")
        return [_from_row(row) for row in reader]
    except (csv.Error, ValueError, KeyError, TypeError) as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"{path}: line {reader.line_num} is not a score of this program: {error}") from None


def _from_row(row: dict[str, str]) -> Score:
    if None in row or None in row.values():
        raise ValueError(f"a row must have {len(CSV_FIELDS)} fields")
    mean, std = (float(row[name]) if row[name] else None for name in ("mean", "std"))
    return Score(
        mean=mean, std=std, label=row["label"] or None, views=int(row["views"]), seed=int(row["seed"]),
        path=row["path"], error=row["error"] or None,
    )  # fmt: skip
