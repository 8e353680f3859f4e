"""The rules for tables of regions in numpy, equal to csrc/core/regions.cpp, for use without the engine.

The reference needs them too: torch's slices wrap around or come out short silently, so a wrong table would give wrong
numbers. tests/ops/test_region_rules.py checks that both give the same verdicts in the same words.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from dcnn_fast.networks import Rounding
from dcnn_fast.ops.records import PIECE, REGION, STORE
from dcnn_fast.ops.tables import Rows, records

Shape = tuple[int, int, int]

_MOST_NAMED = 2**26


def require_regions(
    regions: np.ndarray, pieces: np.ndarray, stores: np.ndarray, *, sources: Sequence[Shape], outputs: Sequence[Shape],
    size: int, stride: int, padding: int, rounding: Rounding, pool: tuple[int, int],
) -> None:  # fmt: skip
    """Raise ValueError naming the first region, piece or store that exceeds its source, region, piece or output, or the first
    store that overlaps an earlier one.

    regions, pieces, stores: [n, fields] int64. sources, outputs: (images, height, width) of each. pool: size and stride, (1, 1)
    for none.
    """
    table, piece_table, store_table = (
        _small(name, values, record)
        for name, values, record in (("regions", regions, REGION), ("pieces", pieces, PIECE), ("stores", stores, STORE))
    )
    extents = np.array(sources, dtype=np.int64).reshape(-1, 3)
    _require_rows(table, "region", _region_rules(table, extents, len(pieces), size, stride, padding, rounding))
    _require_few("pieces", table)
    owner, taken = _members(table)
    named = piece_table[taken]
    _require_rows(named, "piece", _piece_rules(named, table[owner], len(stores), pool[1]))
    _require_few("stores", named)
    owner, taken = _members(named)
    stored = store_table[taken]
    _require_rows(stored, "store", _store_rules(stored, named[owner], np.array(outputs, dtype=np.int64).reshape(-1, 3)))
    _require_apart(stored[: len(store_table) + 1])  # a longer list names some store twice, within this prefix


def _small(name: str, values: np.ndarray, record: np.dtype[np.void]) -> Rows:
    """The table's records. Raises ValueError naming it where a sum of its values could overflow."""
    if values.size and not (values.min() > -(2**31) and values.max() < 2**31):
        raise ValueError(f"regions: the table of {name} must hold values of less than 2**31")
    return records(values, record)


def _require_few(kind: str, table: Rows) -> None:
    """Raise ValueError where the rows name more members of a kind than can be checked."""
    if int(table["count"].sum()) > _MOST_NAMED:
        raise ValueError(f"regions: they must name at most 2**26 {kind}")


def _members(table: Rows) -> tuple[np.ndarray, np.ndarray]:
    """(owner, index) of each row that `table`'s rows name by `first` and `count`."""
    first, count = table["first"], table["count"]
    owner = np.repeat(np.arange(len(table)), count)
    return owner, np.arange(len(owner)) + (first - np.cumsum(count) + count)[owner]


Rule = tuple[str, np.ndarray]


def _require_rows(table: Rows, kind: str, rules: Iterable[Rule]) -> None:
    for rule, holds in rules:
        bad = np.flatnonzero(~holds)
        if bad.size:
            row = dict(zip(table.dtype.names or (), table[bad[0]].tolist(), strict=True))
            raise ValueError(f"regions: {kind} {bad[0]}: {rule}, got {row}")


def _require_apart(stores: Rows) -> None:
    """Raise ValueError naming the first store that overlaps an earlier one."""
    places = [tuple(int(store[name]) for name in _PLACE) for store in stores]
    if not _any_meet(places):
        return
    good, bad = 0, len(places)  # the first `good` stores are disjoint, the first `bad` are not
    while good + 1 < bad:
        middle = (good + bad) // 2
        good, bad = (good, middle) if _any_meet(places[:middle]) else (middle, bad)
    other = next(i for i in range(bad) if _meet(places[i], places[bad - 1]))
    row = dict(zip(stores.dtype.names or (), stores[bad - 1].tolist(), strict=True))
    rule = f"the rectangle must share no place of its output with that of store {other}"
    raise ValueError(f"regions: store {bad - 1}: {rule}, got {row}")


