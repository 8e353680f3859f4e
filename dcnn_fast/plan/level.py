"""Which windows share what, block by block: groups of windows of one class, and the groups' pool phases.

Places are those of the lattices that all windows of the plane share: the window at pixel o has convolution output i at
o // step + i, and result j at o // step // pool stride + j. Arrays have a row for each window, group or phase, and a column
for each axis.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dcnn_fast.ops.precision import Precision
from dcnn_fast.plan.cluster import groups_of, run_starts
from dcnn_fast.plan.cost import BlockCost, costs_of
from dcnn_fast.plan.geometry import Axis, Windows, windows_of
from dcnn_fast.plan.overlap import Groups, Phases
from dcnn_fast.spec import Column


@dataclass(frozen=True)
class Level:
    """One block of the plan. members: the windows that share, sorted by the phase of their group. phase: the number of that in
    `phases`, of every window, -1 for none.
    """

    axis: Axis
    windows: Windows
    lattice: np.ndarray
    members: np.ndarray
    phase: np.ndarray
    groups: Groups
    phases: Phases


def levels_of(column: Column, places: np.ndarray, backend: str, precision: Precision) -> list[Level]:
    """Every block. A group reads a map of the block before, which is a phase's number there; the plane is map 0 of block 1."""
    costs = costs_of(column, backend, precision)
    axes = tuple(cost.axis for cost in costs)
    windows = windows_of(axes, places)
    step, stride, pool_stride = np.array([(axis.step, axis.stride, axis.pool_stride) for axis in axes]).T[:, :, None]
    lattice = places // step[:, :, None]
    residue = windows.residue[:, :, 0] * stride + windows.residue[:, :, 1]
    kind = (residue * pool_stride + windows.phase[:, :, 0]) * pool_stride + windows.phase[:, :, 1]
    shareable = windows.shared[:, :, :, 1].min(axis=2) >= 0
    source = np.zeros(len(places), np.int64)
    levels: list[Level] = []
    for i, cost in enumerate(costs):
        levels.append(_level(cost, windows.of_block(i), lattice[i], np.where(shareable[i], source, -1), kind[i]))
        source = levels[-1].phase
    return levels


def _level(cost: BlockCost, windows: Windows, lattice: np.ndarray, source: np.ndarray, kind: np.ndarray) -> Level:
    """source: the map that each window would read, -1 for none. kind: of its residue and phase, numbered."""
    axis = cost.axis
    saved = cost.saved(windows)
    phases = axis.pool_stride**2
    code = source * (axis.stride**2 * phases) + kind
    order = np.flatnonzero((source >= 0) & (saved > 0))
    order = order[np.argsort(code[order], kind="stable")]
    needs = lattice[:, :, None] + windows.needs
    labels = groups_of(code[order] // phases, needs[order], saved[order], cost)
    members, labels = order[labels >= 0], labels[labels >= 0]
    if (labels[1:] < labels[:-1]).any():
        order = np.argsort(labels, kind="stable")
        members, labels = members[order], labels[order]

    group_starts, phase_starts = run_starts(labels), run_starts(labels * phases + code[members] % phases)
    leaders, phase_leaders = members[group_starts], members[phase_starts]
    results = lattice[members, :, None] // axis.pool_stride + windows.shared[members]
    groups = Groups(source[leaders], windows.residue[leaders], *_bounds(needs[members], group_starts))
    number = np.full(len(source), -1)
    number[members] = np.repeat(np.arange(len(phase_starts)), np.append(phase_starts[1:], len(members)) - phase_starts)
    return Level(
        axis, windows, lattice, members, number, groups,
        Phases(labels[phase_starts], windows.phase[phase_leaders], *_bounds(results, phase_starts)),
    )  # fmt: skip


def _bounds(spans: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each run of `spans` [n, 2, first or last], the least first and the greatest last."""
    if not starts.size:
        return spans[:, :, 0], spans[:, :, 1]
    return np.minimum.reduceat(spans[:, :, 0], starts), np.maximum.reduceat(spans[:, :, 1], starts)
