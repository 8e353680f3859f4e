"""Times rivals in one run: alternating calls, medians, and no time for outputs that disagree."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

Run = Callable[[], np.ndarray]


@dataclass(frozen=True)
class Rival:
    """One way to compute something. `run` computes it once and returns the output as float32, in the common layout.

    tolerance: the largest allowed difference, relative to the largest magnitude of the expected output. setting: the library's
    configuration.
    """

    name: str
    run: Run
    tolerance: float
    setting: str = ""


def agreement(rivals: Mapping[str, Rival], expected: np.ndarray) -> tuple[dict[str, float], dict[str, str]]:
    """The errors of the rivals that agree with `expected`, relative to its largest magnitude; for the others, the reason."""
    scale = float(np.abs(expected).max())
    errors: dict[str, float] = {}
    refused: dict[str, str] = {}
    for name, rival in rivals.items():
        try:
            output = rival.run()
        except Exception as failure:  # one failing library must not end a run over all of them
            refused[name] = f"fails: {type(failure).__name__}: {' '.join(str(failure).split())}"
            continue
        if output.shape != expected.shape:
            refused[name] = f"output must have shape {expected.shape}, got {output.shape}"
            continue
        error = float(np.abs(output - expected).max()) / scale
        if error <= rival.tolerance:
            errors[name] = error
        else:  # NaN also gets here
            refused[name] = f"output differs by {error:.1e} of the largest value, allowed {rival.tolerance:.1e}"
    return errors, refused


def alternate(rivals: Mapping[str, Rival], rounds: int, least: float = 0.02) -> dict[str, list[float]]:
    """Seconds per call of each rival, `rounds` times in turn; short calls are repeated within a turn for `least` seconds."""
    repeats = {name: max(1, int(least / max(seconds(rival.run), 1e-9))) for name, rival in rivals.items()}
    times: dict[str, list[float]] = {name: [] for name in rivals}
    for _ in range(rounds):
        for name, rival in rivals.items():
            start = time.perf_counter()
            for _ in range(repeats[name]):
                rival.run()
            times[name].append((time.perf_counter() - start) / repeats[name])
    return times


def seconds(run: Callable[[], object]) -> float:
    """The seconds of one call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def median_and_spread(times: list[float]) -> tuple[float, float]:
    """The median, and the range relative to it."""
    middle = statistics.median(times)
    return middle, (max(times) - min(times)) / middle
