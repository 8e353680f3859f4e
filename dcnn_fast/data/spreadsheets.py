"""Reads CSV files, also as spreadsheets save them: any line ending, a byte order mark, semicolons or tabs as delimiters."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

_DELIMITERS = (",", ";", "\t")
_HEAD = 2**20  # characters in which the head must end


class Row(dict[str, str | None]):
    """The fields of a line by column name; None for columns that a shorter line lacks.

    A row stores only its own fields, as a file may have a head of a million columns above a million short lines. number: the
    row's number in messages, from 2 on.
    """

    __slots__ = ("number",)
    number: int

    def __missing__(self, column: str) -> None:
        return None


@dataclass(frozen=True)
class Sheet:
    """head: the columns' names. rows: texts by column name; None where a line has fewer fields. decimal_comma: whether numbers
    may have a decimal comma, as with semicolons or tabs as delimiters."""

    head: tuple[str, ...]
    rows: list[Row]
    decimal_comma: bool


def read_sheet(path: Path, known: Collection[str]) -> Sheet:
    """Read the CSV file at `path`. The delimiter is the one that gives the head a name of `known`, in any case; else a comma.

    Excel's first line `sep=;` takes precedence. Raises ValueError naming the fault, also for a line with more fields than the
    head, such as one with a decimal comma between commas.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: must be text in UTF-8: {error.reason} at byte {error.start}") from None
    said = None
    first, _, rest = text.partition("\n")
    if first.strip().lower().startswith("sep=") and len(first.strip()) == 5:
        said, text = first.strip()[-1], rest
    wanted = set(map(plain, known))
    delimiter = said or next((each for each in _DELIMITERS if wanted & set(map(plain, _names(text, each)))), ",")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    head: tuple[str, ...] = ()
    rows: list[Row] = []
    try:
        for fields in reader:
            if not fields:
                continue
            if not head:
                head = tuple(field.strip() for field in fields)
            else:
                _require_no_more(path, len(rows) + 2, fields, head)
                row = Row(zip(head, fields, strict=False))
                row.number = len(rows) + 2
                rows.append(row)
    except csv.Error as error:
        raise ValueError(f"{path}: line {reader.line_num} is no line of a CSV file: {error}") from None
    return Sheet(head, rows, delimiter in (";", "\t"))


def plain(name: str) -> str:
    """A column's name in the form for comparison: case and the separators of words do not matter."""
    return "_".join(name.casefold().replace("-", " ").replace("_", " ").split())


def _require_no_more(path: Path, number: int, fields: Sequence[str], head: Sequence[str]) -> None:
    if len(fields) > len(head) and any(field.strip() for field in fields[len(head) :]):
        raise ValueError(
            f"{path}: row {number} must have {len(head)} fields as the head has, got {len(fields)}; a field with the "
            "separator in it, as a decimal comma may be, must be quoted"
        )


def _names(text: str, delimiter: str) -> list[str]:
    lines = io.StringIO(text[:_HEAD], newline="")
    try:
        return [field.strip() for field in next(csv.reader(lines, delimiter=delimiter), [])]
    except csv.Error:
        return []
