"""Wavefronts of accesses to shared memory: bank conflicts."""

from __future__ import annotations

import numpy as np

from .values import Array


def wavefronts(offset: Array, size: int, active: Array | None = None) -> tuple[int, int, int]:
    """(requests, wavefronts, wavefronts without bank conflicts) of accesses in rows of whole warps.

    32 banks of 4 bytes. A warp's access of 8 bytes takes two halves, one of 16 bytes four quarters; threads that want the same
    word share it.
    """
    width = max(size, 4)
    lanes = 128 // width
    unit = (offset // width).reshape(-1, lanes)
    if active is not None:
        unit = np.where(active.reshape(-1, lanes), unit, -1)
    key = np.sort(np.where(unit < 0, -1, (unit % lanes << 40) + unit), axis=1)
    fresh = np.ones(key.shape, dtype=bool)
    fresh[:, 1:] = key[:, 1:] != key[:, :-1]
    fresh &= key >= 0
    bank = np.where(key < 0, 0, key >> 40)
    cell = (bank + np.arange(len(key))[:, None] * lanes)[fresh]
    per_bank = np.bincount(cell, minlength=len(key) * lanes).reshape(-1, lanes).max(axis=1)
    requests = int((per_bank.reshape(-1, 32 // lanes) > 0).any(axis=1).sum())
    return requests, int(per_bank.sum()), int((per_bank > 0).sum())
