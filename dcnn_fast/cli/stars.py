"""Stars from scores, by shares of the collection or by thresholds; equal scores always get equal stars."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate, pairwise

DECIMALS = 6
"""Decimals of a score that count: a CSV holds no more, so a resumed run gives the stars of an uninterrupted one."""

_NUMBER = re.compile(r"-?([0-9]{1,9}(\.[0-9]{0,9})?|\.[0-9]{1,9})")

SHARES = "5,15,30,30,20"


class StarsError(ValueError):
    """A malformed rule for stars; the message says what must be given instead."""


@dataclass(frozen=True)
class Shares:
    """Stars by the rank of a photograph among all.

    ends: cumulative shares of all photographs with five stars, with five or four, ... with one or more; the last is 1.
    """

    ends: tuple[Fraction, ...]

    def stars(self, scores: Sequence[float]) -> list[int]:
        """The stars of each score, in order. Photographs of equal score get the stars of the middle of their ranks."""
        ordered = sorted(scores)
        return [self.one(ordered, score) for score in scores]

    def one(self, ordered: Sequence[float], score: float) -> int:
        """The stars of one score. ordered: all scores, lowest first."""
        return 5 - bisect_left(self.ends, _place(ordered, score))


@dataclass(frozen=True)
class Thresholds:
    """Stars by the score alone. least: the lowest scores for five, four, three and two stars."""

    least: tuple[float, ...]

    def stars(self, scores: Sequence[float]) -> list[int]:
        """The stars of each score, in order; a score equal to a threshold has reached it."""
        return [self.one((), score) for score in scores]

    def one(self, ordered: Sequence[float], score: float) -> int:
        """The stars of one score; the other scores are ignored."""
        return 1 + sum(score >= each for each in self.least)


def shares_of(text: str) -> Shares:
    """A rule from five shares in percent, the share of five stars first. Raises StarsError."""
    shares = _numbers("--stars", text, 5, "shares in percent, of five stars first")
    if any(share < 0 for share in shares) or sum(shares) != 100:
        raise StarsError(f"--stars: the shares must not be negative and must sum to 100, got {text!r}")
    return Shares(tuple(end / 100 for end in accumulate(shares)))


def thresholds_of(text: str) -> Thresholds:
    """A rule from four scores, the lowest for five stars first. Raises StarsError."""
    least = _numbers("--stars-at", text, 4, "scores, the least of five stars first")
    if not all(one > other for one, other in pairwise(least)) or not all(0 <= score <= 1 for score in least):
        raise StarsError(f"--stars-at: the scores must be from 1 down to 0, each lower than the one before, got {text!r}")
    return Thresholds(tuple(map(float, least)))


def counted(score: float) -> float:
    """The score, rounded as it counts for stars and for the choice of the best."""
    return round(score, DECIMALS)


def _place(ordered: Sequence[float], score: float) -> Fraction:
    """The share of all photographs, best first, before the middle of those with this score."""
    first, last = bisect_left(ordered, score), bisect_right(ordered, score)
    return 1 - Fraction(first + last, 2 * len(ordered))


def _numbers(option: str, text: str, count: int, what: str) -> list[Fraction]:
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != count or not all(map(_NUMBER.fullmatch, parts)):
        raise StarsError(f"{option}: must be {count} {what}, with commas between them, got {text!r}")
    return [Fraction(part) for part in parts]
