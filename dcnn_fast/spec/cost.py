"""What a column costs per view: sizes, parameters and multiplications of each layer."""

from __future__ import annotations

from dataclasses import dataclass

from dcnn_fast.spec.layers import Column, CrossMapNorm


@dataclass(frozen=True)
class LayerCost:
    """One row of `dcnn-fast describe`: a layer's name, what it is, its output [C, H, W], parameters and multiply-adds."""

    name: str
    what: str
    shape: tuple[int, int, int]
    parameters: int
    macs: int


def column_costs(column: Column) -> tuple[LayerCost, ...]:
    """The layer table of one column for one window, the label layer left out (facts.md 1.3 counts the same way)."""
    rows: list[LayerCost] = []
    channels, extent = column.channels, column.window
    for number, block in enumerate(column.blocks, 1):
        conv = block.conv_extent(extent, column.rounding)
        taps = block.size**2 * channels // block.groups
        what = f"{block.size}x{block.size} stride {block.stride} pad {block.padding}"
        if block.groups > 1:
            what += f" groups {block.groups}"
        rows.append(
            LayerCost(
                f"conv{number}",
                f"{what} + ReLU",
                (block.filters, conv, conv),
                block.filters * (taps + 1),
                block.filters * taps * conv**2,
            )
        )
        out = block.out_extent(extent, column.rounding)
        tail = []
        if block.pool is not None:
            tail.append(("pool", f"max {block.pool.size}x{block.pool.size} stride {block.pool.stride}", out))
        if block.norm is not None:
            kind = "across maps" if isinstance(block.norm, CrossMapNorm) else "same map"
            side = conv if block.order == "conv-norm-pool" else out
            tail.append(("norm", f"{kind}, size {block.norm.size}, scale {block.norm.scale:g}", side))
        if block.order == "conv-norm-pool":
            tail.reverse()
        rows += [LayerCost(f"{kind}{number}", about, (block.filters, side, side), 0, 0) for kind, about, side in tail]
        channels, extent = block.filters, out
    inputs = column.features
    if column.reduce == "mean":
        rows.append(LayerCost("mean", "of each map", (inputs, 1, 1), 0, 0))
    for number, size in enumerate(column.fc, 1):
        rows.append(LayerCost(f"fc{number}", f"{inputs} -> {size} + ReLU", (size, 1, 1), size * (inputs + 1), size * inputs))
        inputs = size
    return tuple(rows)
