"""Keeps the features of untrained layers between epochs and between runs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor, nn


class Layers(Protocol):
    """Layers that are not trained. A change in them or in their computation makes a new object."""

    def features(self, windows: Tensor) -> Tensor:
        """Their results for windows: [N, C, H, W] uint8 -> [N, ...]; each row depends on its own window alone."""


class Keeper:
    """A module that looks features up in `kept`, if set, before it computes them."""

    kept: KeptMeans | None = None

    @property
    def keeps(self) -> bool:
        """Whether it has untrained layers whose features are worth keeping."""
        return True

    @property
    def sees_all(self) -> bool:
        """Whether its windows are whole views, of which a photograph has only a few, so that another run sees the same."""
        return False

    def features_digest(self) -> str:
        """A digest of everything that determines the features' bits."""
        raise NotImplementedError

    def features_form(self) -> tuple[tuple[int, ...], torch.dtype]:
        """The shape and the dtype of a window's features."""
        raise NotImplementedError


class KeptMeans:
    """Layers' results for windows already seen, keyed by their pixels, up to `megabytes`.

    known: results from an earlier run.
    """

    def __init__(self, megabytes: int, known: Mapping[bytes, Tensor] | None = None) -> None:
        self._room = self._left = megabytes * 2**20
        self._layers: Layers | None = None
        self._known = dict(known or {})
        self._found: dict[bytes, Tensor] = {}
        self._new: dict[bytes, Tensor] = {}

    def of(self, layers: Layers, windows: Tensor) -> Tensor:
        """`layers.features(windows)`, the same bits, computed only for new windows. windows: [N, C, H, W] uint8."""
        if layers != self._layers:
            self._begin(layers)
        keys = [_key(window) for window in windows]
        new = list({key: row for row, key in enumerate(keys) if key not in self._found}.items())
        computed: dict[bytes, Tensor] = {}
        if new:
            made = layers.features(windows[[row for _, row in new]])
            computed = {key: means for (key, _), means in zip(new, made, strict=True)}
        for key, means in computed.items():
            if self._keep(key, means):
                self._new[key] = self._found[key]
        return torch.stack([self._found[key] if key in self._found else computed[key] for key in keys])

    def taken(self) -> dict[bytes, Tensor]:
        """The results computed since the last call, by the digest of the window."""
        new, self._new = self._new, {}
        return new

    def _begin(self, layers: Layers) -> None:
        """Drop `known` for any layers but the first."""
        first, self._layers = self._layers is None, layers
        self._left, self._found, self._new = self._room, {}, {}
        if first:
            for key, means in self._known.items():
                self._keep(key, means)
        self._known = {}

    def _keep(self, key: bytes, means: Tensor) -> bool:
        size = means.nbytes + len(key)
        if size > self._left:
            return False
        self._found[key] = means.clone()  # so as not to hold the whole batch's memory
        self._left -= size
        return True


def _key(window: Tensor) -> bytes:
    return hashlib.blake2b(window.permute(1, 2, 0).contiguous().numpy().data, digest_size=16).digest()


def keepers_of(net: nn.Module) -> list[Keeper]:
    """The modules of `net` that can keep features in their present state."""
    return [module for module in net.modules() if isinstance(module, Keeper) and module.keeps]


@contextmanager
def keeping_means(
    net: nn.Module, megabytes: int = 256, known: Mapping[str, Mapping[bytes, Tensor]] | None = None
) -> Iterator[None]:  # fmt: skip
    """Within the context, untrained layers do not recompute uint8 windows on the cpu that they have already seen.

    Args:
        net: The network whose layers these are.
        megabytes: The memory for each column; a backbone's features of a window take about 8 kilobytes.
        known: Known features of windows, by the digest of the layers (`Keeper.features_digest`).
    """
    keepers = keepers_of(net)
    for keeper in keepers:
        keeper.kept = KeptMeans(megabytes, known.get(keeper.features_digest()) if known else None)
    try:
        yield
    finally:
        for keeper in keepers:
            keeper.kept = None
