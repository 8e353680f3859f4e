"""Timing rivals in one run: alternating calls, medians, and no time at all for outputs that disagree."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

Run = Callable[[], np.ndarray]


class DisagreementError(RuntimeError):
    """A rival's output differs from the expected one by more than its precision explains."""


@dataclass(frozen=True)
class Rival:
    """One way to compute something. `run` does it once and returns the output as float32, in the layout the others use.

    tolerance: the largest allowed difference, relative to the largest magnitude of the expected output.
    """

    name: str
    run: Run
    tolerance: float


def require_agreement(rivals: Mapping[str, Rival], expected: np.ndarray) -> dict[str, float]:
    """Each rival's largest difference from `expected`, relative to that's largest magnitude. Raises DisagreementError."""
    scale = float(np.abs(expected).max())
    errors: dict[str, float] = {}
    for name, rival in rivals.items():
        output = rival.run()
        if output.shape != expected.shape:
            raise DisagreementError(f"{name}: output must have shape {expected.shape}, got {output.shape}")
        errors[name] = float(np.abs(output - expected).max()) / scale
        if not errors[name] <= rival.tolerance:
            raise DisagreementError(
                f"{name}: output differs by {errors[name]:.1e} of the largest value, allowed {rival.tolerance:.1e}"
            )
    return errors


def alternate(rivals: Mapping[str, Rival], rounds: int, least: float = 0.02) -> dict[str, list[float]]:
    """Seconds per call of each rival, `rounds` times in turn; short calls are repeated within a turn for `least` seconds."""
    repeats = {}
    for name, rival in rivals.items():
        start = time.perf_counter()
        rival.run()
        repeats[name] = max(1, int(least / max(time.perf_counter() - start, 1e-9)))
    seconds: dict[str, list[float]] = {name: [] for name in rivals}
    for _ in range(rounds):
        for name, rival in rivals.items():
            start = time.perf_counter()
            for _ in range(repeats[name]):
                rival.run()
            seconds[name].append((time.perf_counter() - start) / repeats[name])
    return seconds


def medians(seconds: Mapping[str, list[float]]) -> dict[str, float]:
    """The median of each rival's rounds."""
    return {name: statistics.median(times) for name, times in seconds.items()}
