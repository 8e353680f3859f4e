"""The growth of the cost with samples, with the photograph's size, with threads and with images."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial

import numpy as np
import torch

from bench import cases, pipeline
from bench.effort import Effort
from bench.features import alone, features, sharing
from bench.row import OURS, OURS_BF16, Found, Refused, Row
from bench.timing import median_and_spread, seconds
from dcnn_fast.nets import Model, MultiColumn
from dcnn_fast.runtime import with_bf16_layers
from dcnn_fast.scoring import Scorer

PHOTOGRAPH = (600, 800)


def rows(effort: Effort) -> Iterator[Found]:
    """All four series; samples and sizes on one thread."""
    yield from samples(effort)
    yield from sizes(effort)
    yield from threads(effort)
    yield from images(effort)


def samples(effort: Effort) -> Iterator[Found]:
    """Samples of the whole picture's plane, shared and each window separately, whose bits must be equal."""
    net = cases.scnn()
    plane = cases.plane_of(net.spec.columns[0], PHOTOGRAPH)
    for count in effort.scaling_views:
        yield from _shared_and_alone(net, plane, count, effort.few_rounds)


def sizes(effort: Effort) -> Iterator[Found]:
    """Fifty samples of local views of larger and larger photographs, shared and each window separately."""
    net = cases.network(cases.SCNN, ("local",))
    for height, width in effort.scaling_sizes:
        yield from _shared_and_alone(net, cases.photograph(height, width), effort.windows, effort.few_rounds)


def _shared_and_alone(net: MultiColumn, plane: np.ndarray, count: int, rounds: int) -> Iterator[Found]:
    torch.set_num_threads(1)
    (height, width), column = plane.shape[:2], net.spec.columns[0]
    case = f"{_counted(count, 'view')} of {width}x{height}"
    cut = cases.Cut(column, plane, cases.windows(column, (height, width), count))
    planners = {"sharing": sharing, "brute force": alone}
    shared, by_itself = (features(net, [cut], planner) for planner in planners.values())
    if not np.array_equal(shared, by_itself):
        yield Refused("scaling", case, 1, OURS, "sharing gives other bits than brute force")
        return
    turns = [{name: seconds(partial(features, net, [cut], planners[name])) for name in planners} for _ in range(rounds)]
    middle = {name: median_and_spread([turn[name] for turn in turns]) for name in planners}
    for name, (took, spread) in middle.items():
        ratio = middle["brute force"][0] / took if name == "sharing" else None
        note = "ratio: brute force over sharing" if ratio else ""
        yield Row("scaling", case, 1, f"{OURS}, {name}", "fp32", took, spread, ratio=ratio, note=note)


def thread_counts(cores: int) -> list[int]:
    """1, 2, 4, … and all cores."""
    return sorted({count for count in (2**power for power in range(cores.bit_length())) if count < cores} | {cores})


def threads(effort: Effort) -> Iterator[Row]:
    """Fifty samples of the whole picture's plane on more and more threads."""
    net = cases.scnn()
    column = net.spec.columns[0]
    plane = cases.plane_of(column, PHOTOGRAPH)
    cut = cases.Cut(column, plane, cases.windows(column, plane.shape[:2], effort.windows))
    single: dict[str, float] = {}
    runs = (
        (OURS, "fp32", partial(features, net, [cut])),
        (OURS_BF16, "bf16", partial(features, with_bf16_layers(net), [cut], precision="bf16")),
    )
    for count in thread_counts(os.cpu_count() or 1):
        torch.set_num_threads(count)
        for by, label, run in runs:
            run()
            times = [seconds(run) for _ in range(effort.few_rounds)]
            middle, spread = median_and_spread(times)
            note = "ratio: one thread over these"
            ratio = single.setdefault(by, middle) / middle
            case = f"one image, {_counted(effort.windows, 'view')}"
            yield Row("scaling", case, count, by, label, middle, spread, ratio=ratio, note=note)


def images(effort: Effort) -> Iterator[Row]:
    """More and more photographs of 800 x 600 at once, 50 samples each, on all cores: seconds per image."""
    cores = os.cpu_count() or 1
    torch.set_num_threads(cores)
    scorer = Scorer(Model(cases.network(cases.DCNN)), samples=effort.windows)
    single = None
    for count in effort.scaling_images:
        given = [cases.photograph(*PHOTOGRAPH, seed=number) for number in range(count)]
        pipeline.whole(scorer, given[:1], cores)
        times = [seconds(partial(pipeline.whole, scorer, given, cores)) / count for _ in range(effort.few_rounds)]
        middle, spread = median_and_spread(times)
        single = middle if single is None else single
        case = f"{_counted(count, 'image')} at once, DCNN, {_counted(effort.windows, 'view')}"
        note = "seconds an image; ratio: one image over these"
        yield Row("scaling", case, cores, OURS, "fp32", middle, spread, ratio=single / middle, note=note)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count > 1)}"
