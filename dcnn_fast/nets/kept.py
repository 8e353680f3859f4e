"""Features of layers that do not learn, kept from one epoch to the next."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from dcnn_fast.ops.backbone import PreparedBackbone


class Keeper:
    """A module that asks `kept`, where there is one, before it computes."""

    kept: KeptMeans | None = None


class KeptMeans:
    """What a backbone gives for windows that it has seen, by their pixels, until `megabytes` are full."""

    def __init__(self, megabytes: int) -> None:
        self._room = self._left = megabytes * 2**20
        self._layers: PreparedBackbone | None = None
        self._found: dict[bytes, Tensor] = {}

    def of(self, layers: PreparedBackbone, windows: Tensor) -> Tensor:
        """`layers.features(windows)`, the same bits, computed for windows that are new. windows: [N, C, H, W] uint8."""
        if layers is not self._layers:
            self._layers, self._left = layers, self._room
            self._found.clear()
        keys = [_key(window) for window in windows]
        new = list({key: row for row, key in enumerate(keys) if key not in self._found}.items())
        computed: dict[bytes, Tensor] = {}
        if new:
            made = layers.features(windows[[row for _, row in new]])
            computed = {key: means for (key, _), means in zip(new, made, strict=True)}
        for key, means in computed.items():
            size = means.nbytes + len(key)
            if size <= self._left:
                self._found[key] = means.clone()  # not the whole batch's memory
                self._left -= size
        return torch.stack([self._found[key] if key in self._found else computed[key] for key in keys])


def _key(window: Tensor) -> bytes:
    return hashlib.blake2b(window.permute(1, 2, 0).contiguous().numpy().data, digest_size=16).digest()


@contextmanager
def keeping_means(net: nn.Module, megabytes: int = 256) -> Iterator[None]:
    """While the context lasts, windows of bytes on the cpu that a backbone of `net` has seen are not computed again.

    megabytes: for each backbone; a window takes about 8 kilobytes.
    """
    keepers = [module for module in net.modules() if isinstance(module, Keeper)]
    for keeper in keepers:
        keeper.kept = KeptMeans(megabytes)
    try:
        yield
    finally:
        for keeper in keepers:
            keeper.kept = None
