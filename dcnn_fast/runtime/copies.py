"""Copies photographs to a GPU while it computes, from a ring's buffers, each held until its copy is complete."""

from __future__ import annotations

from collections import deque
from math import inf
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dcnn_fast.ops.launch import copy
from dcnn_fast.runtime.contexts import DeviceStream
from dcnn_fast.runtime.ring import Ring

MOST = 2  # copies under way: one runs while launches read the other


class Copies:
    """Copies arrays of bytes to a device, on its own stream. Pages are locked only for a new buffer, where none of the array's
    size (a power of two bytes) is idle: at most `MOST` of each size are ever taken.
    """

    def __init__(self, device: torch.device, stream: DeviceStream | None = None) -> None:
        self._device = device
        self._stream = stream or DeviceStream(device)
        self._ring = Ring(device.type == "cuda", idle=inf)  # all are kept, as few are in use at a time
        self._under_way: deque[tuple[Any, np.ndarray]] = deque()  # the event of a copy, and its source

    def there(self, pixels: np.ndarray) -> Tensor:
        """The bytes, uint8 of any shape, on the device. Where `MOST` copies are under way the host waits for the oldest; the
        current stream's next launches wait for this copy.
        """
        self._settle()
        held = self._ring.held(pixels)
        with self._stream.current():
            found = torch.empty(pixels.shape, dtype=torch.uint8, device=self._device)
            copy(found, torch.from_numpy(held))
        reached = self._stream.handed(found)
        if reached is not None:
            self._under_way.append((reached, held))
        return found

    def _settle(self) -> None:
        """Release the sources of finished copies."""
        while self._under_way and (len(self._under_way) >= MOST or self._under_way[0][0].query()):
            self._under_way[0][0].synchronize()
            self._under_way.popleft()


__all__ = ["MOST", "Copies"]
