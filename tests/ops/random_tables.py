"""Random tables of regions, valid and damaged, for tests of the code that checks and executes them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dcnn_fast.ops.records import PIECE, REGION, STORE

HOSTILE = (-(2**63), -(2**31), -(2**31) + 1, -2, -1, 0, 1, 2, 7, 1000, 2**20, 2**31 - 1, 2**31, 2**62, 2**63 - 1)

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Tables:
    """The arguments of `require_regions` of region_rules and of the engine."""

    regions: np.ndarray
    pieces: np.ndarray
    stores: np.ndarray
    sources: list[Shape]
    outputs: list[Shape]
    size: int
    stride: int
    padding: int
    rounding: str
    pool: tuple[int, int]

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.regions, self.pieces, self.stores

    def arguments(self) -> dict[str, Any]:
        return dict(vars(self))


def random_tables(rng: np.random.Generator) -> Tables:
    """Tables that keep every rule: some regions of up to three pieces, each stored up to twice where there is room left."""
    size = _up_to(rng, 1, 5)
    stride, padding, pool_size = _up_to(rng, 1, size), _up_to(rng, 0, size - 1), _up_to(rng, 1, 4)
    pool = pool_size, _up_to(rng, 1, pool_size)
    up = bool(rng.integers(2))
    past = padding + (stride - 1 if up else 0)
    sources = [(_up_to(rng, 1, 3), _up_to(rng, size, 16), _up_to(rng, size, 16)) for _ in range(_up_to(rng, 1, 3))]
    outputs = [(_up_to(rng, 1, 3), _up_to(rng, 1, 9), _up_to(rng, 1, 9)) for _ in range(_up_to(rng, 1, 3))]
    taken = [np.zeros(shape, bool) for shape in outputs]
    regions: list[tuple[int, ...]] = []
    pieces: list[tuple[int, ...]] = []
    stores: list[tuple[int, ...]] = []
    for _ in range(_up_to(rng, 0, 5)):
        source = _up_to(rng, 0, len(sources) - 1)
        window, corner, extent = zip(
            *(_along(rng, side, size, stride, padding, past) for side in sources[source][1:]), strict=True
        )
        count = _up_to(rng, 0, 3)
        place = source, _up_to(rng, 0, sources[source][0] - 1), *(first for first, _ in window), *(n for _, n in window)
        regions.append((*place, *corner, *extent, *rng.integers(-9, 10, 2).tolist(), len(pieces), count))
        for _ in range(count):
            start = [_up_to(rng, 0, n - 1) for n in extent]
            shape = [_up_to(rng, 1, (n - 1 - first) // pool[1] + 1) for n, first in zip(extent, start, strict=True)]
            stored = [store for _ in range(_up_to(rng, 0, 2)) if (store := _store(rng, shape, outputs, taken)) is not None]
            pieces.append((*start, *shape, len(stores), len(stored)))
            stores += stored
    tables = (_table(rows, of) for rows, of in ((regions, REGION), (pieces, PIECE), (stores, STORE)))
    return Tables(*tables, sources, outputs, size, stride, padding, "up" if up else "down", pool)


def damaged(rng: np.random.Generator, tables: Tables) -> Tables:
    """The tables with some values, shapes or options changed; the result may still keep every rule."""
    changed = {name: getattr(tables, name).copy() for name in ("regions", "pieces", "stores")}
    for _ in range(_up_to(rng, 0, 2)):
        values = changed[str(rng.choice(list(changed)))].reshape(-1)
        if not values.size:
            continue
        at = rng.integers(values.size)
        near = min(max(int(values[at]) + _up_to(rng, -2, 2), HOSTILE[0]), HOSTILE[-1])
        values[at] = near if rng.random() < 0.5 else HOSTILE[rng.integers(len(HOSTILE))]
    found = replace(tables, **changed)
    kind = rng.random()
    if kind < 0.1:
        return replace(found, sources=_fewer(rng, found.sources))
    if kind < 0.2:
        return replace(found, outputs=_fewer(rng, found.outputs))
    if kind < 0.25:
        return replace(found, rounding="down", padding=0)
    return found


def _up_to(rng: np.random.Generator, least: int, most: int) -> int:
    return int(rng.integers(least, most + 1))


def _along(
    rng: np.random.Generator, side: int, size: int, stride: int, padding: int, past: int
) -> tuple[tuple[int, int], int, int]:
    """Along one axis of a source: a window's first pixel and extent, and a region's corner and outputs."""
    extent = _up_to(rng, max(1, size - 2 * padding), side)
    first = _up_to(rng, 0, side - extent)
    corner = _up_to(rng, first - padding, first + extent + past - size)
    return (first, extent), corner, _up_to(rng, 1, (first + extent + past - size - corner) // stride + 1)


def _store(rng: np.random.Generator, shape: list[int], outputs: list[Shape], taken: list[np.ndarray]) -> tuple[int, ...] | None:
    """A random place for part of a piece, marked in `taken`; None where it overlaps another store."""
    output = _up_to(rng, 0, len(outputs) - 1)
    images, *room = outputs[output]
    extent = [_up_to(rng, 1, min(n, m)) for n, m in zip(shape, room, strict=True)]
    skip = [_up_to(rng, 0, n - taken) for n, taken in zip(shape, extent, strict=True)]
    out = [_up_to(rng, 0, m - taken) for m, taken in zip(room, extent, strict=True)]
    image = _up_to(rng, 0, images - 1)
    place = taken[output][image, out[0] : out[0] + extent[0], out[1] : out[1] + extent[1]]
    if place.any():
        return None
    place[...] = True
    return (*skip, *extent, output, image, *out)


def _table(rows: list[tuple[int, ...]], record: np.dtype[np.void]) -> np.ndarray:
    return np.array(rows, np.int64).reshape(len(rows), len(record.names or ()))


def _fewer(rng: np.random.Generator, shapes: list[Shape]) -> list[Shape]:
    """The shapes without the last, or with one smaller."""
    if rng.random() < 0.5:
        return shapes[:-1]
    at, axis = rng.integers(len(shapes)), rng.integers(3)
    smaller = list(shapes[at])
    smaller[axis] = _up_to(rng, 0, smaller[axis] - 1)
    return [*shapes[:at], (smaller[0], smaller[1], smaller[2]), *shapes[at + 1 :]]
