"""The single samples whose mean is the score: their windows, and the network's answer for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dcnn_fast.networks import Network
from dcnn_fast.runtime import Job, PlaneJob


@dataclass(frozen=True)
class ColumnWindows:
    """One column's windows, one for each sample.

    view: the column's, which defines how the plane is made from the photograph (`center`, `warp`, `pad`; the plane of `local`
    is the photograph, upright, reduced to the size that the model was trained on, or enlarged where it is too small). plane:
    its (height, width) in pixels; window: the (height, width) of all windows on it. corners: their (top, left).
    """

    view: str
    plane: tuple[int, int]
    window: tuple[int, int]
    corners: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Samples:
    """labels: in the order of the probabilities. probs: for each sample, a probability for each label. columns: sample i
    consists of each column's i-th window.
    """

    labels: tuple[str, ...]
    probs: tuple[tuple[float, ...], ...]
    columns: tuple[ColumnWindows, ...]


def windows_of(jobs: Sequence[Job], network: Network) -> tuple[ColumnWindows, ...]:
    """The windows of one photograph's jobs, one job for each column of the network."""
    return tuple(
        ColumnWindows(
            column.view, _plane(job), (column.window, column.window), tuple((top, left) for top, left in job.windows.tolist())
        )
        for job, column in zip(jobs, network.columns, strict=True)
    )


def _plane(job: Job) -> tuple[int, int]:
    shape = job.plane.shape if isinstance(job, PlaneJob) else job.view.shape
    return shape[0], shape[1]


def samples_of(probabilities: np.ndarray, labels: Sequence[str], columns: tuple[ColumnWindows, ...]) -> Samples:
    """The samples. probabilities: the network's output, [samples, labels]."""
    return Samples(tuple(labels), tuple(tuple(each) for each in probabilities.tolist()), columns)


def samples_from(value: Any) -> Samples:
    """Samples from their JSON object. Raises ValueError for anything else."""
    try:
        columns = tuple(
            ColumnWindows(
                str(each["view"]), _pair(each["plane"]), _pair(each["window"]), tuple(_pair(pair) for pair in each["corners"])
            )
            for each in value["columns"]
        )
        probs = tuple(tuple(_share(share) for share in each) for each in value["probs"])
        labels = tuple(str(label) for label in value["labels"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"samples must have labels, probs and columns of windows: {error}") from None
    whole = all(len(each) == len(labels) for each in probs) and all(len(each.corners) == len(probs) for each in columns)
    if not isinstance(value, Mapping) or not whole:
        raise ValueError("samples must have a probability for each label, and a window of each column for each sample")
    return Samples(labels, probs, columns)


def _pair(value: Any) -> tuple[int, int]:
    first, second = value
    if type(first) is not int or type(second) is not int or min(first, second) < 0:
        raise ValueError(f"corners and sizes must be two whole numbers, got {value}")
    return first, second


def _share(value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value <= 1:
        raise ValueError(f"probabilities must be from 0 to 1, got {value}")
    return float(value)
