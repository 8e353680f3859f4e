"""The shared work of every block: regions for the groups, whose pieces go to maps and to the windows' own images.

All blocks at once, as in `rim`. A block's groups read maps: the plane in block 1, later phases of groups of the block before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from dcnn_fast.ops.records import PIECE, REGION, STORE
from tests.plan.reference_plan.columns import (
    PIECE_CORNER,
    PIECE_EXTENT,
    REGION_CORNER,
    REGION_EXTENT,
    REGION_LATTICE,
    REGION_SOURCE,
    REGION_WINDOW_EXTENT,
    STORE_EXTENT,
    STORE_IMAGE,
    STORE_OUTPUT,
    STORE_PLACE,
    STORE_SKIP,
    width,
)
from tests.plan.reference_plan.cost import Constants
from tests.plan.reference_plan.level import Level
from tests.plan.reference_plan.overlap import Regions, cut_by_piece, regions_apart
from tests.plan.reference_plan.rim import Tables, wanted_of


@dataclass(frozen=True)
class _Phases:
    """The phases of all blocks, block by block. block: each phase's block. ends: each block's first phase, and the total.
    output: the block's output that stores the phase, -1 for none; output 0 is windows' own images. extent: rows and columns.
    """

    block: np.ndarray
    ends: np.ndarray
    output: np.ndarray
    first: np.ndarray
    last: np.ndarray
    extent: np.ndarray


def groups_tables(
    levels: Sequence[Level], of: Constants, plane: tuple[int, int]
) -> tuple[list[Tables], list[list[tuple[int, int]]]]:
    """Each block's tables of its groups' regions, and the rows and columns of the maps that they store."""
    phases = _phases(levels)
    apart = [regions_apart(level.axis, level.groups, level.phases) for level in levels]
    stride, padding, pool_stride = of.stride[:, None], of.padding[:, None], of.pool_stride[:, None]
    before, after = of.before[:, None], of.after[:, None]
    block, region_ends = _ends([len(part.regions.source) for part in apart])
    piece_block, piece_ends = _ends([len(part.pieces.group) for part in apart])

    # A region's map: 0 is the plane, followed by all phases.
    maps = np.concatenate([part.regions.source + (1 + phases.ends[i - 1] if i else 0) for i, part in enumerate(apart)])
    first = np.concatenate([part.regions.first for part in apart])
    regions = np.zeros((len(maps), width(REGION)), np.int64)
    regions[:, REGION_SOURCE] = np.append(0, phases.output)[maps][:, None]
    regions[:, REGION_WINDOW_EXTENT] = np.concatenate([[plane], phases.extent])[maps]
    origin = np.concatenate([[(0, 0)], phases.first])[maps]
    residue = np.concatenate([part.regions.residue for part in apart])
    regions[:, REGION_CORNER] = first * stride[block] + residue - padding[block] - origin
    regions[:, REGION_EXTENT] = np.concatenate([part.regions.last for part in apart]) - first + 1
    regions[:, REGION_LATTICE] = first
    region = np.concatenate([part.pieces.group for part in apart]) + region_ends[piece_block]
    _count_members(regions, region, piece_ends[block])

    piece_first = np.concatenate([part.pieces.first for part in apart])
    extent = np.concatenate([part.pieces.last for part in apart]) - piece_first + 1
    phase = np.concatenate([part.pieces.phase for part in apart])
    pieces = np.zeros((len(region), width(PIECE)), np.int64)
    pieces[:, PIECE_CORNER] = (piece_first - before[piece_block]) * pool_stride[piece_block] + phase - first[region]
    pieces[:, PIECE_EXTENT] = extent + (before + after)[piece_block]
    stores, owner = _by_piece(*_stores(levels, phases), apart, phases.ends, piece_ends)
    store_ends = owner.searchsorted(piece_ends)
    _count_members(pieces, owner, store_ends[piece_block])
    stores[:, STORE_EXTENT] += 1 - stores[:, STORE_SKIP]
    stores[:, STORE_SKIP] += before[piece_block[owner]] - piece_first[owner]

    cuts = [pairwise(ends.tolist()) for ends in (region_ends, piece_ends, store_ends)]
    tables = [
        (regions[slice(*r)], pieces[slice(*p)], stores[slice(*s)]) for r, p, s in zip(*cuts, strict=True)
    ]  # fmt: skip
    kept = phases.output > 0
    outputs: list[list[tuple[int, int]]] = [[] for _ in levels]
    for number, rows, cols in zip(phases.block[kept].tolist(), *phases.extent[kept].T.tolist(), strict=True):
        outputs[number].append((rows, cols))
    return tables, outputs


def _phases(levels: Sequence[Level]) -> _Phases:
    block, ends = _ends([len(level.phases.group) for level in levels])
    is_map = np.zeros(len(block), bool)
    for start, following in zip(ends.tolist(), levels[1:], strict=False):
        is_map[start + following.groups.source] = True
    count = np.zeros(len(block) + 1, np.int64)
    is_map.cumsum(out=count[1:])
    output = np.where(is_map, count[1:] - count[ends[block]], -1)
    first, last = (np.concatenate([getattr(level.phases, name) for level in levels]) for name in ("first", "last"))
    return _Phases(block, ends, output, first, last, last - first + 1)


def _ends(counts: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """For items counted per block: each item's block, and each block's first item followed by the total."""
    return np.arange(len(counts)).repeat(counts), np.cumsum([0, *counts])


def _count_members(table: np.ndarray, owner: np.ndarray, start: np.ndarray) -> None:
    """Write the last two columns: the first member of each row, counted from `start`, and their number. owner: sorted."""
    table[:, -1] = np.bincount(owner, minlength=len(table))
    table[:, -2] = table[:, -1].cumsum() - table[:, -1] - start


def _stores(levels: Sequence[Level], phases: _Phases) -> tuple[np.ndarray, np.ndarray]:
    """The stores of the phases, and each store's phase: whole maps, and parts in windows' own images.

    The fields are Store's, but in results of the lattice: first and last, output, image, and the place of the first.
    """
    wanted, row = wanted_of(levels)
    block = np.repeat(np.arange(len(levels)), [len(level.members) for level in levels])[row]
    member = np.concatenate([level.members for level in levels])[row]
    number = np.concatenate([level.phase[level.members] for level in levels])[row]
    lattice = np.concatenate([level.lattice[level.members] // level.axis.pool_stride for level in levels])[row]
    maps = np.flatnonzero(phases.output > 0)
    stores = np.zeros((len(maps) + len(row), width(STORE)), np.int64)
    whole, own = stores[: len(maps)], stores[len(maps) :]
    whole[:, STORE_SKIP], whole[:, STORE_EXTENT] = phases.first[maps], phases.last[maps]
    whole[:, STORE_OUTPUT] = phases.output[maps][:, None]
    own[:, STORE_SKIP], own[:, STORE_EXTENT] = lattice + wanted[:, :, 0], lattice + wanted[:, :, 1]
    own[:, STORE_IMAGE] = member[:, None]
    own[:, STORE_PLACE] = wanted[:, :, 0]
    return stores, np.append(maps, number + phases.ends[block])


def _by_piece(
    stores: np.ndarray, phase: np.ndarray, apart: Sequence[Regions], phase_ends: np.ndarray, piece_ends: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The stores sorted by piece, and the piece of each; a store with results of several pieces is cut."""
    if all(of.piece_of is of.phase_of for of in apart):  # every phase is a piece
        order = phase.argsort(kind="stable")
        return stores[order], phase[order]
    phase_of = np.concatenate([of.phase_of + start for of, start in zip(apart, phase_ends, strict=False)])
    piece_of = np.concatenate([of.piece_of + start for of, start in zip(apart, piece_ends, strict=False)])
    first, last = (np.concatenate([getattr(of.pieces, name) for of in apart]) for name in ("first", "last"))
    return cut_by_piece(stores, phase, phase_of, piece_of, first, last)
