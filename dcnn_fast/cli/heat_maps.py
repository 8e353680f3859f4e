"""Heat maps of a run's best photographs, for its page."""

from __future__ import annotations

from collections.abc import Sequence

from rich.progress import track

from dcnn_fast.cli.console import note, stderr
from dcnn_fast.cli.stars import counted
from dcnn_fast.cli.stopping import Stop
from dcnn_fast.data.reading import ReadError
from dcnn_fast.scoring import Score, Scorer
from dcnn_fast.scoring.why import ABOUT, HeatMap, heat_map
from dcnn_fast.viz.culling import Heat

_CELLS = 8  # along the long side; with the covering method each cell costs a score


def heat_maps(scorer: Scorer, scores: Sequence[Score], stop: Stop) -> dict[str, Heat]:
    """The photographs' heat maps by path; photographs without one are named with the reason.

    scorer: the one that made the scores. A signal ends the work between two photographs: the maps made so far are returned, and
    `stop` has recorded the signal.
    """
    made: dict[str, Heat] = {}
    console = stderr()
    try:
        asked = _with_samples(scorer)
        for score in track(scores, "heat maps", console=console, disable=not console.is_terminal, transient=True):
            with stop.shielded():
                path = score.path or ""
                found = _heat_of(asked, score)
                if isinstance(found, str):
                    note(f"{path}: no heat map: {found}")
                else:
                    made[path] = found
    except KeyboardInterrupt:
        note(f"interrupted: heat maps were made of {len(made)} of {len(scores)} photographs")
    else:
        note(f"heat maps: {len(made)}")
    return made


def _with_samples(scorer: Scorer) -> Scorer:
    """A scorer of the same scores that also returns the samples, which heat maps need."""
    return Scorer(
        scorer.model, scorer.device, scorer.samples, scorer.grid, scorer.seed, scorer.dtype,
        max_pixels=scorer.max_pixels, background=scorer.background, decode=scorer.decode, long_side=scorer.long_side,
        per_sample=True,
    )  # fmt: skip


def _heat_of(scorer: Scorer, score: Score) -> Heat | str:
    """The heat map of a scored photograph, or the reason why there is none."""
    try:
        found = heat_map(scorer, score.path, cells=_CELLS)
    except (ReadError, ValueError) as error:
        return str(error)
    except MemoryError:
        return "there is not enough memory for it"
    if score.mean is None or counted(found.score.mean or 0.0) != counted(score.mean):
        return "the file has changed since it was scored"
    return _heat(found)


def _heat(found: HeatMap) -> Heat:
    height, width, _ = found.pixels.shape
    return Heat(tuple(map(tuple, found.rows())), found.kind, found.middle, ABOUT[found.kind], width, height)
