"""The update as a launch to repeat: its tensors' addresses are fixed, and only its table of rates changes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from dcnn_fast.ops import launch
from dcnn_fast.ops.update.backend import Step
from dcnn_fast.ops.update.params import UpdateParams, dense, same_order
from dcnn_fast.ops.update.triton import BACKEND, FIELDS, launch_over, moved_by

_COUNT, _RATE, _MOMENTUM, _PULL = 3, 5, 6, 7


class FixedUpdate:
    """A repeatable launch that updates the given parameters with their gradients and increments.

    here, there: its table [parameters, FIELDS] int64 in the host's memory, where it is written, and on the device, to which the
    caller copies it before each launch. Raises ValueError where the kernel does not take the tensors.
    """

    def __init__(
        self, parameters: Sequence[Tensor], gradients: Sequence[Tensor], increments: Sequence[Tensor], here: np.ndarray,
        there: Tensor,
    ) -> None:  # fmt: skip
        if len({each.dtype for each in parameters}) > 1:
            raise ValueError("the update must be one that can be recorded: its parameters are of several dtypes")
        still = [0.0] * len(parameters)
        params = UpdateParams(
            tuple(each.numel() for each in parameters), parameters[0].dtype, increments[0].dtype,
            all(dense(w) and same_order(w, own) for w, own in zip(parameters, increments, strict=True)),
        )  # fmt: skip
        if why := BACKEND.can_run(params, parameters[0].device):
            raise ValueError(f"the update must be one that can be recorded: {why}")
        moved = moved_by(Step(parameters, gradients, increments, still, still, still))
        if len(moved.rows) != len(parameters):
            raise ValueError("the update must be one that can be recorded: a parameter has no values")
        self._here, self._there = here[: len(parameters)], there[: len(parameters)]
        self._here[:] = moved.rows
        self._counts = self._here[:, _COUNT].copy()
        self._launch = launch_over(self._there, params, moved)

    def enter(self, rates: Sequence[float], momenta: Sequence[float], decays: Sequence[float]) -> None:
        """Write the next update's rates to the table; a parameter whose rate is 0 is left alone, and so is its increment."""
        numbers = self._here.view(np.float64)
        numbers[:, _RATE], numbers[:, _MOMENTUM] = rates, momenta
        numbers[:, _PULL] = np.multiply(decays, rates)
        self._here[:, _COUNT] = self._counts * (numbers[:, _RATE] != 0)

    def launch(self, unless: Tensor | None = None) -> None:
        """Update all parameters. unless: a number on the device; if it is not 0, nothing changes."""
        if unless is not None:
            self._there[:, _COUNT].mul_((unless == 0).to(torch.int64))
        launch.launch(self._launch)


__all__ = ["FIELDS", "FixedUpdate"]
