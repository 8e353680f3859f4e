"""Scoring in separate parts: reading with views and plans, and the network, each with scoring's number of workers."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench import cases, peers
from bench.timing import Rival
from bench.timing import agreement as agreement_of
from dcnn_fast.nets import Model, MultiColumn
from dcnn_fast.runtime import PlaneJob, require_kind
from dcnn_fast.scoring import Score, Scorer
from dcnn_fast.scoring.stream import Read, Stages, Stream

BATCH = 4  # images whose fully-connected layers are computed together, scoring's default


def whole(scorer: Scorer, images: Sequence[Any], workers: int, batch: int = BATCH) -> list[Score]:
    """Every image's score, with reading in parallel to the network. Raises RuntimeError for an image that cannot be scored."""
    return _all_scored(list(scorer.score_many(images, batch=batch, workers=workers)))


def read(scorer: Scorer, images: Sequence[Any], workers: int) -> list[Read]:
    """The network's input: files decoded, views made, windows drawn and planned. Raises RuntimeError as `whole` does."""
    with ThreadPoolExecutor(workers) as pool:
        given = list(pool.map(scorer.stages.read, images))
    _all_scored([image.known for image in given])
    return given


def network(scorer: Scorer, prepared: Sequence[Read], workers: int, batch: int = BATCH) -> list[Score]:
    """The scores for the results of `read`."""
    stream = Stream(_AfterReading(scorer.stages), batch=batch, workers=workers)
    return _all_scored(list(stream.scores(prepared)))


class _AfterReading:
    """A scorer's stages after reading."""

    def __init__(self, stages: Stages) -> None:
        self.start, self.begin, self.finish = stages.start, stages.begin, stages.finish

    def read(self, image: Read) -> Read:
        """The image, which has already been read."""
        return image


def agreement(scorer: Scorer, photo: Path, by: str, expected: np.ndarray) -> tuple[float, str]:
    """The error of a photograph's mean label probabilities against the expected ones (`in_torch`), and a complaint.

    The error is relative to the largest probability; the complaint is empty within the tolerance of the precision named in
    `by`. Raises RuntimeError as `whole` does.
    """
    ours = Rival(by, partial(_probabilities, scorer, read(scorer, [photo], 1)), peers.tolerance(by))
    errors, refused = agreement_of({by: ours}, expected)
    return errors.get(by, 0.0), refused.get(by, "")


def _probabilities(scorer: Scorer, prepared: Sequence[Read]) -> np.ndarray:
    (score,) = network(scorer, prepared, 1)
    return np.array([score.probs[label] for label in scorer.model.spec.labels])


@torch.inference_mode()
def in_torch(net: MultiColumn, photo: Path, samples: int) -> np.ndarray:
    """The mean probability of each label by torch's own operators, over the windows that a scorer with seed 0 draws."""
    (given,), features = read(Scorer(Model(net), samples=samples), [photo], 1), []
    jobs = require_kind("jobs", given.prepared.jobs, PlaneJob)
    for index, (column, job) in enumerate(zip(cases.columns(net), jobs, strict=True)):
        cut = cases.Cut(column.spec, job.plane, job.windows)
        of_distinct = cases.plain(net, index)(cut.tensor(torch.contiguous_format))
        features.append(of_distinct[torch.from_numpy(cut.given()[1])])
    logits = net.label(torch.cat(features, dim=1))
    result: np.ndarray = logits.double().softmax(dim=1).mean(dim=0).numpy()
    return result


def _all_scored(scores: list[Score]) -> list[Score]:
    failed = [f"{score.path}: {score.error}" for score in scores if score.error]
    if failed:
        raise RuntimeError(f"a photograph could not be scored: {failed[0]}")
    return scores
