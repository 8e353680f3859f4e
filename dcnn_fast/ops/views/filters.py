"""The weights of Pillow's antialiased bilinear filter along one axis, from `size` pixels to `target`, in Pillow's fixed point.

Pillow computes in doubles, one operation after the other, and rounds to 22 fractional bits (libImaging/Resample.c); the same
steps give the same integers, and so the same bytes. The engine performs them (csrc/core/resample.h), or numpy where the engine
was not built.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from dcnn_fast import engine
from dcnn_fast.ops.records import FILTER
from dcnn_fast.ops.tables import Rows, zeros

FRACTION = 22  # fractional bits of a weight
_WHOLE = 1024  # up to this many outputs, the whole filter is made, for all cuts of the photograph to share
Array = np.ndarray[Any, np.dtype[np.int32]]


@dataclass(frozen=True)
class Filter:
    """entries: [outputs] records `FilterRow` of csrc/core/tables.h. quads: [groups, 4] int32, the weights in groups of four,
    zero after an output's last tap.
    """

    entries: Rows
    quads: Array

    @property
    def first(self) -> Array:
        """The first pixel of each output."""
        first: Array = self.entries["first"]
        return first

    @property
    def end(self) -> Array:
        """The pixel after the last of each output."""
        end: Array = self.entries["first"] + self.entries["taps"]
        return end

    @property
    def cut_quads(self) -> Array:
        """The weights split into bytes: for each group of four, a word with their lowest bytes, one with the middle bytes, one
        with the highest, and a zero. A weight of 1, 2**22, fits.
        """
        octets = self.quads[:, :, None] >> np.array([0, 8, 16]) & 255  # [groups, tap, byte of the weight]
        words = (octets.transpose(0, 2, 1).astype(np.int64) << np.array([0, 8, 16, 24])).sum(axis=2)
        cut: Array = np.concatenate([words, np.zeros_like(words[:, :1])], axis=1).astype(np.uint32).view(np.int32)
        return cut


def bilinear(size: int, target: int, outputs: range) -> tuple[Filter, int]:
    """The filter of one axis, with entries for at least `outputs`, and the output of its first entry.

    Outputs lie at (i + 0.5) * size / target among pixels whose centres lie at +0.5.
    """
    if target <= _WHOLE:
        return _bilinear(size, target, 0, target), 0
    return _bilinear(size, target, outputs.start, outputs.stop), outputs.start


@lru_cache(maxsize=256)
def _bilinear(size: int, target: int, start: int, stop: int) -> Filter:
    if engine.reason():
        return by_numpy(size, target, start, stop)
    return Filter(*engine.native.bilinear_filter(size, target, start, stop))


def by_numpy(size: int, target: int, start: int, stop: int) -> Filter:
    """The filter of outputs range(start, stop), without the engine."""
    scale = float(np.float32(size)) / target  # Pillow's box has float32 corners
    support = max(scale, 1.0)
    inverse = 1.0 / support
    centres = (np.arange(start, stop) + 0.5) * scale
    first = np.maximum((centres - support + 0.5).astype(np.int64), 0)
    end = np.minimum((centres + support + 0.5).astype(np.int64), size)
    most = int((end - first).max())
    values = np.zeros((stop - start, most))
    total = np.zeros(stop - start)
    for tap in range(most):
        weight = np.maximum(0.0, 1.0 - np.abs((tap + first - centres + 0.5) * inverse))
        values[:, tap] = np.where(tap < end - first, weight, 0.0)
        total += values[:, tap]
    fixed = (0.5 + values / total[:, None] * (1 << FRACTION)).astype(np.int32)
    return _packed(first, fixed)


def _packed(first: np.ndarray[Any, np.dtype[np.int64]], fixed: Array) -> Filter:
    """The filter without leading and trailing zeros."""
    outputs, most = fixed.shape
    positive = fixed > 0
    lead = positive.argmax(axis=1)
    taps = most - positive[:, ::-1].argmax(axis=1) - lead
    groups = -(-taps // 4)
    width = 4 * int(groups.max())
    columns = lead[:, None] + np.arange(width)
    weights = np.take_along_axis(fixed, np.minimum(columns, most - 1), axis=1)
    weights[np.arange(width) >= taps[:, None]] = 0
    quads = weights.reshape(outputs, -1, 4)[np.arange(width // 4) < groups[:, None]]
    starts = np.cumsum(groups) - groups
    entries = zeros(outputs, FILTER)
    entries["first"], entries["taps"], entries["weights"], entries["quads"] = first + lead, taps, starts, groups
    return Filter(entries, np.ascontiguousarray(quads))
