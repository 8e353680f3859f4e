"""Scores as rows of CSV and JSONL files: written, recognised and read, even after a spreadsheet has saved them."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, BinaryIO

from dcnn_fast.cli.formulas import as_text, from_text
from dcnn_fast.cli.targets import Kind, json_with, lines_of
from dcnn_fast.photographs.look import look_from
from dcnn_fast.scoring import CSV_FIELDS, Score
from dcnn_fast.scoring.samples import samples_from
from dcnn_fast.scoring.score import BETWEEN_NOTES, FIRST_CSV_FIELDS, NO_FAULTS

_HEADERS = (",".join(CSV_FIELDS), ",".join(FIRST_CSV_FIELDS))  # the present header, and that of older files with fewer fields
_HEADER = _HEADERS[0]
_TEXTS = ("path", "label", "error", "taken", "camera", "group", "faults", "notes")
_MAY_LACK = frozenset(CSV_FIELDS[CSV_FIELDS.index("error") :])
# By the names that files have: what they call views are the samples.
_FIELDS = {"views" if field.name == "samples_count" else field.name: field.name for field in fields(Score)}
_BEST = {"": None, "yes": True, "no": False}
_MARK = b"\xef\xbb\xbf"  # the byte order mark with which spreadsheets begin a file
_LONGEST = 2**24  # most bytes in a row


class RowsError(ValueError):
    """A file holds something other than scores of this program; the message names the line and says why."""


@dataclass(frozen=True)
class Format:
    """The way scores are written in one sort of file.

    kind: recognises such files. head: their first bytes. line: the bytes of one score. rows: the scores in an open file, in
    order, each with the bytes that it was read from, in memory that does not grow with the file; a truncated last row is left
    out. Raises RowsError.
    """

    kind: Kind
    head: bytes
    line: Callable[[Score], bytes]
    rows: Callable[[BinaryIO], Iterator[tuple[bytes, Score]]]

    def read(self, content: bytes) -> list[Score]:
        """The scores in a file's bytes. Raises RowsError."""
        return [score for _, score in self.rows(io.BytesIO(content))]


def _csv_line(score: Score, *, for_spreadsheets: bool = False) -> bytes:
    """One row. The line terminator has a carriage return only so that the writer quotes carriage returns in cells."""
    buffer, row = io.StringIO(newline=""), score.csv_row()
    if for_spreadsheets:
        row |= {name: as_text(row[name]) for name in _TEXTS}
    csv.DictWriter(buffer, CSV_FIELDS, lineterminator="\r\n").writerow(row)
    return (buffer.getvalue().removesuffix("\r\n") + "\n").encode(errors="surrogateescape")


def _json_line(score: Score) -> bytes:
    return (json.dumps(score.as_dict(), allow_nan=False) + "\n").encode()


class _WholeLines:
    """The lines of a CSV file as text, without those of a truncated last row: a row ends with the first line that does not
    end within a quoted field.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._given: list[bytes] = []

    def __iter__(self) -> Iterator[str]:
        row: list[bytes] = []
        size, is_quoted = 0, False
        for line in self._file:
            if not line.endswith(b"\n"):
                return
            row.append(line)
            size += len(line)
            is_quoted ^= line.count(b'"') % 2 == 1
            if not is_quoted:
                for each in row:
                    self._given.append(each)
                    yield each.decode(errors="surrogateescape")
                row, size = [], 0
            elif size > _LONGEST:
                raise ValueError(f"it is longer than {_LONGEST} bytes")

    def taken(self) -> bytes:
        """All bytes read since the last call."""
        taken = b"".join(self._given)
        self._given.clear()
        return taken


def _csv_rows(file: BinaryIO, *, for_spreadsheets: bool = False) -> Iterator[tuple[bytes, Score]]:
    """Accepts spreadsheets' habits: a byte order mark, carriage returns before line ends, semicolons with decimal commas."""
    first = file.readline(_LONGEST).removeprefix(_MARK)
    header = first.decode(errors="surrogateescape").rstrip("\r\n").replace('"', "")
    delimiter = ";" if header in [known.replace(",", ";") for known in _HEADERS] else ","
    if not first.endswith(b"\n") and any(known.encode().startswith(first) for known in _HEADERS):
        return
    if not first.endswith(b"\n") or header.replace(delimiter, ",") not in _HEADERS:
        shown = first[:200].rstrip(b"\n").decode(errors="backslashreplace")
        raise RowsError(f"the fields must be {_HEADER}, got {shown}")
    lines = _WholeLines(file)
    reader = csv.DictReader(lines, header.split(delimiter), strict=True, delimiter=delimiter)
    point, text = "," if delimiter == ";" else ".", from_text if for_spreadsheets else _as_it_is
    try:
        for row in reader:
            if any(row.values()):
                yield lines.taken(), _from_row(row, point, text)
    except (csv.Error, ValueError) as error:
        raise RowsError(f"line {reader.line_num + 1} is not a score of this program: {error}") from None


def _as_it_is(text: str) -> str:
    return text


