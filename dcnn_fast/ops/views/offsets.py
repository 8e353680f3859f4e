"""Windows' offsets: draws from a counter-based generator keyed by seed, picture and column (docs/design.md#scores).

The generator is in csrc/core/offsets.h. Where the engine was not built, numpy gives the same draws.
"""

from __future__ import annotations

import hashlib

import numpy as np

from dcnn_fast import engine, former
from dcnn_fast.networks import VIEWS, View

_END = 2**31 - 1  # the largest side, and so the largest draw


@former.renamed(views="samples")
def draw_windows(
    digest: str,
    seed: int,
    column_key: str,
    samples: int,
    *,
    view: View,
    plane_shape: tuple[int, int],
    plane: int = 256,
    window: int = 224,
    grid: int = 1,
) -> np.ndarray:
    """(top, left) of each sample's window in its plane: [samples, 2] int64.

    digest: the picture's (`Photo.digest`). column_key: e.g. "warp:0" (`Network.column_keys`). plane_shape: (height, width) of
    the plane. grid: every draw is a multiple of it.

    The window's offset in the plane is uniform over 0, grid, ... up to plane - window. For `local`, a plane x plane crop is
    drawn first, at 0, grid, ... up to height - plane (width - plane), and the offset is the sum of both draws. Sample i depends
    on i and the key alone, so a larger number of samples starts with the same ones.

    Convention: (top, left) is the first row and column, inclusive; the window covers `window` pixels from there.
    Raises ValueError naming the argument.
    """
    _require(samples, seed, view, plane_shape, plane, window, grid)
    key = hashlib.sha256(f"dcnn_fast views 1|{seed}|{digest}|{column_key}".encode()).digest()
    words = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:16], "little")
    windows = plane - window, plane - window
    crops = (plane_shape[0] - plane, plane_shape[1] - plane) if view == "local" else (0, 0)
    grid = min(grid, _END)  # no draw reaches the next multiple
    if engine.reason():
        return by_numpy(words, samples, windows, crops, grid)
    drawn: np.ndarray = engine.native.window_offsets(words, samples, windows, crops, grid)
    return drawn


def by_numpy(key: tuple[int, int], samples: int, windows: tuple[int, int], crops: tuple[int, int], grid: int) -> np.ndarray:
    """The offsets without the engine: [samples, 2] int64.

    key: two words of 64 bits. windows, crops: the largest value of each draw, along rows and columns.
    """
    limits = *windows, *crops
    words = np.random.Philox(key=np.array(key, np.uint64)).random_raw(samples * len(limits)).reshape(samples, len(limits))
    draws = np.stack([_bounded(words[:, i], most, grid) for i, most in enumerate(limits)], axis=1)
    offsets: np.ndarray = draws[:, :2] + draws[:, 2:]
    return offsets


def _bounded(words: np.ndarray, most: int, grid: int) -> np.ndarray:
    """Each 64-bit word as a multiple of `grid` in 0 ... most: floor(word * count / 2**64) * grid, in exact integers."""
    count = most // grid + 1
    high, low = (words >> np.uint64(32)).astype(np.uint64), (words & np.uint64(0xFFFFFFFF)).astype(np.uint64)
    count64 = np.uint64(count)
    product = high * count64 + ((low * count64) >> np.uint64(32))
    return (product >> np.uint64(32)).astype(np.int64) * grid


def _require(samples: int, seed: int, view: str, plane_shape: tuple[int, int], plane: int, window: int, grid: int) -> None:
    for name, value, least in (("samples", samples, 1), ("seed", seed, 0), ("window", window, 1), ("grid", grid, 1)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}")
    if view not in VIEWS:
        raise ValueError(f"view must be one of {', '.join(VIEWS)}; got {view!r}")
    if window > plane:
        raise ValueError(f"window must not exceed plane, got {window} and {plane}")
    if view == "local" and min(plane_shape) < plane:
        raise ValueError(f"plane_shape must be at least plane = {plane} on both sides, got {plane_shape}")
    if view != "local" and tuple(plane_shape) != (plane, plane):
        raise ValueError(f"plane_shape must be ({plane}, {plane}) for view {view}, got {plane_shape}")
    if max(plane_shape) > _END:
        raise ValueError(f"plane_shape must be below 2**31, got {plane_shape}")
