"""The sharing windows of each block: groups of windows of one class, and the groups' pool phases.

Places are those of the lattices that all windows of the plane share: the window at pixel o has convolution output i at
o // step + i, and result j at o // step // pool stride + j. Arrays have a row for each window, group or phase, and a column
for each axis.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tests.plan.reference_plan.cluster import groups_of, run_lengths, run_starts
from tests.plan.reference_plan.cost import BlockCost, Constants, savings
from tests.plan.reference_plan.geometry import Axis, Windows, windows_of
from tests.plan.reference_plan.overlap import Groups, Phases

_LEAST_SAVED = 0.005  # fraction of the column's brute-force cost: about the time of planning a block


@dataclass(frozen=True)
class Level:
    """One block of the plan. members: the windows that share, sorted by the phase of their group. phase: each window's index in
    `phases`, -1 for none.
    """

    axis: Axis
    windows: Windows
    lattice: np.ndarray
    members: np.ndarray
    phase: np.ndarray
    groups: Groups
    phases: Phases


@dataclass(frozen=True)
class _Block:
    """Facts of a block's windows, [n, ...], before sharing is chosen. kind: a number for residue and phase. saved: each
    window's possible saving, 0 where it can't share. needs, results: [n, 2, first or last], outputs and results of the lattice.
    """

    cost: BlockCost
    windows: Windows
    lattice: np.ndarray
    kind: np.ndarray
    saved: np.ndarray
    needs: np.ndarray
    results: np.ndarray


def levels_of(
    priced: tuple[tuple[BlockCost, ...], Constants], places: np.ndarray, always: bool
) -> tuple[list[Level], Constants]:
    """Every block for windows at `places` [n, 2] of the plane, and the blocks' constants. always: share all that
    can be shared, whether or not it pays.

    A group reads a map of the block before, which is a phase's number there; the plane is map 0 of block 1.
    """
    costs, of = priced
    axes = tuple(cost.axis for cost in costs)
    windows = windows_of(axes, places)
    stride, pool_stride = of.stride[:, None], of.pool_stride[:, None]
    lattice = places // of.step[:, None, None]
    residue = windows.residue[:, :, 0] * stride + windows.residue[:, :, 1]
    kind = (residue * pool_stride + windows.phase[:, :, 0]) * pool_stride + windows.phase[:, :, 1]
    shareable = windows.shared[:, :, :, 1].min(axis=2) >= 0
    saved, whole = savings(of, windows)
    if always:
        saved[:] = whole[:] = 1e30
    saved[~shareable] = 0.0
    needs = lattice[..., None] + windows.needs
    results = lattice[..., None] // pool_stride[:, :, None, None] + windows.shared
    source, least = np.zeros(len(places), np.int64), _LEAST_SAVED * float(whole.sum())
    levels: list[Level] = []
    for i, cost in enumerate(costs):
        block = _Block(cost, windows.of_block(i), lattice[i], kind[i], saved[i], needs[i], results[i])
        levels.append(_level(block, source, least))
        source = levels[-1].phase
    return levels, of


def _level(of: _Block, source: np.ndarray, least: float) -> Level:
    """Choose one block's groups. source: [n], the map each window would read, -1 for none. least: saving required to share."""
    axis, windows, saved = of.cost.axis, of.windows, of.saved
    order = ((source >= 0) & (saved > 0)).nonzero()[0]
    if saved[order].sum() < least:
        order = order[:0]
    phases = axis.pool_stride**2
    code = (source * (axis.stride**2 * phases) + of.kind)[order]
    by_code = code.argsort(kind="stable")
    order, code = order[by_code], code[by_code]
    labels = groups_of(code // phases, of.needs[order], saved[order], of.cost)
    members, kept = order, labels >= 0
    if not kept.all():
        members, labels, code = members[kept], labels[kept], code[kept]
    if (labels[1:] < labels[:-1]).any():
        by_label = np.argsort(labels, kind="stable")
        members, labels, code = members[by_label], labels[by_label], code[by_label]

    group_starts, phase_starts = run_starts(labels), run_starts(labels * phases + code % phases)
    leaders, phase_leaders = members[group_starts], members[phase_starts]
    groups = Groups(source[leaders], windows.residue[leaders], *_bounds(of.needs[members], group_starts))
    number = np.full(len(source), -1)
    number[members] = np.repeat(np.arange(len(phase_starts)), run_lengths(phase_starts, len(members)))
    return Level(
        axis, windows, of.lattice, members, number, groups,
        Phases(labels[phase_starts], windows.phase[phase_leaders], *_bounds(of.results[members], phase_starts)),
    )  # fmt: skip


def _bounds(spans: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The least first and the greatest last of each run of `spans` [n, 2, first or last]."""
    if not starts.size:
        return spans[:, :, 0], spans[:, :, 1]
    return np.minimum.reduceat(spans[:, :, 0], starts), np.maximum.reduceat(spans[:, :, 1], starts)
