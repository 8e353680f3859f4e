"""A run's progress, and its checks when it is read from a file: damaged numbers are refused."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dcnn_fast.printable import quoted, shortened
from dcnn_fast.training.log import CLOCK, FIELDS

_SCALER = ("scale", "growth_factor", "backoff_factor", "growth_interval", "_growth_tracker")
_COUNTS = ("test_count", "val_count")
_EVERY_ROW = ("epoch", "step", "loss")  # columns in which every row has a number


@dataclass
class Progress:
    """Where a run stands: `step` mini-batches of epoch `epoch` are done, both counting from 0.

    loss, cases: the sum of the losses and the number of the examples since the epoch began. history: a row for each epoch that
    is over. best: the row of the best one. skipped: the photographs that could not be read, each with the reason. scaler: the
    state of the loss scale in fp16. means: the means subtracted from each column's pixels, None for the network's own. rates:
    (first mini-batch of the run, rate, bias rate) for each change; empty in files older than 0.3. seconds: the epoch's time so
    far, NaN where it was lost; like the history's times it is not in checkpoints, so that equal runs have equal ones.
    """

    epoch: int = 0
    step: int = 0
    loss: float = 0.0
    cases: int = 0
    seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, Any] | None = None
    skipped: dict[str, str] = field(default_factory=dict)
    scaler: dict[str, Any] = field(default_factory=dict)
    means: list[list[float]] | None = None
    rates: list[list[float]] = field(default_factory=list)


def progress_from_dict(data: Any) -> Progress:
    """The progress that `dataclasses.asdict` wrote. Raises ValueError naming the first impossible entry."""
    if not isinstance(data, dict):
        raise ValueError(f"progress must be an object, got {quoted(data)}")
    unknown = sorted(set(data) - {each.name for each in dataclasses.fields(Progress)})
    if unknown:
        raise ValueError(f"progress has no entry {shortened(unknown)}")
    found = Progress(**data)
    for name in ("epoch", "step", "cases"):
        _require(name, getattr(found, name), _is_count(getattr(found, name)), "a whole number that is not negative")
    for name in ("loss", "seconds"):
        _require(name, getattr(found, name), _is_number(getattr(found, name)), "a finite number")
    rows = isinstance(found.history, list) and all(map(_is_row, found.history))
    _require("history", found.history, rows, "a row of numbers for each epoch")
    _require("history", len(found.history), len(found.history) == found.epoch, f"a row for each of {found.epoch} epochs")
    best = found.best is None or (_is_row(found.best) and any(_is_number(found.best.get(name)) for name in _COUNTS))
    _require("best", found.best, best, "a row of numbers")
    skipped = isinstance(found.skipped, dict) and all(isinstance(reason, str) for reason in found.skipped.values())
    _require("skipped", found.skipped, skipped, "a reason for each photograph")
    _require("scaler", found.scaler, _is_scaler(found.scaler), "the numbers of a loss scale")
    means = found.means is None or (
        isinstance(found.means, list) and all(isinstance(mean, list) and all(map(_is_number, mean)) for mean in found.means)
    )
    _require("means", found.means, means, "a list of numbers for each column")
    _require(
        "rates", found.rates, isinstance(found.rates, list) and all(map(_is_span, found.rates)), "a step and two rates each"
    )
    return found


def timeless(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row without its times, so that equal runs have equal files."""
    return {name: value for name, value in row.items() if name not in CLOCK}


def times_of(cases: int, seconds: float) -> dict[str, float]:
    """An epoch's times, in the columns of `CLOCK`; none where its seconds were lost."""
    if math.isnan(seconds):
        return {}
    return dict(zip(CLOCK, (round(seconds, 3), round(cases / max(seconds, 1e-9), 1)), strict=True))


def timeless_dict(progress: Progress) -> dict[str, Any]:
    """The dict that `progress_from_dict` reads, without times."""
    found = dataclasses.asdict(progress)
    del found["seconds"]
    best = None if progress.best is None else timeless(progress.best)
    return {**found, "history": [timeless(row) for row in progress.history], "best": best}


def with_times(progress: Progress, times: Mapping[tuple[int, int], Mapping[str, float]]) -> None:
    """Restore the epochs' times, matched by number and images, as a run killed between two writes leaves an older times file.

    Older checkpoints contain them. Lost seconds of an unfinished epoch become NaN: a partial time would pass for the whole.
    """
    for row in progress.history:
        for name, value in times.get((row["epoch"], row.get("images", 0)), {}).items():
            row.setdefault(name, value)
    if progress.step and not progress.seconds:
        progress.seconds = times.get((progress.epoch + 1, progress.cases), {}).get("seconds", math.nan)


def with_rates(rates: Sequence[Sequence[float]], step: int, rate: float, bias_rate: float) -> list[list[float]]:
    """`Progress.rates` of a run that has this rate and bias rate from mini-batch `step` on."""
    found = [list(each) for each in rates if each[0] < step]
    if not found or found[-1][1:] != [rate, bias_rate]:
        found.append([step, rate, bias_rate])
    return found


def _require(name: str, value: object, holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(f"progress: {name} must be {what}, got {quoted(value)}")


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e300 and math.isfinite(value)


def _is_span(span: object) -> bool:
    return isinstance(span, list) and len(span) == 3 and _is_count(span[0]) and all(map(_is_number, span))


def _is_row(row: object) -> bool:
    if not isinstance(row, dict) or not set(row) <= {*FIELDS, *CLOCK}:
        return False
    return all(value is None or _is_number(value) for value in row.values()) and all(
        _is_number(row.get(name)) for name in _EVERY_ROW
    )


def _is_scaler(state: object) -> bool:
    return isinstance(state, Mapping) and (not state or (set(state) == set(_SCALER) and all(map(_is_number, state.values()))))
