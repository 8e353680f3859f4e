"""One head as data."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dcnn_fast.networks import Network


@dataclass(frozen=True)
class HeadParams:
    """One problem of the head, without its values.

    Each column's rows pass through its own weights, and the results are joined for the samples of all images.

    Args:
        rows: Each column's rows.
        inputs: Values of a row of each column.
        outputs: Results of a row of each column.
        samples: Samples of all images together.
        images: Images that the samples belong to.
        labels: Probabilities of a sample.
        weight_dtype: The columns' weights' dtype, to which their rows are rounded.
        dtype: The dtype of everything summed.
        out_dtype: The results' dtype; None: `dtype`.
    """

    rows: tuple[int, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    samples: int
    images: int
    labels: int
    weight_dtype: torch.dtype = torch.float32
    dtype: torch.dtype = torch.float32
    out_dtype: torch.dtype | None = None

    @property
    def results(self) -> torch.dtype:
        """The dtype of the results."""
        return self.out_dtype or self.dtype

    @property
    def joined(self) -> int:
        """Inputs of the label layer for one sample."""
        return sum(self.outputs)

    @property
    def macs(self) -> int:
        """Multiply-adds."""
        columns = zip(self.rows, self.inputs, self.outputs, strict=True)
        return sum(r * i * o for r, i, o in columns) + self.samples * self.joined * self.labels

    @property
    def bytes(self) -> int:
        """Bytes that must move: rows, weights, biases and results, each once."""
        columns = zip(self.rows, self.inputs, self.outputs, strict=True)
        narrow = sum((r + o) * i for r, i, o in columns)
        wide = self.joined + self.labels * (self.joined + 1)
        results = self.labels * (self.samples + 2 * self.images)
        return narrow * self.weight_dtype.itemsize + wide * self.dtype.itemsize + results * self.results.itemsize

    def tolerances(self) -> tuple[float, float]:
        """Largest allowed errors of a column's output and, beside what those bring, of a logit.

        Returns:
            Both, relative to the sum of the terms' magnitudes: 4 * sqrt(depth) * eps, as for `ops.linear`.
        """
        eps = torch.finfo(self.dtype).eps
        hidden, logit = (float(4 * max(depth, 16) ** 0.5 * eps) for depth in (max(self.inputs), self.joined))
        return hidden, logit

    def __str__(self) -> str:
        columns = "+".join(f"{r}x{i}-{o}" for r, i, o in zip(self.rows, self.inputs, self.outputs, strict=True))
        dtypes = "-".join(str(dtype).removeprefix("torch.") for dtype in (self.weight_dtype, self.out_dtype) if dtype)
        return f"{columns}-{self.labels} labels-{self.samples} samples-{self.images} images-{dtypes}"


def problem_of(network: Network, dtype: torch.dtype, out_dtype: torch.dtype | None = None, samples: int = 50) -> HeadParams:
    """The problem of a network's head for one image whose samples all differ. dtype: the weights'. out_dtype: the results'."""
    last = [(column.features, *column.fc)[-2:] for column in network.columns]
    inputs, outputs = zip(*last, strict=True)
    wide = torch.promote_types(dtype, torch.float32)
    return HeadParams((samples,) * len(last), inputs, outputs, samples, 1, len(network.labels), dtype, wide, out_dtype)
