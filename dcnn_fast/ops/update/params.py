"""One update of parameters as data."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class UpdateParams:
    """Parameters of `counts` values each in `dtype`, whose increments are in `step_dtype`.

    in_step: every parameter fills its memory without gaps, and its increment lies in memory as it does.
    """

    counts: tuple[int, ...]
    dtype: torch.dtype = torch.float32
    step_dtype: torch.dtype = torch.float32
    in_step: bool = True

    @property
    def values(self) -> int:
        """Values in all parameters."""
        return sum(self.counts)

    @property
    def bytes(self) -> int:
        """Bytes that must move: parameters and increments read and written, gradients read."""
        return self.values * (3 * self.dtype.itemsize + 2 * self.step_dtype.itemsize)

    def tolerance(self) -> float:
        """Largest allowed error of an increment, relative to the sum of its three terms' magnitudes.

        Three products and two sums round once each, and so do the rates and momenta: at most 4 roundings lie on any path.
        """
        return float(4 * torch.finfo(self.step_dtype).eps)

    def __str__(self) -> str:
        dtype, step = (str(each).removeprefix("torch.") for each in (self.dtype, self.step_dtype))
        return f"{len(self.counts)} parameters of {self.values} values-{dtype}-{step}{'' if self.in_step else '-gaps'}"
