"""End to end from large JPEG files: the network's cost beside reading."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from bench import cases, pipeline
from bench.effort import Effort
from bench.row import OURS, OURS_BF16, Found, Refused, Row
from bench.timing import median_and_spread, seconds
from dcnn_fast.nets import Model
from dcnn_fast.scoring import Scorer

WHOLE, DECODING, NETWORK = (f"DCNN, 12 MP JPEG, {part}" for part in ("end to end", "decoding", "network"))


def rows(photos: Sequence[Path], about: str, threads: int, effort: Effort) -> Iterator[Found]:
    """Seconds per image, 50 samples at grid 1, in fp32 and bf16: decoding (reading, views, windows, plans), the network (blocks
    and head), and both in parallel. The network's ratio is the decoding's time over its own.
    """
    torch.set_num_threads(threads)
    net = cases.network(cases.DCNN)
    expected = pipeline.in_torch(net, photos[0], effort.windows)
    for by, precision, dtype in ((OURS, "fp32", "float32"), (OURS_BF16, "bf16", "bfloat16")):
        scorer = Scorer(Model(net), samples=effort.windows, dtype=dtype)
        error, why = pipeline.agreement(scorer, photos[0], by, expected)
        if why:
            yield Refused("jpeg", WHOLE, threads, by, why)
            continue
        times = _alternated(scorer, photos, threads, effort.few_rounds)
        decoding, network = (median_and_spread(times[case])[0] for case in (DECODING, NETWORK))
        for case, of in times.items():
            middle, spread = median_and_spread(of)
            ratio = decoding / network if case == NETWORK else None
            note = f"{about}, seconds an image" + ("; ratio: decoding over network" if ratio else "")
            wrong = 0.0 if case == DECODING else error
            yield Row("jpeg", case, threads, by, precision, middle, spread, wrong, ratio=ratio, note=note)


def _alternated(scorer: Scorer, photos: Sequence[Path], workers: int, rounds: int) -> dict[str, list[float]]:
    """Seconds per image for each part, in turn, after one warm-up round."""
    prepared = pipeline.read(scorer, photos, workers)
    parts = {
        DECODING: lambda: pipeline.read(scorer, photos, workers),
        NETWORK: lambda: pipeline.network(scorer, prepared, workers),
        WHOLE: lambda: pipeline.whole(scorer, photos, workers),
    }
    pipeline.network(scorer, prepared, workers)
    turns = [{case: seconds(part) / len(photos) for case, part in parts.items()} for _ in range(rounds)]
    return {case: [turn[case] for turn in turns] for case in parts}
