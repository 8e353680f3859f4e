"""Tables of 64-bit numbers that launches read again at every replay; one copy takes all of them to a device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from dcnn_fast.ops.launch import copy

_ALIGNMENT = 16  # numbers of 8 bytes: a table's address is a multiple of 128


class NumberTables:
    """Tables of 64-bit numbers in one piece of memory, on the host and on the device. tables: the host's, [rows, fields] each,
    writable; there: the device's, equal to them after a copy.
    """

    def __init__(self, shapes: Sequence[tuple[int, int]], device: torch.device) -> None:
        firsts, size = [], 0
        for rows, width in shapes:
            firsts.append(size)
            size += -(-rows * width // _ALIGNMENT) * _ALIGNMENT
        self.host = torch.zeros(size, dtype=torch.int64, device="cpu", pin_memory=device.type == "cuda")
        self.device = torch.zeros(size, dtype=torch.int64, device=device)
        places = [(first, first + rows * width) for first, (rows, width) in zip(firsts, shapes, strict=True)]
        self.tables = [
            self.host.numpy()[first:end].reshape(shape) for (first, end), shape in zip(places, shapes, strict=True)
        ]  # fmt: skip
        self.there = [self.device[first:end].view(shape) for (first, end), shape in zip(places, shapes, strict=True)]
        self._sent: Any = None

    def settle(self) -> None:
        """Wait until the last `send` has finished: only then may the tables be written to."""
        if self._sent is not None:
            self._sent.synchronize()

    def send(self) -> None:
        """Copy the tables to the device, on its current stream; the host does not wait."""
        copy(self.device, self.host)
        if self.device.device.type == "cuda":
            self._sent = torch.cuda.current_stream(self.device.device).record_event()
