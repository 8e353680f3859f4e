"""How the cost grows: with views, with the photograph's size, with threads and with images."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import torch

from bench import cases, pipeline
from bench.features import alone, features, sharing
from bench.row import OURS, OURS_BF16, Found, Refused, Row
from bench.timing import median_and_spread, seconds
from dcnn_fast.nets import Model, MultiColumn
from dcnn_fast.scoring import Scorer
from dcnn_fast.scoring.scorer import with_bf16_layers

VIEWS = (1, 5, 20, 50, 100, 500)
SIZES = ((480, 640), (600, 800), (1200, 1600), (3000, 4000), (6144, 8192))
IMAGES = (1, 2, 4, 8)


def rows(rounds: int) -> Iterator[Found]:
    """All four, views and sizes on one thread."""
    yield from views(rounds)
    yield from sizes(rounds)
    yield from threads(rounds)
    yield from images(rounds)


def views(rounds: int, counts: Sequence[int] = VIEWS) -> Iterator[Found]:
    """Views of a 256-pixel plane, shared and each window by itself, whose bits must be equal."""
    net, plane = cases.network(), cases.photograph(256, 256)
    for count in counts:
        yield from _shared_and_alone(net, f"{count} view{'s' * (count > 1)} of 256x256", plane, count, rounds)


def sizes(rounds: int, shapes: Sequence[tuple[int, int]] = SIZES) -> Iterator[Found]:
    """Fifty local views of larger and larger photographs, shared and each window by itself."""
    net = cases.network(("local",))
    for height, width in shapes:
        yield from _shared_and_alone(net, f"50 views of {width}x{height}", cases.photograph(height, width), 50, rounds)


def _shared_and_alone(net: MultiColumn, case: str, plane: np.ndarray, count: int, rounds: int) -> Iterator[Found]:
    torch.set_num_threads(1)
    cut = cases.Cut(plane, cases.windows(plane, count=count))
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


def threads(rounds: int) -> Iterator[Row]:
    """Fifty views of one 256-pixel plane on more and more threads."""
    net, plane = cases.network(), cases.photograph(256, 256)
    cut = cases.Cut(plane, cases.windows(plane))
    single: dict[str, float] = {}
    runs = (
        (OURS, "fp32", partial(features, net, [cut])),
        (OURS_BF16, "bf16", partial(features, with_bf16_layers(net), [cut], precision="bf16")),
    )
    for count in thread_counts(os.cpu_count() or 1):
        torch.set_num_threads(count)
        for by, label, run in runs:
            run()
            times = [seconds(run) for _ in range(rounds)]
            middle, spread = median_and_spread(times)
            note = "ratio: one thread over these"
            ratio = single.setdefault(by, middle) / middle
            yield Row("scaling", "one image, 50 views", count, by, label, middle, spread, ratio=ratio, note=note)


def images(rounds: int, counts: Sequence[int] = IMAGES) -> Iterator[Row]:
    """More and more photographs of 800 x 600 at once, 50 views each, on all cores: seconds an image."""
    cores = os.cpu_count() or 1
    torch.set_num_threads(cores)
    scorer = Scorer(Model(cases.network(("local", "warp"))))
    single = None
    for count in counts:
        given = [cases.photograph(600, 800, seed=number) for number in range(count)]
        pipeline.whole(scorer, given[:1], cores)
        times = [seconds(partial(pipeline.whole, scorer, given, cores)) / count for _ in range(rounds)]
        middle, spread = median_and_spread(times)
        single = middle if single is None else single
        case = f"{count} image{'s' * (count > 1)} at once, DCNN, 50 views"
        note = "seconds an image; ratio: one image over these"
        yield Row("scaling", case, cores, OURS, "fp32", middle, spread, ratio=single / middle, note=note)