_PLACE = ("output", "image", "out_top", "out_left", "height", "width")
_Place = tuple[int, ...]


def _meet(one: _Place, other: _Place) -> bool:
    """Whether two rectangles overlap."""
    return one[:2] == other[:2] and all(
        one[at] < other[at] + other[at + 2] and other[at] < one[at] + one[at + 2] for at in (2, 3)
    )


def _any_meet(places: Sequence[_Place]) -> bool:
    """Whether any two rectangles overlap; sweeps each image from the top down."""
    beside: list[tuple[int, _Place]] = []  # sorted by left edge; no two share a column, but some may have ended above
    image: _Place = ()
    for place in sorted(places):
        if place[:2] != image:
            image, beside = place[:2], []
        left, right = place[3], place[3] + place[5]
        first = bisect_left(beside, (left, ()))
        if first > 0 and beside[first - 1][0] + beside[first - 1][1][5] > left:
            first -= 1
        last = bisect_left(beside, (right, ()), first)
        if any(_meet(other, place) for _, other in beside[first:last]):
            return True
        beside[first:last] = [(left, place)]
    return False


def _region_rules(
    table: Rows, sources: np.ndarray, pieces: int, size: int, stride: int, padding: int, rounding: Rounding
) -> Iterator[Rule]:
    source, image, top, left, rows, cols = (table[name] for name in ("source", "image", "top", "left", "rows", "cols"))
    wt, wl, wh, ww = (table[f"window_{name}"] for name in ("top", "left", "height", "width"))
    first, count = table["first"], table["count"]
    yield f"source must be 0 to {len(sources) - 1}", (source >= 0) & (source < len(sources))
    images, height, width = sources[source].T
    yield "image must lie in its source", (image >= 0) & (image < images)
    yield (
        "window must lie in its source",
        (wt >= 0) & (wl >= 0) & (wh > 0) & (ww > 0) & (wt + wh <= height) & (wl + ww <= width),
    )
    yield "rows and cols must be at least 1", (rows > 0) & (cols > 0)
    yield (
        f"top and left must not pass the window by more than the padding {padding}",
        (top >= wt - padding) & (left >= wl - padding),
    )
    over = stride - 1 if rounding == "up" else 0
    bottom, right = top + (rows - 1) * stride + size, left + (cols - 1) * stride + size
    yield (
        f"the last receptive field must not pass the window by more than padding {padding} and, rounding up, stride - 1",
        (bottom <= wt + wh + padding + over) & (right <= wl + ww + padding + over),
    )
    yield f"pieces must lie in the table of {pieces}", (first >= 0) & (count >= 0) & (first + count <= pieces)


def _piece_rules(pieces: Rows, owners: Rows, stores: int, pool_stride: int) -> Iterator[Rule]:
    top, left, rows, cols, first, count = (pieces[name] for name in ("top", "left", "rows", "cols", "first", "count"))
    conv_rows, conv_cols = owners["rows"], owners["cols"]
    yield "rows and cols must be at least 1", (rows > 0) & (cols > 0)
    last_row, last_col = top + (rows - 1) * pool_stride, left + (cols - 1) * pool_stride
    yield (
        "every pool window must start inside its region",
        (top >= 0) & (left >= 0) & (last_row < conv_rows) & (last_col < conv_cols),
    )
    yield f"stores must lie in the table of {stores}", (first >= 0) & (count >= 0) & (first + count <= stores)


def _store_rules(stores: Rows, owners: Rows, outputs: np.ndarray) -> Iterator[Rule]:
    st, sl, height, width = (stores[name] for name in ("skip_top", "skip_left", "height", "width"))
    output, image, ot, ol = (stores[name] for name in ("output", "image", "out_top", "out_left"))
    yield "height and width must be at least 1", (height > 0) & (width > 0)
    yield (
        "the rectangle must lie in its piece",
        (st >= 0) & (sl >= 0) & (st + height <= owners["rows"]) & (sl + width <= owners["cols"]),
    )
    yield f"output must be 0 to {len(outputs) - 1}", (output >= 0) & (output < len(outputs))
    images, out_height, out_width = outputs[output].T
    yield (
        "the rectangle must lie in its output",
        (image >= 0) & (image < images) & (ot >= 0) & (ol >= 0) & (ot + height <= out_height) & (ol + width <= out_width),
    )
