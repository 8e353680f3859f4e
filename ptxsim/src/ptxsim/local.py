"""Local memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .values import UNSIGNED, Array

if TYPE_CHECKING:
    from .machine import Machine


class LocalMemory:
    """Memory of each thread for itself."""

    def __init__(self, threads: int, size: int) -> None:
        self.size = size
        self.stride = -(-size // 16) * 16
        self._bytes = np.zeros((threads, self.stride), dtype=np.uint8)
        self._defined = np.zeros((threads, self.stride), dtype=bool)

    def _index(self, m: Machine, address: Array, size: int, verb: str) -> tuple[Array, Array]:
        lanes = np.arange(m.blocks * m.threads) if m.active is None else np.flatnonzero(m.whole(m.active))
        offset = m.whole(address).reshape(-1)[lanes]
        for kind, bad in (
            ("local access out of bounds", (offset < 0) | (offset + size > self.size)),
            ("misaligned local access", offset % size != 0),
        ):
            if bad.any():
                at = int(bad.argmax())
                m.report(kind, f"{verb} of {size} bytes at offset {int(offset[at])} of {self.size}", int(lanes[at]))
                lanes, offset = lanes[~bad], offset[~bad]
        return lanes, offset

    def load(self, m: Machine, address: Array, size: int) -> Array:
        lanes, offset = self._index(m, address, size, "read")
        defined = self._defined[lanes[:, None], offset[:, None] + np.arange(size)].all(axis=1)
        if not defined.all():
            at = int(defined.argmin())
            m.report("uninitialised local read", f"read of {size} bytes at offset {int(offset[at])}", int(lanes[at]))
        out = np.zeros(m.blocks * m.threads, dtype=UNSIGNED[size])
        out[lanes] = self._bytes.view(UNSIGNED[size])[lanes, offset // size]
        return out.reshape(m.blocks, m.threads)

    def store(self, m: Machine, address: Array, values: Array, size: int) -> None:
        lanes, offset = self._index(m, address, size, "write")
        self._bytes.view(UNSIGNED[size])[lanes, offset // size] = m.whole(values).reshape(-1)[lanes]
        self._defined[lanes[:, None], offset[:, None] + np.arange(size)] = True
