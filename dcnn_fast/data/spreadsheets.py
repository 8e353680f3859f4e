"""CSV files as spreadsheets save them too: any line ending, a byte order mark, semicolons or tabs between the fields."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

_DELIMITERS = (",", ";", "\t")
_HEAD = 2**20  # characters in which the head is looked for


class Row(dict[str, str | None]):
    """The fields of a line by the names of their columns; None for those that a shorter line does not have.

    A line has room for its own fields alone: a file may have a head of a million columns above a million short lines.
    """

    def __missing__(self, column: str) -> None:
        return None


@dataclass(frozen=True)
class Sheet:
    """head: the names of the columns. rows: each a text by name; None where a line has fewer fields, those past the last left
    out. decimal_comma: whether a number may have a comma for its point, as where semicolons stand between the fields."""

    head: tuple[str, ...]
    rows: list[Row]
    decimal_comma: bool


def read_sheet(path: Path, known: Collection[str]) -> Sheet:
    """The CSV file at `path`, whose head has one of the names `known`; by that its delimiter is found, a comma where none fits.

    A first line `sep=;`, which is Excel's, says it as well. Raises ValueError naming what is wrong.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: must be text in UTF-8: {error.reason} at byte {error.start}") from None
    said = None
    first, _, rest = text.partition("\n")
    if first.strip().lower().startswith("sep=") and len(first.strip()) == 5:
        said, text = first.strip()[-1], rest
    delimiter = said or next((each for each in _DELIMITERS if set(_names(text, each)) & set(known)), ",")
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
                rows.append(Row(zip(head, fields, strict=False)))
    except csv.Error as error:
        raise ValueError(f"{path}: line {reader.line_num} is no line of a CSV file: {error}") from None
    return Sheet(head, rows, delimiter == ";")


def _names(text: str, delimiter: str) -> list[str]:
    lines = io.StringIO(text[:_HEAD], newline="")
    try:
        return [field.strip() for field in next(csv.reader(lines, delimiter=delimiter), [])]
    except csv.Error:
        return []
