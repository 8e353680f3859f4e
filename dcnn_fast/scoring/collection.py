"""Properties of a score within its collection: its percentile and its group of near-duplicates."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from dcnn_fast.photographs.groups import Member, best_of, groups_of
from dcnn_fast.scoring.score import Score

_DECIMALS = 6  # of means: equal means in a CSV are ties in every file


@dataclass(frozen=True)
class _Place:
    """A photograph's place in a group. first: the key of the group's first one. best: whether it is the one to keep."""

    first: bytes
    best: bool


class Collection:
    """Scores of one collection, by keys of their photographs. A score without a look takes eight bytes."""

    def __init__(self) -> None:
        self._means = array("d")
        self._members: dict[bytes, Member] = {}
        self._places: dict[bytes, _Place] = {}

    def add(self, key: Callable[[], bytes], score: Score) -> None:
        """Add one photograph's score; failed ones have no place. key: called only where needed."""
        if score.error is not None:
            return
        if score.mean is not None:
            self._means.append(round(score.mean, _DECIMALS))
        if score.look is not None and score.width is not None and score.height is not None:
            self._members[key()] = Member(
                score.look, score.width, score.height, score.path or "", score.mean, score.std, score.taken, score.camera
            )

    def close(self) -> None:
        """Find places and groups, once all scores are added."""
        self._means = array("d", sorted(self._means))
        keys, members = list(self._members), list(self._members.values())
        for group in groups_of(members):
            best = best_of([members[place] for place in group])
            for number, place in enumerate(group):
                self._places[keys[place]] = _Place(keys[group[0]], number == best)

    @property
    def means(self) -> Sequence[float]:
        """All scores' means, rounded to six decimals, in ascending order."""
        return self._means

    @property
    def firsts(self) -> set[bytes]:
        """The keys of the first photographs of groups."""
        return {place.first for place in self._places.values()}

    def completed(self, key: Callable[[], bytes], score: Score, name: Callable[[bytes], str]) -> Score:
        """The score with its place and group. name: gives the name of a key's photograph."""
        if score.error is not None:
            return replace(score, collection_percentile=None, group=None, best_of_group=None)
        place = self._places.get(key()) if self._places else None
        return replace(
            score,
            collection_percentile=self._percentile(score.mean),
            group=None if place is None else name(place.first),
            best_of_group=None if place is None else place.best,
        )

    def _percentile(self, mean: float | None) -> float | None:
        if mean is None or not self._means:
            return None
        value = round(mean, _DECIMALS)
        return 50 * (bisect_left(self._means, value) + bisect_right(self._means, value)) / len(self._means)


def completed(scores: Iterable[Score]) -> list[Score]:
    """Give the scores of one collection their percentiles and groups.

    Args:
        scores: All scores of the collection.

    Returns:
        The scores in their order, each with `collection_percentile`, and with its group if the scorer has the option `groups`.
        A group is named by the path of its first photograph, or #N for the N-th score where that has no path.
    """
    every = list(scores)
    keys = [str(number).encode() for number in range(len(every))]
    collection = Collection()
    for number, score in enumerate(every):
        collection.add(partial(keys.__getitem__, number), score)
    collection.close()

    def name(key: bytes) -> str:
        return every[int(key)].path or f"#{int(key)}"

    return [collection.completed(partial(keys.__getitem__, number), score, name) for number, score in enumerate(every)]
