"""A heat map as the page holds it: few numbers, and what they are in words."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property

_DECIMALS = 4  # of values on the page

Rows = tuple[tuple[float | None, ...], ...]


@dataclass(frozen=True)
class Heat:
    """Cells of equal size over an upright photograph.

    Args:
        values: Rows from the top, all of one length, None where nothing is known; kept to four decimals.
        kind: The question that the map answers, in one word.
        middle: The value of a cell that neither raises the score nor lowers it; kept to four decimals.
        about: A text about the meaning and the limits of such a map.
        width: The photograph's width, in any unit.
        height: Its height, in the same unit.

    Raises:
        ValueError: The values are no rows of one length, with at least one cell.
    """

    values: Rows
    kind: str
    middle: float
    about: str
    width: int
    height: int

    def __post_init__(self) -> None:
        if not self.values or not self.values[0] or len({len(row) for row in self.values}) > 1:
            raise ValueError("values must be rows of one length, at least one of one cell")
        rounded = tuple(tuple(map(_rounded, row)) for row in self.values)
        object.__setattr__(self, "values", rounded)
        object.__setattr__(self, "middle", _rounded(self.middle))

    @cached_property
    def cells(self) -> str:
        """The values as JSON, null where nothing is known."""
        return json.dumps(self.values, separators=(",", ":"), allow_nan=False)

    @cached_property
    def said(self) -> str:
        """The largest and the smallest value in words, and where they are."""
        rows, columns = len(self.values), len(self.values[0])
        places = {
            f"row {row} of {rows}, column {column} of {columns}": value
            for row, values in enumerate(self.values, 1)
            for column, value in enumerate(values, 1)
            if value is not None
        }
        begun = f"Heat map by {self.kind}: "
        if not places:
            return begun + "no window looked at the middle of any cell."
        largest, smallest = max(places, key=places.__getitem__), min(places, key=places.__getitem__)
        if places[largest] == places[smallest]:
            return f"{begun}all values are {places[largest]:.{_DECIMALS}f}."
        ends = [f"{places[at]:.{_DECIMALS}f} (at {at})" for at in (largest, smallest)]
        return f"{begun}the largest value is {ends[0]}, the smallest {ends[1]}; {self.middle:g} has no color."


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, _DECIMALS) + 0.0  # which makes -0.0 0.0
