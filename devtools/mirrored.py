"""Runs launches with cpu tensors on a GPU: within `mirrored("cuda")`, the memory that they reach is copied there and back.

So the tests for the PTX simulator run unchanged on hardware, including canaries and poisoned surroundings.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor

from dcnn_fast.ops.launch import Launch, Launcher, capability, launched_by, on_device


@contextmanager
def mirrored(device: str | torch.device = "cuda", launcher: Launcher = on_device) -> Iterator[list[tuple[Launch, None]]]:
    """A context in which launches with cpu tensors run on `device` by `launcher`. Yields the list of launches so far, without
    counts.
    """
    where = torch.device(device)
    done: list[tuple[Launch, None]] = []

    def run(what: Launch) -> None:
        there = Mirror(
            where, [*(value for value in what.args.values() if isinstance(value, Tensor)), *what.reads, *what.writes]
        )
        launcher(there.launch(what))
        there.copy_back()
        done.append((what, None))

    with launched_by(run, capability(where)):
        yield done


class Mirror:
    """Copies on `device` of the whole storages of cpu tensors, and of the addresses in their tables."""

    def __init__(self, device: torch.device, tensors: Sequence[Tensor]) -> None:
        self.here = {tensor.untyped_storage().data_ptr(): _bytes(tensor) for tensor in tensors if tensor.numel()}
        self.there = {address: content.to(device, copy=True) for address, content in self.here.items()}

    def launch(self, what: Launch) -> Launch:
        """The same launch on the copies."""
        args = {
            name: self._table(self.tensor(value)) if isinstance(value, Tensor) else value for name, value in what.args.items()
        }
        return replace(what, args=args, reads=[*map(self.tensor, what.reads)], writes=[*map(self.tensor, what.writes)])

    def tensor(self, tensor: Tensor) -> Tensor:
        """The copy of a tensor."""
        if not tensor.numel():
            return tensor
        storage = self.there[tensor.untyped_storage().data_ptr()].untyped_storage()
        copy = torch.empty(0, dtype=tensor.dtype, device=storage.device)
        return copy.set_(storage, tensor.storage_offset(), tensor.shape, tensor.stride())  # type: ignore[call-overload, no-any-return]

    def copy_back(self) -> None:
        """Copy the launch's results back; its tables were separate copies."""
        for address, content in self.here.items():
            content.copy_(self.there[address])

    def _table(self, values: Tensor) -> Tensor:
        """A table with its addresses replaced, which are recognised as larger than any count, offset or stride."""
        if values.dtype != torch.int64:
            return values
        moved = values
        for address, content in self.here.items():
            inside = (values >= address) & (values < address + content.numel())
            moved = torch.where(inside, values + (self.there[address].data_ptr() - address), moved)
        return moved


def _bytes(tensor: Tensor) -> Tensor:
    return torch.empty(0, dtype=torch.uint8).set_(tensor.untyped_storage())  # type: ignore[call-overload, no-any-return]
