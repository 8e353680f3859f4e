"""The time of the stages, which is known before the C++ engine is there that they need."""

from __future__ import annotations

from collections.abc import Sequence

ENGINE = "engine"
SHARES = {
    "versions": 15, "families": 45, "sanitizer": 25, "tests": 70, "scores": 45, "times": 70, "profile": 20, "predictions": 10,
}  # fmt: skip
"""Each stage's share of the time, beside the others'."""
_BUILDING = 60  # the engine's, where it is to be built
MINUTES, MINUTES_OF_SOME = 5.0, 3.0  # for all stages, and for chosen ones
_SLOWER = 10  # their factor in the simulator
SOME_NOT_DONE = 3  # the command's exit status


def budget(device: str, minutes: float | None, names: Sequence[str]) -> float:
    """Seconds for these stages together."""
    if minutes is None:
        minutes = (MINUTES_OF_SOME if len(names) < len(SHARES) else MINUTES) * (_SLOWER if device.startswith("sim") else 1)
    return 60 * minutes


def building(seconds: float, names: Sequence[str]) -> float:
    """The engine's part of a budget, before these stages'."""
    return seconds * _BUILDING / (_BUILDING + sum(SHARES[name] for name in names))
