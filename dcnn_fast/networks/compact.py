"""Smaller columns with the same layers, for small views, small data sets and short runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dcnn_fast.networks.layers import Block, Column, require_finite, require_integer
from dcnn_fast.networks.network import Network

_MULTIPLE = 4  # of filters, to suit the kernels' vectors


def compact(
    network: Network,
    *,
    plane: int | None = None,
    window: int | None = None,
    stride: int | None = None,
    filters: float = 1.0,
    fc: Sequence[int] = (),
) -> Network:
    """A network with other sizes in every column of blocks that is not frozen; omitted arguments leave the size unchanged.

    Args:
        network: The network.
        plane: The planes' side, in pixels; a plane alone shrinks the window in proportion, 256 to 224 by default.
        window: The windows' side, in pixels.
        stride: The step of the first block's convolution, in pixels.
        filters: A factor for every block's filters, rounded to a positive multiple of 4 (per group).
        fc: The sizes of all fully-connected layers.

    Returns:
        The network with those sizes.

    Raises:
        ValueError: A block no longer fits, as in `Column`, or the factor is not positive.
    """
    require_finite("compact", "filters", filters)
    if filters <= 0:
        raise ValueError(f"compact: filters must be positive, got {filters}")
    for name, value in (("plane", plane), ("window", window), ("stride", stride)):
        if value is not None:
            require_integer("compact", name, value, 1)
    columns = tuple(
        _compact_column(column, plane, window, stride, filters, tuple(fc))
        if isinstance(column, Column) and not column.frozen
        else column
        for column in network.columns
    )
    return replace(network, columns=columns)


def _compact_column(
    column: Column, plane: int | None, window: int | None, stride: int | None, filters: float, fc: tuple[int, ...]
) -> Column:
    blocks = [_scaled(block, filters) for block in column.blocks]
    if stride is not None:
        blocks[0] = replace(blocks[0], stride=stride)
    side = column.plane if plane is None else plane
    inner = max(1, column.window * side // column.plane) if window is None else window
    return replace(column, plane=side, window=inner, blocks=tuple(blocks), fc=fc or column.fc)


def _scaled(block: Block, factor: float) -> Block:
    if factor == 1:
        return block
    unit = _MULTIPLE * block.groups
    return replace(block, filters=max(unit, round(block.filters * factor / unit) * unit))
