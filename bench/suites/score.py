"""Whole scores: the features of fifty views of one photograph's planes."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
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
    torch.set_num_threads(threads)
    square, photo = cases.photograph(256, 256), cases.photograph(600, 800)
    views: tuple[View, ...] = ("warp",)
    found = yield from _score("SCNN, grid 1", threads, views, (_cut(square, 1, 0),), rounds, quick=quick)
    if quick:
        return
    cut = _cut(square, 8, 0)
    yield from _score(GRID_8, threads, views, (cut,), rounds)
    yield from _score(GRID_8_EVERY, threads, views, (replace(cut, every=True),), rounds, found)
    yield from _score(DCNN, threads, ("local", "warp"), (_cut(photo, 1, 0), _cut(square, 1, 1)), rounds, found)


def _cut(plane: np.ndarray, grid: int, seed: int) -> cases.Cut:
    return cases.Cut(plane, cases.windows(plane, grid, seed=seed))


def _score(
    name: str, threads: int, views: tuple[View, ...], cuts: Sequence[cases.Cut], rounds: int, settings: Settings | None = None,
    *, quick: bool = False,
) -> Generator[Found, None, Settings]:  # fmt: skip
    """One case. settings: of the peers, searched for with the first column unless given. Returns those that were used."""
    net = cases.network(views)
    built: list[dict[str, peers.Peer]] = []
    for index, cut in enumerate(cuts):
        plain, x = cases.plain(net, index), cut.tensor(torch.contiguous_format)
        built.append(peers.build(plain, x, threads, compiled=not quick, bf16=not quick, found=settings))
        settings = {peer: of.setting for peer, of in built[-1].items()}
    ours = [Rival(OURS, partial(features, net, cuts), peers.tolerance(OURS))]
    if not quick:
        halved = partial(features, with_bf16_layers(net), cuts, precision="bf16")
        ours.append(Rival(OURS_BF16, halved, peers.tolerance(OURS_BF16)))
    others = [
        Rival(peer, partial(_features, [of[peer] for of in built], cuts), peers.tolerance(peer), built[0][peer].setting)
        for peer in built[0]
    ]
    counts = " + ".join(str(len(cut.given()[0])) for cut in cuts)
    yield from compare(Case("score", name, threads, f"windows that the peers are given: {counts}"), ours, others, rounds)
    return settings or {}


def _features(of_columns: Sequence[peers.Peer], cuts: Sequence[cases.Cut]) -> np.ndarray:
    """A peer's side of a case: it cuts the windows, too."""
    outputs = [peer(cut.tensor(peer.memory))[cut.given()[1]] for peer, cut in zip(of_columns, cuts, strict=True)]
    return np.concatenate(outputs, axis=1)
