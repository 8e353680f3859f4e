"""The processes of a run, their device and their decoding workers."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dcnn_fast.training.distributed import World


@dataclass(frozen=True)
class Place:
    """world: this process and the others. device: this process's. workers: the number of processes that decode for it."""

    world: World
    device: torch.device
    workers: int = 0
