"""The culling page of `dcnn-fast serve --cull`: a folder's photographs scored, and choices written to sidecars."""

from __future__ import annotations

import secrets
from collections.abc import Generator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from dcnn_fast.cli.after import After
from dcnn_fast.cli.console import note
from dcnn_fast.cli.loopback import is_loopback
from dcnn_fast.cli.outputs import Ranking
from dcnn_fast.cli.picture_identity import identity
from dcnn_fast.cli.sheet import page_of
from dcnn_fast.data.folders import Search
from dcnn_fast.scoring import Score, Scorer
from dcnn_fast.scoring.collection import Collection
from dcnn_fast.xmp import NAMES, require

if TYPE_CHECKING:
    from dcnn_fast.serve.cull import Culling

_MOST = 2000  # photographs on the page


def require_cull(folder: Path, host: str, names: str) -> None:
    """Require that the page can be made and served. Raises ValueError."""
    if not is_loopback(host):
        raise ValueError(f"--cull is for this machine alone: --host must be 127.0.0.1, ::1 or localhost, got {host}")
    if names not in NAMES:
        raise ValueError(f"--xmp-names must be {' or '.join(NAMES)}, got {names!r}")
    if not folder.is_dir():
        raise ValueError(f"--cull must name a folder, got {folder}")
    require("--cull")


def culling_of(folder: Path, scorer: Scorer, names: str, workers: int | None) -> Culling:
    """Score all photographs of a folder and its subfolders and make their page. Raises ValueError if there are none."""
    from dcnn_fast.cli.star_sidecars import StarSidecars  # noqa: PLC0415 - needs lxml, which the extra `photos` brings
    from dcnn_fast.serve.cull import Culling  # noqa: PLC0415 - the extra

    ranking, collection = Ranking(_MOST), Collection()
    for score in _scores(folder, scorer, workers):
        ranking.add(score)
        collection.add(partial(identity, score.path or ""), score)
        if score.error is not None:
            note(f"{score.path}: {score.error}")
    collection.close()
    best = ranking.best(_MOST)
    if not best:
        raise ValueError(f"--cull: {folder} has no photographs that can be scored")
    if len(best) < ranking.seen - ranking.failed:
        note(f"the page shows the {len(best)} best of {ranking.seen} photographs")
    page = page_of(
        ranking, collection, After(), photographs=_MOST, folder=folder, max_pixels=scorer.max_pixels, caution=scorer.caution,
        heats={}, live=True,
    )  # fmt: skip
    sidecars = StarSidecars(names, dry_run=False)
    paths = [Path(score.path or "") for score in best]
    return Culling(page, folder, paths, sidecars.chosen, sidecars.choose, secrets.token_urlsafe(32))


def _scores(folder: Path, scorer: Scorer, workers: int | None) -> Generator[Score, None, None]:
    paths = []
    for found in Search(recursive=True).files([str(folder)]):
        if found.error is None:
            paths.append(found.path)
        else:
            note(f"{found.path}: {found.error}")
    results = scorer.score_many(paths, workers=workers)
    assert isinstance(results, Generator)
    with closing(results):
        yield from results
