"""Text in the cells of a CSV file that a spreadsheet would take for a formula, as a file's name can be.

`--csv-for-spreadsheets` puts an apostrophe before it, as one would by hand. A text that begins with an apostrophe gets one
more, so that the text is known again.
"""

from __future__ import annotations

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


def as_text(text: str) -> str:
    """`text` as a spreadsheet shows it without calculating."""
    return _MARK + text if text.startswith(_CALCULATED) else text


def from_text(text: str) -> str:
    """What `as_text` made `text` of."""
    return text[1:] if text.startswith(_MARK) and text[1:].startswith(_CALCULATED) else text
