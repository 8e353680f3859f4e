"""Turns photographs upright by EXIF's orientation."""

from __future__ import annotations

import numpy as np

from dcnn_fast import engine

_AS_IT_IS, _LAST = 1, 8
ON_ITS_SIDE = (5, 6, 7, 8)  # the orientations that exchange rows and columns
COLUMNS_REVERSED = (2, 3, 7, 8)  # the file's last column comes first, as a column or as a row
ROWS_REVERSED = (3, 4, 6, 7)


class Decoded:
    """Pixels as decoded, turned upright once, on first demand.

    stored: [H, W, 3] uint8, C-contiguous. orientation: EXIF's; values outside 2 to 8 mean upright.
    """

    __slots__ = ("_state",)

    def __init__(self, stored: np.ndarray, orientation: int = _AS_IT_IS) -> None:
        self._state = stored, orientation if _AS_IT_IS < orientation <= _LAST else _AS_IT_IS

    @property
    def state(self) -> tuple[np.ndarray, int]:
        """Pixels and the orientation that they still need, read together, as another thread may turn them meanwhile."""
        return self._state

    @property
    def upright(self) -> np.ndarray:
        """The pixels turned upright."""
        stored, orientation = self._state
        if orientation != _AS_IT_IS:
            stored = turned(stored, orientation)
            self._state = stored, _AS_IT_IS
        return stored


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Pixels [H, W, 3] uint8, C-contiguous, turned as EXIF's orientation says; outside 2 to 8 the array itself is returned.

    Returns [H, W, 3], or [W, H, 3] for orientations 5 to 8.
    """
    if not _AS_IT_IS < orientation <= _LAST:
        return pixels
    if engine.reason() is None:
        return engine.native.turned(engine.isa(), pixels, orientation)
    return by_numpy(pixels, orientation)


def by_numpy(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """`turned` without the engine."""
    rows = slice(None, None, -1 if orientation in ROWS_REVERSED else 1)
    columns = slice(None, None, -1 if orientation in COLUMNS_REVERSED else 1)
    found = pixels[rows, columns]
    return np.ascontiguousarray(found.transpose(1, 0, 2) if orientation in ON_ITS_SIDE else found)
