"""The loss to minimise: that of one label layer, or the sum over several (paper eq. 1 and 3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dcnn_fast.data import Example
from dcnn_fast.training.aims import Aim, ByLabel

_SECOND = ByLabel()
Outputs = Tensor | Sequence[Tensor]


def layers_of(outputs: Outputs) -> tuple[Tensor, ...]:
    """The logits of each label layer, from a network that gives one tensor or a tuple of them."""
    return (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)


def targets_of(examples: Sequence[Example]) -> Tensor:
    """[n, 2] int64: the label and the attribute of each example, -1 where it has none."""
    targets = [(example.label, example.attribute) for example in examples]
    return torch.tensor(targets, dtype=torch.int64, device="cpu").reshape(-1, 2)


def counts_of(targets: Tensor, layers: int) -> Tensor:
    """[layers] float64: how many examples have a target for each label layer."""
    return (targets[:, :layers] >= 0).sum(dim=0).double()


def loss_of(
    outputs: Outputs, targets: Tensor, counts: Tensor, aim: Aim = _SECOND, numbers: Sequence[int] | Tensor = ()
) -> Tensor:  # fmt: skip
    """The sum over the label layers of the mean loss of the examples that have a target there.

    targets: as `targets_of`. counts: the number of targets in the whole mini-batch, of which these examples may be a part,
    on the targets' device. aim: the first label layer's. numbers: the examples' numbers in the training set, by which the aim
    finds them: integers, or a tensor of them on that device. Nothing waits for the device.
    """
    total = torch.zeros((), dtype=torch.float32, device=targets.device)  # whatever the process's default is
    for number, logits in enumerate(layers_of(outputs)):
        mine = aim if number == 0 else _SECOND
        summed = mine.summed(logits.float(), targets[:, number], numbers)
        total = total + summed / counts[number].clamp(min=1.0).to(summed.dtype)
    return total
