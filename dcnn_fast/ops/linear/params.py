"""One fully-connected problem as data."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dcnn_fast.networks import Column
from dcnn_fast.ops.precision import Precision


@dataclass(frozen=True)
class LinearParams:
    """`rows` rows of `inputs` values through `outputs` weights each, with or without ReLU, in `dtype`.

    precision "bf16": the weights are bfloat16, the rows are rounded to it, and the products are summed in float32.
    """

    rows: int
    inputs: int
    outputs: int
    relu: bool = False
    dtype: torch.dtype = torch.float32
    precision: Precision = "ieee"

    @property
    def depth(self) -> int:
        """Products summed for one output."""
        return self.inputs

    @property
    def macs(self) -> int:
        """Multiply-adds."""
        return self.rows * self.inputs * self.outputs

    @property
    def bytes(self) -> int:
        """Bytes that must move: rows, weights, bias and result, each once."""
        values = self.rows * (self.inputs + self.outputs) + self.outputs * (self.inputs + 1)
        return values * self.dtype.itemsize

    def tolerance(self) -> float:
        """Largest allowed error relative to the largest magnitude: 4 * sqrt(depth) * eps, as for blocks."""
        return float(4 * max(self.depth, 16) ** 0.5 * torch.finfo(self.dtype).eps)

    def __str__(self) -> str:
        dtype = str(self.dtype).removeprefix("torch.")
        return f"{self.rows}x{self.inputs}-{self.outputs}{'-relu' if self.relu else ''}-{dtype}-{self.precision}"


def problems_of(column: Column, rows: int = 50) -> list[LinearParams]:
    """The problems of a column's fully-connected layers for `rows` windows."""
    sizes = (column.features, *column.fc)
    return [LinearParams(rows, inputs, outputs, True) for inputs, outputs in zip(sizes, column.fc, strict=False)]
