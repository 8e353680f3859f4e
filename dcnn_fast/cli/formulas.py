"""Text in cells of a CSV file that a spreadsheet would take for a formula, e.g. a file's name.

`--csv-for-spreadsheets` puts an apostrophe before such text, as a user would by hand. Text that begins with an apostrophe gets
a second one, so that the original can be restored. Text after a semicolon or a tab is treated alike: where the comma is the
decimal separator, spreadsheets end cells there.
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
        help="In the CSV, put ' before names and labels that begin with = + - @ or ', so that no spreadsheet evaluates them.",
    ),
]

_MARK = "'"
_CALCULATED = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠", _MARK)  # noqa: RUF001 - wide ones are taken, too
_SEPARATORS = (";", "\t", "\r", "\n")  # a spreadsheet set to one of these ends a cell there, quoted or not
_AT_A_START = rf"(?:\A|(?<=[{''.join(_SEPARATORS)}]))"
_BEFORE = rf"(?=[{''.join(map(re.escape, _CALCULATED))}])"
_UNMARKED = re.compile(_AT_A_START + _BEFORE)
_MARKED = re.compile(_AT_A_START + _MARK + _BEFORE)


def as_text(text: str) -> str:
    """`text` in a form that a spreadsheet shows without calculating, even if it ends cells at semicolons or tabs."""
    return _UNMARKED.sub(_MARK, text)


def from_text(text: str) -> str:
    """The text from which `as_text` made `text`."""
    return _MARKED.sub("", text)
