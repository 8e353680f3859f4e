"""Local memory."""

from __future__ import annotations

import numpy as np

from .lanes import Lanes, Reporter
from .values import UNSIGNED, Array


class LocalMemory:
    """Private memory of each thread."""

    def __init__(self, lanes: Lanes, size: int, reporter: Reporter) -> None:
        self._lanes, self._reporter, self.size = lanes, reporter, size
        threads = lanes.blocks * lanes.threads
        self.stride = -(-size // 16) * 16
        self._bytes = np.zeros((threads, self.stride), dtype=np.uint8)
        self._defined = np.zeros((threads, self.stride), dtype=bool)

    def _index(self, address: Array, size: int, verb: str) -> tuple[Array, Array]:
        lanes = (
            np.arange(self._lanes.blocks * self._lanes.threads)
            if self._lanes.active is None
            else np.flatnonzero(self._lanes.whole(self._lanes.active))
        )
        offset = self._lanes.whole(address).reshape(-1)[lanes]
        for kind, bad in (
            ("local access out of bounds", (offset < 0) | (offset + size > self.size)),
            ("misaligned local access", offset % size != 0),
        ):
            if bad.any():
                at = int(bad.argmax())
                self._reporter.report(
                    kind, f"{verb} of {size} bytes at offset {int(offset[at])} of {self.size}", int(lanes[at])
                )
                lanes, offset = lanes[~bad], offset[~bad]
        return lanes, offset

    def load(self, address: Array, size: int) -> Array:
        lanes, offset = self._index(address, size, "read")
        defined = self._defined[lanes[:, None], offset[:, None] + np.arange(size)].all(axis=1)
        if not defined.all():
            at = int(defined.argmin())
            self._reporter.report(
                "uninitialised local read", f"read of {size} bytes at offset {int(offset[at])}", int(lanes[at])
            )
        out = np.zeros(self._lanes.blocks * self._lanes.threads, dtype=UNSIGNED[size])
        out[lanes] = self._bytes.view(UNSIGNED[size])[lanes, offset // size]
        return out.reshape(self._lanes.blocks, self._lanes.threads)

    def store(self, address: Array, values: Array, size: int) -> None:
        lanes, offset = self._index(address, size, "write")
        self._bytes.view(UNSIGNED[size])[lanes, offset // size] = self._lanes.whole(values).reshape(-1)[lanes]
        self._defined[lanes[:, None], offset[:, None] + np.arange(size)] = True
