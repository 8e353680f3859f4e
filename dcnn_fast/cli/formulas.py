"""Text in the cells of a CSV file that a spreadsheet would take for a formula, as a file's name can be.

`--csv-for-spreadsheets` puts an apostrophe before it, as one would by hand. A text that begins with an apostrophe gets one
more, so that the text is known again. What follows a semicolon or a tab is treated alike: where the comma is decimal,
spreadsheets take those for the ends of cells.
"""

from __future__ import annotations

import re
from typing import Annotated

import typer

OPTION = "--csv-for-spreadsheets"
ForSpreadsheets = Annotated[
    bool,
    typer.Option(
        OPTION,
        help="In the CSV, put ' before names and labels that begin with = + - @ or ', which a spreadsheet would calculate.",
    ),
]

_MARK = "'"
_CALCULATED = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠", _MARK)  # noqa: RUF001 - wide ones are taken, too
_SEPARATORS = (";", "\t", "\r", "\n")  # where a spreadsheet that is set to them has a cell's end, quoted or not
_AT_A_START = rf"(?:\A|(?<=[{''.join(_SEPARATORS)}]))"
_BEFORE = rf"(?=[{''.join(map(re.escape, _CALCULATED))}])"
_UNMARKED = re.compile(_AT_A_START + _BEFORE)
_MARKED = re.compile(_AT_A_START + _MARK + _BEFORE)


def as_text(text: str) -> str:
    """`text` as a spreadsheet shows it without calculating, also where it takes a semicolon or a tab for the end of a cell."""
    return _UNMARKED.sub(_MARK, text)


def from_text(text: str) -> str:
    """What `as_text` made `text` of."""
    return _MARKED.sub("", text)
