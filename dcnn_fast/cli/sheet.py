"""The culling page of a run: its content from the scores, the collection and the stars."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from dcnn_fast.cli.after import After
from dcnn_fast.cli.outputs import Ranking
from dcnn_fast.cli.picture_identity import identity
from dcnn_fast.cli.stars import counted
from dcnn_fast.scoring import Score
from dcnn_fast.scoring.collection import Collection
from dcnn_fast.viz.culling import Entry, Heat, culling_page


def page_of(
    ranking: Ranking, collection: Collection, after: After, *, photographs: int, folder: Path, max_pixels: int,
    caution: str | None, heats: Mapping[str, Heat], live: bool = False,
) -> bytes:  # fmt: skip
    """The page of a run's best photographs.

    collection: closed. after: has the page's rule for stars. photographs: the most to show. folder: the page's own. max_pixels:
    larger photographs get no thumbnail. caution: the first sentence of the page. heats: heat maps by the paths of their
    photographs. live: the page is served by a server that keeps ratings.
    """
    best = ranking.best(photographs)
    firsts = {identity(score.path or ""): score.path or "" for score in best}

    def name(key: bytes) -> str:
        return firsts.get(key, key.hex())  # a group's first photograph may not be among the best

    entries = [_entry(score, collection, after, name, heats.get(score.path or "")) for score in best]
    return culling_page(
        entries, ranking.failures, ranking.seen, folder=folder, max_pixels=max_pixels, caution=caution, live=live
    )


def _entry(
    score: Score, collection: Collection, after: After, name: Callable[[bytes], str], heat: Heat | None
) -> Entry:  # fmt: skip
    done = collection.completed(partial(identity, score.path or ""), score, name)
    stars = None if score.mean is None else after.rule.one(collection.means, counted(score.mean))
    return Entry(done, stars, heat)
