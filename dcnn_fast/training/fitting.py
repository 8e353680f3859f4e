"""A training loop: batches of windows, one per column, and a loss; Adam with decoupled decay and a cosine schedule."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Batch:
    """A mini-batch of windows.

    Args:
        windows: One [N, C, window, window] uint8 tensor per column.
        targets: The tensors with which the loss compares.
    """

    windows: tuple[Tensor, ...]
    targets: tuple[Tensor, ...]


def fit(
    net: nn.Module,
    epochs: Iterable[Iterable[Batch]],
    loss: Callable[[Batch], Tensor],
    *,
    steps: int,
    rate: float = 1e-3,
    decay: float = 0.01,
    report: Callable[[int, float], None] = lambda epoch, value: None,
) -> None:
    """Minimise a loss over the epochs, by Adam with decoupled decay.

    The rate rises over the first twentieth of the steps and falls to zero along a cosine. The network is put in training mode,
    and in evaluation mode at the end.

    Args:
        net: The network; its parameters that ask for gradients are updated.
        epochs: The mini-batches of each epoch.
        loss: Computes the loss of a mini-batch, one number that has a gradient.
        steps: Mini-batches in all.
        rate: The highest learning rate.
        decay: The decoupled weight decay.
        report: Called after each epoch with its number, from 0, and the mean loss of its mini-batches.

    Raises:
        ValueError: A loss is not finite; the message names the step. A diverged network is not worth going on with.
    """
    parameters = [parameter for parameter in net.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=rate, weight_decay=decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _factor(step, steps))
    step = 0
    for epoch, batches in enumerate(epochs):
        net.train()
        total, count = 0.0, 0
        for batch in batches:
            value = loss(batch)
            if not math.isfinite(value.item()):
                raise ValueError(f"the loss must stay finite, got {value.item()} at step {step}")
            optimiser.zero_grad()
            value.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            step += 1
            total, count = total + value.item(), count + 1
        report(epoch, total / max(count, 1))
    net.eval()


def _factor(step: int, steps: int) -> float:
    rise = max(1, steps // 20)
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rise) / max(1, steps - rise))))
