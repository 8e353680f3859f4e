"""The paper's table of test times, on this machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import torch

from bench import cases, pipeline
from bench.effort import Effort
from bench.row import OURS, OURS_BF16, Found, Refused, Row
from bench.timing import seconds
from dcnn_fast.nets import Model
from dcnn_fast.scoring import Scorer

PAPER = {  # minutes for 2,048 images x 50 samples (the paper's "50 views"), on the paper's machines
    "scnn-arch1": (50.0, "M2070/M2090"), "dcnn": (80.0, "M2070/M2090"), "rdcnn-style": (100.0, "M2070/M2090"),
    "alexnet": (60.0, "K40"), "alexnet-dcnn": (80.0, "K40"),
}  # fmt: skip
IMAGES = 2048
FROM_FILES, NETWORK = "from files", "network"


def rows(photos: Sequence[Path], threads: int, effort: Effort, device: str = "cpu") -> Iterator[Found]:
    """50 samples of real photographs, end to end from JPEG files and network only, in fp32 and bf16, scaled to 2,048 images.

    Each runs once, as a timing covers several photographs. device: as in `Scorer`.
    """
    torch.set_num_threads(threads)
    for name in list(PAPER)[: 1 if effort.quick else None]:
        net = cases.network(name)
        expected = pipeline.in_torch(net, photos[0], effort.windows)
        for by, precision, dtype in ((OURS, "fp32", "float32"), (OURS_BF16, "bf16", "bfloat16")):
            scorer = Scorer(Model(net), device, samples=effort.windows, dtype=dtype)
            error, why = pipeline.agreement(scorer, photos[0], by, expected)
            if why:
                yield Refused("paper", name, threads, by, why)
                continue
            prepared = pipeline.read(scorer, photos, threads)
            minutes, machine = PAPER[name]
            count = f"{len(photos)} photograph{'s' * (len(photos) > 1)}"
            note = f"{count} scaled to {IMAGES}; the paper: {minutes:.0f} min on {machine}"
            files = seconds(partial(pipeline.whole, scorer, photos, threads))
            alone = seconds(partial(pipeline.network, scorer, prepared, threads))
            for case, took in ((FROM_FILES, files), (NETWORK, alone)):
                scaled = took * IMAGES / len(photos)
                ratio = minutes * 60 / scaled
                yield Row("paper", f"{name}, {case}", threads, by, precision, scaled, 0.0, error, ratio, note=note)
