"""Where a run goes on: its processes, their device, and those that decode for it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dcnn_fast.training.distributed import World


@dataclass(frozen=True)
class Place:
    """world: this process and the others. device: of this one. workers: processes that decode for it."""

    world: World
    device: torch.device
    workers: int = 0
