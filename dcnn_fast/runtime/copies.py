"""Copies of photographs to a GPU beside its work, from a ring's buffers, each of which is held until its copy is made."""

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

MOST = 2  # copies under way: one is made beside the launches that read the other


class Copies:
    """What copies arrays of bytes to a device, on a stream of its own. Pages are locked only where no buffer of the array's
    size (a power of two bytes) is free: of each size at most `MOST` are ever taken.
    """

    def __init__(self, device: torch.device, stream: DeviceStream | None = None) -> None:
        self._device = device
        self._stream = stream or DeviceStream(device)
        self._ring = Ring(device.type == "cuda", idle=inf)  # as few as are in use at a time
        self._under_way: deque[tuple[Any, np.ndarray]] = deque()  # what tells that a copy is made, and what it reads

    def there(self, pixels: np.ndarray) -> Tensor:
        """The bytes, uint8 of any shape, on the device. The host waits where `MOST` copies are under way, for the oldest; what
        is launched next on the current stream waits for this one.
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
        """Let go of what has been copied."""
        while self._under_way and (len(self._under_way) >= MOST or self._under_way[0][0].query()):
            self._under_way[0][0].synchronize()
            self._under_way.popleft()


__all__ = ["MOST", "Copies"]