def _from_row(row: dict[str, str], point: str, text: Callable[[str], str]) -> Score:
    lacking = [name for name, value in row.items() if value is None]
    if lacking and set(lacking) <= _MAY_LACK and (row["mean"] or row["label"]):
        row |= dict.fromkeys(lacking, "")  # some spreadsheets leave out empty cells at a row's end
    elif None in row or lacking:
        raise ValueError(f"a row must have {len([name for name in row if name is not None])} fields")
    row = dict.fromkeys(CSV_FIELDS, "") | row  # an older file has fewer fields
    numbers = ("mean", "std", "percentile", "collection_percentile")
    mean, std, percentile, place = (float(row[name].replace(point, ".")) if row[name] else None for name in numbers)
    if row["best_of_group"].lower() not in _BEST:
        raise ValueError(f"best_of_group must be yes, no or empty, got {row['best_of_group']}")
    faults, notes = text(row["faults"]), text(row["notes"])
    return _checked(
        Score(
            mean=mean, std=std, label=text(row["label"]) or None, samples_count=int(row["views"]), seed=int(row["seed"]),
            path=text(row["path"]), error=text(row["error"]) or None, percentile=percentile, collection_percentile=place,
            width=int(row["width"]) if row["width"] else None, height=int(row["height"]) if row["height"] else None,
            taken=text(row["taken"]) or None, camera=text(row["camera"]) or None, group=text(row["group"]) or None,
            best_of_group=_BEST[row["best_of_group"].lower()],
            faults=None if not faults else () if faults == NO_FAULTS else tuple(faults.split()),
            notes=tuple(notes.split(BETWEEN_NOTES)) if notes else (),
        )
    )  # fmt: skip


def _json_rows(file: BinaryIO) -> Iterator[tuple[bytes, Score]]:
    taken = b""
    for number, line in enumerate(file, 1):
        if not line.endswith(b"\n"):
            return
        text, taken = (line.removeprefix(_MARK) if number == 1 else line).strip(), taken + line
        if text:
            try:
                score = _from_object(json.loads(text))
            except (ValueError, TypeError, RecursionError) as error:
                raise RowsError(f"line {number} is not a score of this program: {error}") from None
            yield taken, score
            taken = b""


def _from_object(value: Any) -> Score:
    if not isinstance(value, dict) or not {"path", "mean", "error", "views", "seed"} <= value.keys():
        raise ValueError("it must be an object with path, mean, error, views and seed")
    known = {_FIELDS[name]: value[name] for name in value if name in _FIELDS}
    known["notes"] = tuple(known.get("notes") or ())
    for name, made in (("faults", _names), ("look", look_from), ("samples", samples_from)):
        if known.get(name) is not None:
            known[name] = made(known[name])
    return _checked(Score(**known))


def _names(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError("faults must be a list of names")
    return tuple(value)


def _checked(score: Score) -> Score:
    """`score`, once its values have been checked to have valid types and ranges."""
    texts = (score.path, score.label, score.error, score.plan, score.taken, score.camera, score.group)
    if not isinstance(score.path, str) or any(not isinstance(text, (str, type(None))) for text in texts):
        raise ValueError("path must be text; label, error, plan, taken, camera and group text or nothing")
    if not isinstance(score.probs, dict):
        raise ValueError("probs must be an object")
    for name, value in (("mean", score.mean), ("std", score.std), *score.probs.items()):
        _require_range(name, value, 1)
    for name, value in (("percentile", score.percentile), ("collection_percentile", score.collection_percentile)):
        _require_range(name, value, 100)
    if not isinstance(score.samples_count, int) or not isinstance(score.seed, int):
        raise ValueError("views and seed must be integers")
    if not all(isinstance(note, str) for note in score.notes):
        raise ValueError("notes must be texts")
    if score.best_of_group is not None and not isinstance(score.best_of_group, bool):
        raise ValueError(f"best_of_group must be true, false or nothing, got {score.best_of_group}")
    if not all(isinstance(name, str) for name in score.faults or ()):
        raise ValueError("faults must be a list of names")
    if any(side is not None and (type(side) is not int or side < 1) for side in (score.width, score.height)):
        raise ValueError(f"width and height must be whole numbers from 1, got {score.width} and {score.height}")
    _require_measures(score.measures)
    return score


def _require_measures(measures: Any) -> None:
    if measures is None:
        return
    if not isinstance(measures, dict) or not all(type(value) in (int, float) for value in measures.values()):
        raise ValueError("measures must be an object of numbers")
    if not all(math.isfinite(value) for value in measures.values()):
        raise ValueError("measures must be finite")


def _require_range(name: str, value: Any, most: int) -> None:
    if value is not None and not (isinstance(value, (int, float)) and math.isfinite(value) and 0 <= value <= most):
        raise ValueError(f"{name} must be from 0 to {most}, got {value}")


def rows_of(file: BinaryIO, format: Format) -> Iterator[Score]:
    """The scores in an open file that this program wrote, in order, in memory that does not grow with it. Raises RowsError."""
    if file.read(len(format.head)) != format.head:
        raise RowsError("it does not begin as this program has it begin")
    file.seek(0)
    for _, score in format.rows(file):
        yield score


CSV = Format(lines_of("a CSV file of scores", *_HEADERS), _HEADER.encode() + b"\n", _csv_line, _csv_rows)
CSV_FOR_SPREADSHEETS = replace(
    CSV, line=partial(_csv_line, for_spreadsheets=True), rows=partial(_csv_rows, for_spreadsheets=True)
)
JSONL = Format(json_with("a JSONL file of scores", "probs", "mean", "path", "error"), b"", _json_line, _json_rows)
