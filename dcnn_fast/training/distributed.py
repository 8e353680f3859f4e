"""The processes of a data-parallel run, as torchrun starts them; one without it (torch.distributed does the work)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class World:
    """This process's number and the number of processes."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that prints and writes."""
        return self.rank == 0

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over all processes, in place."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def sum_all(self, tensors: Sequence[Tensor]) -> None:
        """The sums over all processes, in place, in one exchange."""
        if self.size == 1 or not tensors:
            return
        flat = self.sum(torch.cat([tensor.reshape(-1) for tensor in tensors]))
        for tensor, part in zip(tensors, torch.split(flat, [tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(part.view(tensor.shape))

    def first_ones(self, value: Any) -> Any:
        """The first process's value."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box)
        return box[0]

    def gather(self, value: Any) -> list[Any]:
        """Every process's value, in the order of the processes."""
        if self.size == 1:
            return [value]
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, value)
        return found

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.size > 1:
            dist.barrier()

    @torch.no_grad()
    def share(self, tensors: Sequence[Tensor]) -> None:
        """Copy the first process's tensors to every process, in place."""
        if self.size > 1:
            for tensor in tensors:
                whole = tensor.contiguous()
                dist.broadcast(whole, 0)
                tensor.copy_(whole)


@contextmanager
def joined(device: torch.device) -> Iterator[tuple[World, torch.device]]:
    """The world that torchrun's environment variables describe, and this process's device.

    An existing process group is used; one made here is destroyed afterwards. On "cuda" each process of a machine gets a GPU.
    """
    wanted = int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ
    if wanted and str(device) == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    ours = wanted and not dist.is_initialized()
    if ours:
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    try:
        yield World(dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else World(), device
    finally:
        if ours:
            dist.destroy_process_group()
