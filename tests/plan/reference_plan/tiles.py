"""The convolutions that the C++ engine computes in tiles: an independent statement for csrc/core/tile.h."""

from __future__ import annotations

from dcnn_fast import engine
from dcnn_fast.ops.block import OutputTile
from dcnn_fast.ops.precision import Precision


def output_tile(
    backend: str, *, size: int, stride: int, channels: int, filters: int, precision: Precision = "ieee"
) -> OutputTile:
    """The output tile of a backend's convolution. channels, filters: one group's."""
    if backend != "cpu":
        return OutputTile(1, size, size**2)
    taps = -(-size // stride)  # taps along an axis on every stride-th pixel
    points = {3: 6, 5: 8, 6: 8}.get(taps)
    one_by_one = precision != "ieee" and (taps == 6 or precision == "bf16x3" or engine.has_tile_unit())
    if points is None or one_by_one or channels * stride**2 < 12:
        return OutputTile(1, size, size**2)
    side = points + 1 - taps
    transforms = 13 / filters + 10 / (channels * stride**2)
    return OutputTile(side, taps * stride, (points * stride / side) ** 2 * (1 + transforms))
