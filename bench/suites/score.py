"""Whole scores: the features of fifty views of one photograph's planes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from bench import cases, peers
from bench.features import features
from bench.measure import Case, compare
from bench.row import OURS, OURS_BF16, Found
from bench.timing import Rival
from dcnn_fast.scoring.scorer import with_bf16_layers
from dcnn_fast.spec import View

GRID_8 = "SCNN, grid 8"
GRID_8_EVERY = "SCNN, grid 8, peers given all 50"
DCNN = "DCNN 800x600, grid 1"

Settings = Mapping[str, str]  # of the peers, by their names


def rows(threads: int, rounds: int, *, quick: bool) -> Iterator[Found]:
    """Fifty views from planes of bytes: planning, cutting and subtracting the mean included for each.

    The peers' settings are searched with 49 windows and with 23; of the same column with as many windows they are taken over.
    """
    square, photo = cases.photograph(256, 256), cases.photograph(600, 800)
    views: tuple[View, ...] = ("warp",)
    scnn = _Score("SCNN, grid 1", views, (_cut(square, 1, 0),), threads, quick=quick)
    settings = scnn.settings
    yield from scnn.compare(rounds)
    if quick:
        return
    cut = _cut(square, 8, 0)
    yield from _Score(GRID_8, views, (cut,), threads).compare(rounds)
    yield from _Score(GRID_8_EVERY, views, (replace(cut, every=True),), threads, settings).compare(rounds)
    both = (_cut(photo, 1, 0), _cut(square, 1, 1))
    yield from _Score(DCNN, ("local", "warp"), both, threads, settings).compare(rounds)


def _cut(plane: np.ndarray, grid: int, seed: int) -> cases.Cut:
    return cases.Cut(plane, cases.windows(plane, grid, seed=seed))


class _Score:
    """One case, its peers built. settings: of the peers, searched for with the first column unless given."""

    def __init__(
        self, name: str, views: tuple[View, ...], cuts: Sequence[cases.Cut], threads: int, settings: Settings | None = None,
        *, quick: bool = False,
    ) -> None:  # fmt: skip
        torch.set_num_threads(threads)
        counts = [len(cut.given()[0]) for cut in cuts]
        self._case = Case("score", name, threads, f"windows that the peers are given: {' + '.join(map(str, counts))}")
        self._net, self._cuts, self._bf16 = cases.network(views), cuts, not quick
        self._built: list[dict[str, peers.Peer]] = []
        for index, cut in enumerate(cuts):
            plain, x = cases.plain(self._net, index), cut.tensor(torch.contiguous_format)
            built = peers.build(plain, x, threads, compiled=not quick, bf16=not quick, found=settings)
            settings = {name: peer.setting for name, peer in built.items()}
            self._built.append(built)
        self.settings = settings or {}

    def compare(self, rounds: int) -> Iterator[Found]:
        """Rows of ours and of every peer."""
        ours = [Rival(OURS, partial(features, self._net, self._cuts), peers.tolerance(OURS))]
        if self._bf16:
            halved = partial(features, with_bf16_layers(self._net), self._cuts, precision="bf16")
            ours.append(Rival(OURS_BF16, halved, peers.tolerance(OURS_BF16)))
        others = [
            Rival(name, partial(self._of_peer, name), peers.tolerance(name), peer.setting)
            for name, peer in self._built[0].items()
        ]
        yield from compare(self._case, ours, others, rounds)

    def _of_peer(self, name: str) -> np.ndarray:
        peer_of = [built[name] for built in self._built]
        outputs = [peer(cut.tensor(peer.memory))[cut.given()[1]] for peer, cut in zip(peer_of, self._cuts, strict=True)]
        return np.concatenate(outputs, axis=1)
