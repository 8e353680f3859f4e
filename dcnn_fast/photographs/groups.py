"""Photographs that show the same: copies of one, slightly edited ones, and bursts; and the one of each group to keep."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from dcnn_fast.photographs.look import BITS, THUMBNAIL, Look

SAME_SCORE = 0.08  # the shipped model's score of 19 in 20 photographs moves by less when 2 % are cut off each side
BURST_SECONDS = 10.0

_LOCAL_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{1,6})?([+-]\d\d:\d\d)?")
_ROWS = 128  # photographs that are compared with all others at a time
_PAIRS = 2**13  # whose thumbnails are compared at a time
_SHAPE = 0.15  # natural logarithm of the ratio of two shapes: a slight crop's
_LEAST_STRUCTURE = 4 * 3 * THUMBNAIL**2  # sum of squares: two levels off the mean


@dataclass(frozen=True)
class _Alike:
    """bits: of the hash that may differ, of 64. colour: 1 minus the correlation of the thumbnails, at most."""

    bits: int
    colour: float


COPY = _Alike(14, 0.15)  # two of any time and camera
BURST = _Alike(20, 0.30)  # two by one camera within ten seconds


@dataclass(frozen=True)
class Member:
    """A photograph of a collection.

    mean: its score, None where the model gives none. std: the standard deviation over its samples. width, height: upright, in
    pixels. taken: ISO 8601, None where it is not known. order: what sorts photographs that are equal otherwise: its path.
    """

    look: Look
    width: int
    height: int
    order: str
    mean: float | None = None
    std: float | None = None
    taken: str | None = None
    camera: str | None = None


def groups_of(members: Sequence[Member]) -> list[list[int]]:
    """The groups of two photographs and more that show the same: their places in `members`.

    Two photographs are alike when their hashes differ by at most 14 of 64 bits, the correlation of their thumbnails is at
    least 0.85 and their shapes are the same to 15 % (`COPY`); within ten seconds by one camera, when they differ by at most 20
    bits and the correlation is at least 0.7 (`BURST`). A group is all that is joined by pairs that are alike, so that its ends
    may be less alike than any pair of neighbours. A picture without structure, such as a black one, is like no other.

    In a group the first is the one that was taken first, by its camera's clock, then by `order`; groups come in the order of
    their firsts. Nothing depends on the order of `members`. Time grows with the square of their number: all pairs are compared,
    by products of matrices whose results are exact.
    """
    if len(members) < 2:
        return []
    leaders = _Leaders(len(members))
    for first, second in _alike(members, leaders):
        leaders.join(first, second)
    groups: dict[int, list[int]] = {}
    for place in range(len(members)):
        groups.setdefault(leaders.of(place), []).append(place)
    several = [sorted(group, key=lambda place: _first(members[place])) for group in groups.values() if len(group) > 1]
    return sorted(several, key=lambda group: _first(members[group[0]]))


def best_of(group: Sequence[Member]) -> int:
    """The place of the one to keep in a group.

    It is the one with the highest score, unless others are as good: a score that is lower by no more than the greater of the
    two standard deviations over the samples, or by no more than `SAME_SCORE`, is no lower score. Of those that are as good the
    sharpest is kept, then the largest, then the first in order. Without scores all are as good.
    """
    ranked = sorted(range(len(group)), key=lambda place: (-(group[place].mean or 0.0), group[place].order))
    best = group[ranked[0]]
    return min(
        (place for place in ranked if _as_good(group[place], best)),
        key=lambda place: (-group[place].look.sharpness, -group[place].width * group[place].height, group[place].order),
    )


def _as_good(one: Member, best: Member) -> bool:
    if one.mean is None or best.mean is None:
        return one.mean is None and best.mean is None
    return best.mean - one.mean <= max(SAME_SCORE, one.std or 0.0, best.std or 0.0)


def _first(member: Member) -> tuple[bool, float, str]:
    seconds = seconds_of(member.taken)
    return seconds is None, seconds or 0.0, member.order


def seconds_of(taken: str | None) -> float | None:
    """Seconds on the camera's clock since the year 1; an offset from UTC makes no difference to a camera's own photographs."""
    found = _LOCAL_TIME.fullmatch(taken or "")
    if found is None:
        return None
    try:
        moment = datetime.fromisoformat(found[1])
    except ValueError:
        return None
    return (moment - datetime.min).total_seconds() + float(found[2] or 0)


def _alike(members: Sequence[Member], leaders: _Leaders) -> Iterator[tuple[int, int]]:
    """Pairs of photographs that are alike, the first place lower than the second; none that `leaders` has joined already."""
    hashes = np.frombuffer(bytes.fromhex("".join(member.look.bits for member in members)), np.uint8).reshape(-1, BITS // 8)
    signs = np.unpackbits(hashes, axis=1).astype(np.float32) * 2 - 1  # a product's sums are whole numbers to 64: exact
    pixels = np.frombuffer(bytes.fromhex("".join(member.look.thumbnail for member in members)), np.uint8)
    thumbnails = pixels.reshape(len(members), THUMBNAIL**2, 3).astype(np.int64)
    # Whole numbers: off the mean times the number of pixels, of each channel.
    structure = (THUMBNAIL**2 * thumbnails - thumbnails.sum(axis=1, keepdims=True)).reshape(len(members), -1)
    energy = (structure**2).sum(axis=1)
    shown = energy >= _LEAST_STRUCTURE * THUMBNAIL**4
    shapes = np.log([member.width / member.height for member in members])
    seconds = np.array([-np.inf if (each := seconds_of(member.taken)) is None else each for member in members])
    cameras = _numbers([member.camera for member in members])
    for top in range(0, len(members), _ROWS):
        near = signs[top : top + _ROWS] @ signs[top:].T  # bits that agree less those that differ
        one, other = np.nonzero(near >= BITS - 2 * BURST.bits)
        later = one < other
        one, other = one[later], other[later]
        differing = (BITS - near[one, other]) / 2
        one, other = one + top, other + top
        with np.errstate(invalid="ignore"):  # two times that are not known
            burst = (np.abs(seconds[one] - seconds[other]) <= BURST_SECONDS) & (cameras[one] == cameras[other])
        copy = (differing <= COPY.bits) & (np.abs(shapes[one] - shapes[other]) <= _SHAPE)
        likely = np.flatnonzero((burst | copy) & shown[one] & shown[other])
        for start in range(0, len(likely), _PAIRS):
            some = likely[start : start + _PAIRS]
            some = some[leaders.apart(one[some], other[some])]
            a, b = one[some], other[some]
            products = np.einsum("ij,ij->i", structure[a], structure[b]).astype(np.float64)
            apart = 1 - products / np.sqrt(energy[a].astype(np.float64) * energy[b].astype(np.float64))
            alike = apart <= np.where(burst[some], BURST.colour, COPY.colour)
            yield from zip(a[alike].tolist(), b[alike].tolist(), strict=True)


def _numbers(names: Sequence[str | None]) -> np.ndarray:
    """A number for each name, equal for equal names."""
    known: dict[str | None, int] = {}
    return np.array([known.setdefault(name, len(known)) for name in names])


class _Leaders:
    """Disjoint sets of places, each known by its lowest."""

    def __init__(self, count: int) -> None:
        self._above = np.arange(count)

    def of(self, place: int) -> int:
        """The lowest place of its set."""
        above = self._above
        while (next_up := int(above[place])) != place:
            above[place] = above[next_up]
            place = next_up
        return place

    def join(self, one: int, other: int) -> None:
        """Make one set of the two that they are in."""
        first, second = sorted((self.of(one), self.of(other)))
        self._above[second] = first

    def apart(self, ones: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Which pairs are in two sets."""
        while not np.array_equal(higher := self._above[self._above], self._above):
            self._above = higher
        return np.asarray(self._above[ones] != self._above[others])
