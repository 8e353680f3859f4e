"""Schedules of the rates: cuda-convnet2's (docs/cuda-convnet.md#layer-files), a cosine, a warm-up, drops."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

Kind = Literal["const", "linear", "exp", "dexp", "cosine"]
_KINDS: tuple[Kind, ...] = ("const", "linear", "exp", "dexp", "cosine")
_DEFAULTS = {"tgtFactor": 10.0, "numSteps": 2.0}
_TEXT = re.compile(r"(\w+)(?:\[([^\]]*)\])?")


@dataclass(frozen=True)
class Schedule:
    """A factor for every learning rate, by the share of the training that is done.

    const: 1. linear: from 1 to 1 / target in a straight line. exp: from 1 to 1 / target, the same share each time. dexp:
    `steps` equal spans, the i-th at target ** (-i / (steps - 1)). cosine: from 1 to 0 along half a wave (Loshchilov and Hutter
    2017).

    Args:
        kind: "const", "linear", "exp", "dexp" or "cosine".
        target: The number by which the rate is divided at the end, positive and finite; "const" and "cosine" do without.
        steps: The spans of "dexp", at least 2.

    Raises:
        ValueError: An argument breaks a rule; the message names it as cuda-convnet2's notation does (tgtFactor, numSteps).

    Source:
        docs/cuda-convnet.md#layer-files
    """

    kind: Kind = "const"
    target: float = 10.0
    steps: int = 2

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise ValueError(f"schedule must be one of {', '.join(_KINDS)}; got {self.kind!r}")
        if not 0 < self.target < math.inf:
            raise ValueError(f"schedule: tgtFactor must be positive and finite, got {self.target}")
        if self.steps < 2:
            raise ValueError(f"schedule: numSteps must be at least 2, got {self.steps}")

    def factor(self, done: float) -> float:
        """The factor at a time of the training.

        Args:
            done: The share of the training that is over, 0 to 1.

        Returns:
            The factor by which rates are multiplied.

        Example:
            >>> Schedule("linear", target=2.0).factor(0.5)
            0.75
        """
        if self.kind == "linear":
            return 1 + (1 / self.target - 1) * done
        if self.kind == "exp":
            return float(self.target**-done)
        if self.kind == "dexp":
            step = min(int(done * self.steps), self.steps - 1)
            return float(self.target ** (-step / (self.steps - 1)))
        if self.kind == "cosine":
            return 0.5 * (1 + math.cos(math.pi * done))
        return 1.0


def parse_schedule(text: str) -> Schedule:
    """The schedule that cuda-convnet2's notation names.

    Args:
        text: A kind, with its entries in brackets: "const", "linear[tgtFactor=100]", "dexp[tgtFactor=10;numSteps=3]". tgtFactor
            is 10 and numSteps 2 where they are left out; "cosine" takes neither. An entry `base` is refused: that is the rate
            itself.

    Returns:
        The schedule.

    Raises:
        ValueError: The text is no such notation, or an entry is unknown or out of range.

    Example:
        >>> parse_schedule("dexp[tgtFactor=10;numSteps=3]")
        Schedule(kind='dexp', target=10.0, steps=3)

    Source:
        docs/cuda-convnet.md#layer-files
    """
    match = _TEXT.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"schedule must read kind or kind[name=value;...], got {text!r}")
    kind, inside = match.groups()
    values = dict(_DEFAULTS)
    if kind == "cosine" and inside is not None:
        raise ValueError(f"schedule: cosine takes no entries, got {inside!r}")
    for entry in filter(None, (inside or "").split(";")):
        name, _, value = (part.strip() for part in entry.partition("="))
        if name not in values:
            raise ValueError(f"schedule: an entry must be one of {', '.join(values)}; got {entry!r}")
        try:
            values[name] = float(value)
        except ValueError:
            raise ValueError(f"schedule: {name} must be a number, got {value!r}") from None
    if not values["numSteps"].is_integer():
        raise ValueError(f"schedule: numSteps must be an integer, got {values['numSteps']}")
    return Schedule(kind, values["tgtFactor"], int(values["numSteps"]))  # type: ignore[arg-type]


def parse_drops(text: str) -> tuple[tuple[int, float], ...]:
    """Drops of the rates by hand.

    Args:
        text: "epoch:factor" entries with commas between them; empty for no drops.

    Returns:
        (epoch, factor) pairs in the order of the text.

    Raises:
        ValueError: An entry is not an integer and a number with a colon between them.

    Example:
        From epoch 20 on a tenth of the rates, from 35 on a tenth of that:

        >>> parse_drops("20:0.1,35:0.1")
        ((20, 0.1), (35, 0.1))
    """
    drops = []
    for entry in filter(None, (part.strip() for part in text.split(","))):
        epoch, _, factor = entry.partition(":")
        try:
            drops.append((int(epoch), float(factor)))
        except ValueError:
            raise ValueError(f"drops must read epoch:factor,..., got {entry!r}") from None
    return tuple(drops)


def drop_factor(drops: tuple[tuple[int, float], ...], epoch: int) -> float:
    """The product of the factors of all drops up to `epoch`, which counts from 0."""
    return math.prod(factor for start, factor in drops if epoch >= start)


def warmed(step: int, rise: float) -> float:
    """The warm-up's factor at mini-batch `step`, from 0: a straight line to 1 over the first `rise` mini-batches."""
    return min(1.0, (step + 1) / rise) if rise else 1.0
