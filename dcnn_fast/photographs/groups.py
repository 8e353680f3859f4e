"""Groups of near-duplicate photographs (copies, slight edits, bursts), and the best photograph of each group."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from dcnn_fast.photographs.look import BITS, THUMBNAIL, Look

SAME_SCORE = 0.08  # cutting 2 % off each side moves the shipped model's score by less for 19 of 20 photographs
BURST_SECONDS = 10.0

_LOCAL_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{1,6})?([+-]\d\d:\d\d)?")
_ROWS, _PAIRS = 128, 2**21  # upper limits at a time: photographs compared with all others, and pairs
_SHAPE = 0.15  # natural logarithm of the ratio of two aspect ratios, as after a slight crop
_UNKNOWN = 0
_LEAST_STRUCTURE = 4 * 3 * THUMBNAIL**2  # sum of squares at two levels from the mean


@dataclass(frozen=True)
class _Alike:
    """bits: how many of the hash's 64 bits may differ. colour: the maximum of 1 minus the thumbnails' correlation."""

    bits: int
    colour: float


COPY = _Alike(14, 0.15)  # any two times and cameras
BURST = _Alike(20, 0.30)  # the same camera within ten seconds


@dataclass(frozen=True)
class Member:
    """A photograph of a collection.

    Args:
        look: The photograph's look (`look_at`).
        width: Its width in pixels, upright.
        height: Its height in pixels, upright.
        order: The tie-breaker when sorting, the photograph's path.
        mean: Its score, None where the model has none.
        std: The standard deviation over its samples, None where there is none.
        taken: The time of exposure, ISO 8601, None where unknown.
        camera: Maker and model of the camera, None where unknown.
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
    """Find the groups of two or more near-duplicates.

    Two photographs are alike when their hashes differ by at most 14 of 64 bits, the correlation of their thumbnails is at least
    0.85 and their aspect ratios agree to 15 % (`COPY`); within ten seconds by the same camera, when they differ by at most 20
    bits and the correlation is at least 0.7 (`BURST`). A group is a connected component of pairs that are alike, so that its
    ends may be less alike than any linked pair. A picture without structure, such as a black one, is never like another.

    The grouping does not depend on the order of `members`. Time grows with the square of their number: all pairs are compared,
    by matrix products whose results are exact.

    Args:
        members: The photographs of a collection.

    Returns:
        Each group as indices into `members`, sorted by time taken, by the camera's clock, then by `order`; groups are sorted by
            their first members.
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
    """Choose the photograph to keep in a group.

    It is the one with the highest score, unless others are tied with it: scores tie when they differ by no more than the
    greater of the two standard deviations over the samples, or by no more than `SAME_SCORE`. Among tied photographs the
    sharpest is kept, then the largest, then the first in order. Without scores all are tied.

    Args:
        group: The photographs of one group, at least one.

    Returns:
        The index in `group` of the photograph to keep.
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
    """Seconds on the camera's clock since the year 1; a UTC offset does not matter among one camera's photographs."""
    found = _LOCAL_TIME.fullmatch(taken or "")
    if found is None:
        return None
    try:
        moment = datetime.fromisoformat(found[1])
    except ValueError:
        return None
    return (moment - datetime.min).total_seconds() + float(found[2] or 0)


def _alike(members: Sequence[Member], leaders: _Leaders) -> Iterator[tuple[int, int]]:
    """Pairs of photographs that are alike, the lower index first, without pairs that `leaders` has joined already."""
    hashes = np.frombuffer(bytes.fromhex("".join(member.look.bits for member in members)), np.uint8).reshape(-1, BITS // 8)
    signs = np.unpackbits(hashes, axis=1).astype(np.float32) * 2 - 1  # a product's sums are integers up to 64, hence exact
    pixels = np.frombuffer(bytes.fromhex("".join(member.look.thumbnail for member in members)), np.uint8)
    thumbnails = pixels.reshape(len(members), THUMBNAIL**2, 3).astype(np.float64)
    # Deviations from the channel's mean, times the number of pixels: integers, whose sums of products are exact.
    structure = (THUMBNAIL**2 * thumbnails - thumbnails.sum(axis=1, keepdims=True)).reshape(len(members), -1)
    energy = (structure**2).sum(axis=1)
    shown = energy >= _LEAST_STRUCTURE * THUMBNAIL**4
    shapes = np.log([member.width / member.height for member in members])
    seconds = np.array([-np.inf if (each := seconds_of(member.taken)) is None else each for member in members])
    cameras = _numbers([member.camera for member in members])
    rows = max(1, min(_ROWS, _PAIRS // len(members)))
    for top in range(0, len(members), rows):
        near = signs[top : top + rows] @ signs[top:].T  # agreeing bits minus differing bits
        one, other = np.nonzero(near >= BITS - 2 * BURST.bits)
        later = one < other
        one, other = one[later], other[later]
        differing = (BITS - near[one, other]) / 2
        one, other = one + top, other + top
        with np.errstate(invalid="ignore"):  # both times unknown
            at_once = np.abs(seconds[one] - seconds[other]) <= BURST_SECONDS
        burst = at_once & (cameras[one] == cameras[other]) & (cameras[one] != _UNKNOWN)
        copy = (differing <= COPY.bits) & (np.abs(shapes[one] - shapes[other]) <= _SHAPE)
        likely = (burst | copy) & shown[one] & shown[other] & leaders.apart(one, other)
        one, other, burst = one[likely], other[likely], burst[likely]
        columns, column = np.unique(other, return_inverse=True)
        products = (structure[top : top + rows] @ structure[columns].T)[one - top, column]
        alike = 1 - products / np.sqrt(energy[one] * energy[other]) <= np.where(burst, BURST.colour, COPY.colour)
        yield from zip(one[alike].tolist(), other[alike].tolist(), strict=True)


def _numbers(names: Sequence[str | None]) -> np.ndarray:
    """A number for each name, equal for equal names; `_UNKNOWN` for None."""
    known: dict[str | None, int] = {None: _UNKNOWN}
    return np.array([known.setdefault(name, len(known)) for name in names])


class _Leaders:
    """Disjoint sets of indices, each represented by its lowest."""

    def __init__(self, count: int) -> None:
        self._above = np.arange(count)

    def of(self, place: int) -> int:
        """The lowest index in the set of `place`."""
        above = self._above
        while (next_up := int(above[place])) != place:
            above[place] = above[next_up]
            place = next_up
        return place

    def join(self, one: int, other: int) -> None:
        """Merge the sets of `one` and `other`."""
        first, second = sorted((self.of(one), self.of(other)))
        self._above[second] = first

    def apart(self, ones: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Which pairs are in different sets."""
        while not np.array_equal(higher := self._above[self._above], self._above):
            self._above = higher
        return np.asarray(self._above[ones] != self._above[others])
