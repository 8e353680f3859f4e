"""From an image to the network's input: pixels, planes, windows and plans."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from dcnn_fast import former
from dcnn_fast.data import reading
from dcnn_fast.data.shot import UNSAID, Shot
from dcnn_fast.networks import AnyColumn, Network
from dcnn_fast.ops import views as ops_views
from dcnn_fast.ops.views import ViewParams
from dcnn_fast.plan import ColumnPlan, fixed, share
from dcnn_fast.runtime import Intake, Job, PhotoJob, PlaneJob
from dcnn_fast.runtime.ring import held_bytes
from dcnn_fast.scoring.extras import NOT_ASKED, Extras, Seen

_FINISHED_PLANES = Intake()
_NO_EXTRAS = Extras()


@dataclass(frozen=True)
class Prepared:
    """jobs: one for each column. notes: remarks for the user about the reading and the views. shot: the file's metadata. seen:
    the optional results from its pixels.
    """

    jobs: tuple[Job, ...] = ()
    notes: tuple[str, ...] = ()
    shot: Shot = UNSAID
    seen: Seen = NOT_ASKED

    @property
    def plan(self) -> str:
        """The names of the plans."""
        return "+".join(sorted({job.plan.name for job in self.jobs}))

    @property
    def bytes(self) -> int:
        """The pixels' size in memory."""
        held = (job.plane if isinstance(job, PlaneJob) else job.photo for job in self.jobs)
        return sum({id(pixels): held_bytes(pixels) for pixels in held}.values())


@former.renamed(views="samples")
def prepare(
    source: Any, network: Network, options: reading.ReadOptions | None = None, *, samples: int, grid: int, seed: int,
    intake: Intake = _FINISHED_PLANES, extras: Extras = _NO_EXTRAS,
) -> Prepared:  # fmt: skip
    """Read `source`, draw every column's windows and plan them. Raises ReadError.

    intake: from the jobs' executor. options: for reading. extras: further results from the pixels.
    """
    chosen = options or reading.ReadOptions()
    photo = reading.read(source, max_pixels=chosen.max_pixels, background=chosen.background, scaled_to=chosen.scaled_to)
    digest, pixels = photo.summary(network.long_side)
    found = prepared(pixels, digest, network, samples=samples, grid=grid, seed=seed, intake=intake)
    return replace(found, notes=(*photo.notes, *found.notes), shot=photo.shot, seen=extras.seen(photo))


@former.renamed(views="samples")
def prepared(
    pixels: np.ndarray, digest: str, network: Network, *, samples: int, grid: int, seed: int,
    intake: Intake = _FINISHED_PLANES,
) -> Prepared:  # fmt: skip
    """`prepare` for a photograph that has been read, hashed and reduced: `digest` covers all pixels before the reduction."""
    jobs: list[Job] = []
    notes: list[str] = []
    if intake.holder is not None:
        pixels = intake.holder.held(pixels)
    shape = pixels.shape[0], pixels.shape[1]
    without_plan = intake.fixed is not None and intake.fixed.refused(shape, samples, grid) is None
    sources: dict[tuple[str, int], _Source] = {}  # columns with the same view share a plane
    for column, key in zip(network.columns, network.column_keys(), strict=True):
        wanted = (column.view, column.plane)
        if wanted not in sources:
            sources[wanted] = _source(pixels, column, intake.makes_views)
            notes += sources[wanted].notes
        source = sources[wanted]
        windows = ops_views.draw_windows(
            digest, seed, key, samples, view=column.view, plane_shape=source.shape, plane=column.plane,
            window=column.window, grid=grid,
        )  # fmt: skip
        plan = fixed(samples) if without_plan else share(column, windows, source.shape, intake.backend, intake.precision)
        jobs.append(source.job(windows, plan))
    return Prepared(tuple(jobs), tuple(notes))


class _Source(Protocol):
    """The source of windows. shape: rows and columns of the plane. notes: remarks for the user about the view."""

    @property
    def shape(self) -> tuple[int, int]: ...
    @property
    def notes(self) -> tuple[str, ...]: ...
    def job(self, windows: np.ndarray, plan: ColumnPlan) -> Job: ...


@dataclass(frozen=True)
class _Plane:
    """A view made here."""

    pixels: np.ndarray
    notes: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, int]:
        return self.pixels.shape[0], self.pixels.shape[1]

    def job(self, windows: np.ndarray, plan: ColumnPlan) -> PlaneJob:
        return PlaneJob(windows, plan, self.pixels)


@dataclass(frozen=True)
class _Photo:
    """A view made by the executor."""

    pixels: np.ndarray
    view: ViewParams
    notes: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, int]:
        return self.view.shape

    def job(self, windows: np.ndarray, plan: ColumnPlan) -> PhotoJob:
        return PhotoJob(windows, plan, self.pixels, self.view)


def _source(pixels: np.ndarray, column: AnyColumn, left_to_executor: bool) -> _Source:
    try:
        if left_to_executor:
            return _Photo(pixels, *ops_views.planned(pixels, column.view, column.plane))
        made = ops_views.plane(pixels, column.view, column.plane)
        return _Plane(made.pixels, made.notes)
    except ValueError as error:
        raise reading.ReadError(str(error)) from None
