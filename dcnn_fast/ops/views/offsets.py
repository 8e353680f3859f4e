"""Where windows lie: draws from a counter-based generator keyed by seed, picture and column (design.md section 3)."""

from __future__ import annotations

import hashlib

import numpy as np

from dcnn_fast.spec import VIEWS, View

_WORDS = 4  # 64-bit words a view uses: window row and column, crop row and column


def draw_windows(
    digest: str,
    seed: int,
    column_key: str,
    views: int,
    *,
    view: View,
    plane_shape: tuple[int, int],
    plane: int = 256,
    window: int = 224,
    grid: int = 1,
) -> np.ndarray:
    """(top, left) of each view's window in its plane: [views, 2] int64.

    digest: the picture's (`Photo.digest`). column_key: e.g. "warp:0" (`Network.column_keys`). plane_shape: (height, width) of
    what windows are cut from. grid: every draw is a multiple of it.

    The window's offset in the plane is uniform over 0, grid, ... up to plane - window. For `local`, a plane x plane crop is
    drawn first, at 0, grid, ... up to height - plane (width - plane), and the offset is the sum of both draws. View i depends
    on its number and the key alone, so more views begin with the same ones.

    Convention: (top, left) is the first row and column, inclusive; the window covers `window` pixels from there.
    Raises ValueError naming the argument.
    """
    _require(views, seed, view, plane_shape, plane, window, grid)
    key = hashlib.sha256(f"dcnn_fast views 1|{seed}|{digest}|{column_key}".encode()).digest()[:16]
    generator = np.random.Philox(key=np.frombuffer(key, dtype="<u8").astype(np.uint64))
    words = generator.random_raw(views * _WORDS).reshape(views, _WORDS)
    offsets = np.stack([_bounded(words[:, axis], plane - window, grid) for axis in (0, 1)], axis=1)
    if view == "local":
        crops = [_bounded(words[:, 2 + axis], plane_shape[axis] - plane, grid) for axis in (0, 1)]
        offsets = offsets + np.stack(crops, axis=1)
    return offsets


def _bounded(words: np.ndarray, most: int, grid: int) -> np.ndarray:
    """Each 64-bit word as a multiple of `grid` in 0 ... most: floor(word * count / 2**64) * grid, in exact integers."""
    count = most // grid + 1
    high, low = (words >> np.uint64(32)).astype(np.uint64), (words & np.uint64(0xFFFFFFFF)).astype(np.uint64)
    count64 = np.uint64(count)
    product = high * count64 + ((low * count64) >> np.uint64(32))
    return (product >> np.uint64(32)).astype(np.int64) * grid


def _require(views: int, seed: int, view: str, plane_shape: tuple[int, int], plane: int, window: int, grid: int) -> None:
    for name, value, least in (("views", views, 1), ("seed", seed, 0), ("window", window, 1), ("grid", grid, 1)):
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
    if max(plane_shape) >= 2**31:
        raise ValueError(f"plane_shape must be below 2**31, got {plane_shape}")
