"""Whole scores: the features of fifty samples of one photograph's planes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from bench import cases, peers
from bench.effort import Effort
from bench.features import features
from bench.measure import Case, compare
from bench.row import OURS, OURS_BF16, Found
from bench.timing import Rival
from dcnn_fast.nets import MultiColumn
from dcnn_fast.runtime import with_bf16_layers

GRID_1 = "SCNN, grid 1"
GRID_8 = "SCNN, grid 8"
GRID_8_EVERY = "SCNN, grid 8, peers given equal windows too"
DCNN = "DCNN 800x600, grid 1"
PHOTOGRAPH = (600, 800)


def rows(threads: int, effort: Effort) -> Iterator[Found]:
    """Fifty samples from planes of bytes, including planning, cutting, mean and scale for each rival.

    The peers' settings are searched with the windows of grid 1 and with the few of grid 8; cases of the same column with a
    similar number of windows reuse them.
    """
    torch.set_num_threads(threads)
    scnn = cases.scnn(effort.unit_share)
    cuts = _cuts(scnn, effort)
    plain = cases.plain(scnn)
    families = peers.settings_of(plain, _shape(cuts[0]), threads, compiled=_compiled(effort), bf16=not effort.quick)
    of_many = peers.build(families, cuts[0].tensor(torch.contiguous_format), search=effort.search)
    yield from _score(GRID_1, threads, scnn, cuts, [of_many], effort)
    if effort.quick:
        return
    cuts = _cuts(scnn, effort, grid=8)
    of_few = peers.build(families, cuts[0].tensor(torch.contiguous_format)) if effort.search else of_many
    yield from _score(GRID_8, threads, scnn, cuts, [of_few], effort)
    yield from _score(GRID_8_EVERY, threads, scnn, [replace(cut, every=True) for cut in cuts], [of_many], effort)
    found = {name: peer.setting for name, peer in of_many.items()}
    del scnn, plain, families, of_many, of_few  # frees memory for the next ones
    dcnn = cases.network(cases.DCNN, unit_share=effort.unit_share)
    cuts = _cuts(dcnn, effort)
    built = []
    for index, cut in enumerate(cuts):
        families = peers.settings_of(
            cases.plain(dcnn, index), _shape(cut), threads, compiled=_compiled(effort), bf16=not effort.quick
        )
        built.append(peers.known_of(families, found))
    yield from _score(DCNN, threads, dcnn, cuts, built, effort)


def _compiled(effort: Effort) -> bool:
    return effort.compiled and not effort.quick


def _shape(cut: cases.Cut) -> tuple[int, int, int]:
    return cut.column.channels, cut.column.window, cut.column.window


def _cuts(net: MultiColumn, effort: Effort, grid: int = 1) -> list[cases.Cut]:
    """The windows of each column, on planes of a photograph of 800 x 600."""
    cuts = []
    for seed, column in enumerate(cases.columns(net)):
        plane = cases.plane_of(column.spec, PHOTOGRAPH)
        offsets = cases.windows(column.spec, plane.shape[:2], effort.windows, grid, seed)
        cuts.append(cases.Cut(column.spec, plane, offsets))
    return cuts


def _score(
    name: str, threads: int, net: MultiColumn, cuts: Sequence[cases.Cut], built: Sequence[Mapping[str, peers.Peer]],
    effort: Effort,
) -> Iterator[Found]:  # fmt: skip
    """Measure one case. built: the peers of each column, by name."""
    ours = [Rival(OURS, partial(features, net, cuts), peers.tolerance(OURS))]
    if not effort.quick:
        halved = partial(features, with_bf16_layers(net), cuts, precision="bf16")
        ours.append(Rival(OURS_BF16, halved, peers.tolerance(OURS_BF16)))
    others = [
        Rival(peer, partial(_features, [of[peer] for of in built], cuts), peers.tolerance(peer), built[0][peer].setting)
        for peer in built[0]
    ]
    counts = " + ".join(str(len(cut.given()[0])) for cut in cuts)
    note = f"windows that the peers are given: {counts} of {effort.windows}"
    yield from compare(Case("score", name, threads, note), ours, others, effort.rounds)


def _features(of_columns: Sequence[peers.Peer], cuts: Sequence[cases.Cut]) -> np.ndarray:
    """A peer's side of a case, including cutting the windows."""
    outputs = [peer(cut.tensor(peer.memory))[cut.given()[1]] for peer, cut in zip(of_columns, cuts, strict=True)]
    return np.concatenate(outputs, axis=1)
