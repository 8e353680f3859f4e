"""The update in plain PyTorch, one parameter after the other."""

from __future__ import annotations

import torch

from dcnn_fast.ops.update.backend import Step, UpdateBackend
from dcnn_fast.ops.update.params import UpdateParams


class ReferenceUpdate(UpdateBackend):
    """The update stated plainly."""

    def can_run(self, params: UpdateParams, device: torch.device) -> str | None:
        """The reference runs everything, everywhere."""
        return None

    def update(self, params: UpdateParams, step: Step) -> None:
        """Update parameters and increments in place."""
        columns = step.parameters, step.gradients, step.increments, step.rates, step.momenta, step.decays
        with torch.no_grad():
            for w, g, own, rate, momentum, decay in zip(*columns, strict=True):
                own.copy_(momentum * own - rate * g.to(own.dtype) - decay * rate * w.to(own.dtype))
                w.copy_(w.to(own.dtype) + own)


BACKEND = ReferenceUpdate()
