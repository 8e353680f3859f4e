"""A model's scores of a fixed collection of photographs, which give another score its percentile."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dcnn_fast import former
from dcnn_fast.printable import quoted


@dataclass(frozen=True)
class Percentiles:
    """A model's scores of a fixed collection of photographs, which give another score its percentile.

    Args:
        about: A description of the photographs.
        scores: The model's scores of them, at least two, ascending, from 0 to 1.

    Raises:
        ValueError: The description is empty, or the scores are invalid.
    """

    about: str
    scores: tuple[float, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.about, str) or not self.about:
            raise ValueError(f"reference: about must be text, got {quoted(self.about)}")
        if len(self.scores) < 2:
            raise ValueError(f"reference: scores must be at least two, got {len(self.scores)}")
        for score in self.scores:
            if isinstance(score, bool) or not isinstance(score, (int, float)) or not 0 <= score <= 1:
                raise ValueError(f"reference: scores must be numbers from 0 to 1, got {quoted(score)}")
        if list(self.scores) != sorted(self.scores):
            raise ValueError("reference: scores must ascend")

    def percentile(self, score: float) -> float:
        """The percentage of the collection that scores lower; equal scores count half.

        Args:
            score: A score of the same model, from 0 to 1.

        Returns:
            The percentage, 0 to 100.

        Example:
            >>> Percentiles("two photographs", (0.25, 0.75)).percentile(0.5)
            50.0
        """
        below, up_to = bisect.bisect_left(self.scores, score), bisect.bisect_right(self.scores, score)
        return 50 * (below + up_to) / len(self.scores)

    @classmethod
    def of(cls, about: str, scores: Sequence[float]) -> Percentiles:
        """Percentiles from scores in any order.

        Args:
            about: A description of the photographs.
            scores: The model's scores of them, at least two, from 0 to 1.

        Returns:
            The percentiles.

        Raises:
            ValueError: The description is empty, or the scores are invalid.
        """
        return cls(about, tuple(sorted(float(score) for score in scores)))

    def as_dict(self) -> dict[str, Any]:
        """The description and the scores, ready for JSON.

        Returns:
            A dict, which `from_dict` reads back to an equal Percentiles.
        """
        return {"about": self.about, "scores": list(self.scores)}

    @classmethod
    def from_dict(cls, data: Any) -> Percentiles:
        """The Percentiles of a dict that `as_dict` made.

        Args:
            data: The dict, as JSON reads it.

        Returns:
            The percentiles.

        Raises:
            ValueError: The data is anything else; the message names the fault.
        """
        if not isinstance(data, dict) or data.keys() != {"about", "scores"} or not isinstance(data["scores"], list):
            raise ValueError("reference must be a JSON object of about and scores")
        return cls(data["about"], tuple(data["scores"]))


__getattr__ = former.names(__name__, {"Reference": "Percentiles"})
