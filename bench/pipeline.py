"""Scoring taken apart: reading with its views and plans, and the network, each on as many workers as scoring has."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from dcnn_fast.scoring import Score, Scorer
from dcnn_fast.scoring.stream import Read, Stream

BATCH = 4  # images whose fully-connected layers are computed together: scoring's default


def whole(scorer: Scorer, images: Sequence[Any], workers: int, batch: int = BATCH) -> list[Score]:
    """Every image's score, reading beside the network. Raises RuntimeError for an image that cannot be scored."""
    return _all_scored(list(scorer.score_many(images, batch=batch, workers=workers)))


def read(scorer: Scorer, images: Sequence[Any], workers: int) -> list[Read]:
    """What the network is given: files decoded, views made, windows drawn and planned. Raises RuntimeError as `whole` does."""
    with ThreadPoolExecutor(workers) as pool:
        given = list(pool.map(scorer._try_prepare, images))
    _all_scored([known for known, _ in given])
    return given


def network(scorer: Scorer, prepared: Sequence[Read], workers: int, batch: int = BATCH) -> list[Score]:
    """The scores of what `read` gave."""
    stream = Stream(lambda given: given, scorer._blocks, scorer._finish, batch=batch, workers=workers)
    return _all_scored(list(stream.scores(prepared)))


def _all_scored(scores: list[Score]) -> list[Score]:
    failed = [f"{score.path}: {score.error}" for score in scores if score.error]
    if failed:
        raise RuntimeError(f"a photograph could not be scored: {failed[0]}")
    return scores
