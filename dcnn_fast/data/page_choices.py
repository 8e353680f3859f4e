"""Reads a user's choices from the CSV file of the culling page of `dcnn-fast score --html`."""

from __future__ import annotations

import os
from pathlib import Path

from dcnn_fast.data.spreadsheets import Row, read_sheet
from dcnn_fast.data.tables import is_file
from dcnn_fast.printable import quoted, shortened

HEAD = ("path", "rating", "choice")
"""The columns that the page writes."""

_STARS = {str(stars): stars for stars in range(1, 6)} | {"": None}
_CHOICES = ("", "picked", "rejected")
_REJECTED = 0  # as from XMP: one below one star


def is_of_page(path: Path) -> bool:
    """Whether a CSV file looks like one saved by the page. Raises OSError."""
    with path.open("rb") as file:
        return file.readline(100).decode(errors="replace").removeprefix("\ufeff").strip() == ",".join(HEAD)


def read_choices(path: Path, images: Path | None) -> tuple[list[tuple[str, int, str]], list[str], int]:
    """The ratings in a CSV file of the page: 1 to 5 stars, 0 for a rejected photograph, whatever its stars.

    images: the folder that relative paths start from, default the current one. Returns path, rating and the name of the CSV
    file for each rated photograph, in the file's order; then the missing photographs, each with the reason; last, the number
    of photographs without a rating. Raises ValueError for a file that the page has not written, naming the row.
    """
    sheet = read_sheet(path, {HEAD[0]})
    if sheet.head != HEAD:
        raise ValueError(f"{path}: must have the columns {', '.join(HEAD)}, got {shortened(sheet.head)}")
    rows, left_out, unrated, seen = [], [], 0, set()
    for number, row in enumerate(sheet.rows, 2):
        name, rating = row["path"] or "", _rating(path, number, row)
        if not name or name in seen:
            raise ValueError(f"{path}: row {number} must name a photograph that no other row names, got {quoted(name)}")
        seen.add(name)
        found = os.path.join(images or "", name)
        if rating is None:
            unrated += 1
        elif not is_file(found):
            left_out.append(f"{found}: it is not there; --images names the folder that paths start from")
        else:
            rows.append((found, rating, path.name))
    return rows, left_out, unrated


def _rating(path: Path, number: int, row: Row) -> int | None:
    stars, choice = row["rating"] or "", row["choice"] or ""
    if stars not in _STARS:
        raise ValueError(f"{path}: row {number} must have one to five stars or none, got {quoted(stars)}")
    if choice not in _CHOICES:
        raise ValueError(f"{path}: row {number} must be picked, rejected or neither, got {quoted(choice)}")
    return _REJECTED if choice == "rejected" else _STARS[stars]
