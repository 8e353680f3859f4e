"""The update in plain PyTorch, one parameter after the other."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dcnn_fast.ops.update.params import UpdateParams


def can_run(params: UpdateParams, device: torch.device) -> str | None:
    """The reference runs everything, everywhere."""
    return None


def update(
    parameters: Sequence[Tensor],
    gradients: Sequence[Tensor],
    increments: Sequence[Tensor],
    rates: Sequence[float],
    momenta: Sequence[float],
    decays: Sequence[float],
    params: UpdateParams,
) -> None:
    """In place; every rate is positive."""
    with torch.no_grad():
        for w, g, step, rate, momentum, decay in zip(parameters, gradients, increments, rates, momenta, decays, strict=True):
            step.copy_(momentum * step - rate * g.to(step.dtype) - decay * rate * w.to(step.dtype))
            w.copy_(w.to(step.dtype) + step)
