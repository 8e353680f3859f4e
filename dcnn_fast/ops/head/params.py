"""One head as data."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class HeadParams:
    """Columns of `rows` rows of `inputs` values through `outputs` weights each, joined for `views` views of `images` images.

    weight_dtype: of the columns' weights, to which their rows are rounded. dtype: of everything summed and of the results.
    """

    rows: tuple[int, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    views: int
    images: int
    labels: int
    weight_dtype: torch.dtype = torch.float32
    dtype: torch.dtype = torch.float32

    @property
    def joined(self) -> int:
        """Values that the label layer sees for a view."""
        return sum(self.outputs)

    @property
    def macs(self) -> int:
        """Multiply-adds."""
        columns = zip(self.rows, self.inputs, self.outputs, strict=True)
        return sum(r * i * o for r, i, o in columns) + self.views * self.joined * self.labels

    @property
    def bytes(self) -> int:
        """Bytes that must move: rows, weights, biases and results, each once."""
        columns = zip(self.rows, self.inputs, self.outputs, strict=True)
        narrow = sum((r + o) * i for r, i, o in columns)
        wide = self.joined + self.labels * (self.joined + 1 + self.views + 2 * self.images)
        return narrow * self.weight_dtype.itemsize + wide * self.dtype.itemsize

    def tolerances(self) -> tuple[float, float]:
        """Largest allowed errors of a column's output and, beside what those bring, of a logit.

        Both are relative to the sum of the terms' magnitudes: 4 * sqrt(depth) * eps, as for `ops.linear`.
        """
        eps = torch.finfo(self.dtype).eps
        hidden, logit = (float(4 * max(depth, 16) ** 0.5 * eps) for depth in (max(self.inputs), self.joined))
        return hidden, logit

    def __str__(self) -> str:
        columns = "+".join(f"{r}x{i}-{o}" for r, i, o in zip(self.rows, self.inputs, self.outputs, strict=True))
        dtype = str(self.weight_dtype).removeprefix("torch.")
        return f"{columns}-{self.labels} labels-{self.views} views-{self.images} images-{dtype}"
