"""Scores as rows of CSV and JSONL files: written, known again, and read back, also after a spreadsheet has saved them."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

from dcnn_fast.cli.formulas import as_text, from_text
from dcnn_fast.cli.targets import Kind, json_with, lines_of
from dcnn_fast.scoring import CSV_FIELDS, Score

_HEADER = ",".join(CSV_FIELDS)
_TEXTS = ("path", "label", "error")
_FIELDS = frozenset(field.name for field in fields(Score))


class RowsError(ValueError):
    """A file that does not hold scores of this program, or not only; the message names the line and says why."""


@dataclass(frozen=True)
class Format:
    """How scores are written in one sort of file.

    kind: what such files look like. head: what they begin with. line: one score. read: the scores in a file's bytes, in order;
    a last line that was cut short is left out. Raises RowsError.
    """

    kind: Kind
    head: bytes
    line: Callable[[Score], bytes]
    read: Callable[[bytes], list[Score]]


def _csv_line(score: Score, *, for_spreadsheets: bool = False) -> bytes:
    """One row. The writer quotes a carriage return only where that belongs to the line's end, so it must, here."""
    buffer, row = io.StringIO(newline=""), score.csv_row()
    if for_spreadsheets:
        row |= {name: as_text(row[name]) for name in _TEXTS}
    csv.DictWriter(buffer, CSV_FIELDS, lineterminator="\r\n").writerow(row)
    return (buffer.getvalue().removesuffix("\r\n") + "\n").encode(errors="surrogateescape")


def _json_line(score: Score) -> bytes:
    return (json.dumps(score.as_dict(), allow_nan=False) + "\n").encode()


def _whole_rows(content: bytes) -> bytes:
    """`content` up to the end of its last whole row: a line's end that lies in no quoted field."""
    end = content.rfind(b"\n") + 1
    quotes = content.count(b'"', 0, end)
    while quotes % 2:
        start = content.rfind(b"\n", 0, end - 1) + 1
        quotes -= content.count(b'"', start, end)  # of this line alone: a long file is not counted again and again
        end = start
    return content[:end]


def _read_csv(content: bytes, *, for_spreadsheets: bool = False) -> list[Score]:
    """A byte order mark, carriage returns before line ends, and semicolons with decimal commas are spreadsheets' ways."""
    content = content.removeprefix(b"\xef\xbb\xbf")
    whole = _whole_rows(content)
    text = whole.decode(errors="surrogateescape")
    first = text.partition("\n")[0].rstrip("\r").replace('"', "")
    delimiter = ";" if first == _HEADER.replace(",", ";") else ","
    if first != _HEADER.replace(",", delimiter) and (whole or not _HEADER.encode().startswith(content)):
        shown = content[:200].split(b"\n")[0].decode(errors="backslashreplace")
        raise RowsError(f"the fields must be {_HEADER}, got {shown}")
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True, delimiter=delimiter)
    try:
        point, plain = "," if delimiter == ";" else ".", from_text if for_spreadsheets else _as_it_is
        return [_from_row(row, point, plain) for row in reader if any(row.values())]
    except (csv.Error, ValueError) as error:
        raise RowsError(f"line {reader.line_num} is not a score of this program: {error}") from None


def _as_it_is(text: str) -> str:
    return text


def _from_row(row: dict[str, str], point: str, text: Callable[[str], str]) -> Score:
    lacking = [name for name, value in row.items() if value is None]
    if lacking and set(lacking) <= {"error", "percentile"} and (row["mean"] or row["label"]):
        row |= dict.fromkeys(lacking, "")  # some spreadsheets leave out what is empty at a row's end
    elif None in row or lacking:
        raise ValueError(f"a row must have {len(CSV_FIELDS)} fields")
    numbers = ("mean", "std", "percentile")
    mean, std, percentile = (float(row[name].replace(point, ".")) if row[name] else None for name in numbers)
    return _checked(
        Score(
            mean=mean, std=std, label=text(row["label"]) or None, views=int(row["views"]), seed=int(row["seed"]),
            path=text(row["path"]), error=text(row["error"]) or None, percentile=percentile,
        )
    )  # fmt: skip


def _read_jsonl(content: bytes) -> list[Score]:
    content = content.removeprefix(b"\xef\xbb\xbf")
    whole = content[: content.rfind(b"\n") + 1]
    scores = []
    for number, line in enumerate(whole.split(b"\n"), 1):
        if line.strip():
            try:
                scores.append(_from_object(json.loads(line)))
            except (ValueError, TypeError, RecursionError) as error:
                raise RowsError(f"line {number} is not a score of this program: {error}") from None
    return scores


def _from_object(value: Any) -> Score:
    if not isinstance(value, dict) or not {"path", "mean", "error", "views", "seed"} <= value.keys():
        raise ValueError("it must be an object with path, mean, error, views and seed")
    known = {name: value[name] for name in value if name in _FIELDS}
    return _checked(Score(**{**known, "notes": tuple(known.get("notes") or ())}))


def _checked(score: Score) -> Score:
    """`score` when its values are of the types and in the ranges of a score."""
    texts = (score.path, score.label, score.error, score.plan)
    if not isinstance(score.path, str) or any(not isinstance(text, (str, type(None))) for text in texts):
        raise ValueError("path must be text, label, error and plan text or nothing")
    if not isinstance(score.probs, dict):
        raise ValueError("probs must be an object")
    for name, value in (("mean", score.mean), ("std", score.std), *score.probs.items()):
        _require_range(name, value, 1)
    _require_range("percentile", score.percentile, 100)
    if not isinstance(score.views, int) or not isinstance(score.seed, int):
        raise ValueError("views and seed must be integers")
    if not all(isinstance(note, str) for note in score.notes):
        raise ValueError("notes must be texts")
    return score


def _require_range(name: str, value: Any, most: int) -> None:
    if value is not None and not (isinstance(value, (int, float)) and math.isfinite(value) and 0 <= value <= most):
        raise ValueError(f"{name} must be from 0 to {most}, got {value}")


CSV = Format(lines_of("a CSV file of scores", _HEADER), _HEADER.encode() + b"\n", _csv_line, _read_csv)
CSV_FOR_SPREADSHEETS = replace(
    CSV, line=partial(_csv_line, for_spreadsheets=True), read=partial(_read_csv, for_spreadsheets=True)
)
JSONL = Format(json_with("a JSONL file of scores", "probs", "mean", "path", "error"), b"", _json_line, _read_jsonl)
